"""What the network sees of volumes: voxels as fine as time allows, a typical volume at once, thick slices kept."""

import math
from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_case, make_pair

from autoseg.errors import DataError, GeometryError
from autoseg.image.image import Image
from autoseg.training.plan import survey_cases
from autoseg.training.plan.volume_choices import MOST_IN_PATCH, Volumes, choose_view, fit_patch, measure_volumes


@pytest.fixture
def surveyed(monkeypatch):
    """Give a function that surveys made-up volumes, with other slices or sizes of each."""

    def survey(*sizes, spacing=(1.0, 1.0, 1.0), alter=lambda pair: pair):
        def read(case, _):
            slices, rows, columns = sizes[int(case.case_id[-1])]
            return alter(make_pair(0, slices=slices, size=(rows, columns), spacing=spacing))

        monkeypatch.setattr("autoseg.training.plan.survey.read_case", read)
        return survey_cases([make_case(number) for number in range(len(sizes))], STRUCTURES)

    return survey


def test_sizes_and_distances_are_medians_along_the_network_s_axes(surveyed):
    survey = surveyed((20, 60, 50), (22, 64, 48), (40, 90, 99), spacing=(2.0, 1.0, 0.5))
    volumes = measure_volumes(survey, 7)
    # Right to left are the columns, back to front the rows, feet to head the slices.
    assert volumes.spacing_mm == (0.5, 1.0, 2.0)
    assert volumes.size_mm == (25.0, 64.0, 44.0)
    assert volumes.size((0.5, 1, 2)) == (50, 64, 22)
    assert volumes.wholes == 7
    # Of a crop around a centreline its width and depth, as far as the image reaches.
    assert measure_volumes(survey, 7, (30.0, 20.0)).size_mm == (25.0, 20.0, 44.0)


def test_a_patch_is_a_typical_volume_and_not_the_largest(surveyed):
    survey = surveyed((36, 50, 37), (36, 50, 37), (80, 90, 99))
    view = choose_view(survey, measure_volumes(survey, 3), math.inf, math.inf)
    assert view.spacing_mm == (1.0, 1.0, 1.0)
    assert view.patch_size == (40, 56, 40)
    assert view.strides == ((2, 2, 2),) * 3
    spacing, patch, strides = view.choices
    assert (spacing.name, patch.name, strides.name) == (
        "volume.spacing_mm",
        "volume.patch_size",
        "network.strides",
    )
    assert "37 × 50 × 36 voxels" in patch.reason
    assert "become 5 × 7 × 5" in strides.reason


def test_with_little_time_voxels_are_coarser_but_not_beyond_the_smallest_structure(surveyed):
    survey = surveyed((40, 64, 64), (40, 64, 64))
    volumes = measure_volumes(survey, 2)
    narrowest = min(survey.widths.values())
    before = 0.0
    for wanted in (1e6, 60_000, 30_000, 1_000):
        view = choose_view(survey, volumes, wanted, math.inf)
        assert len(set(view.spacing_mm)) == 1
        assert view.spacing_mm[0] >= before
        before = view.spacing_mm[0]
        voxels = math.prod(volumes.size(view.spacing_mm))
        assert before <= min(narrowest / 3, 2.5) + 1e-9
        most = 1.25 * wanted if before == 1 else wanted
        assert voxels <= most or before > min(narrowest / 3, 2.5) - 0.06
        if 1 < before < 2:  # no coarser than needed
            assert math.prod(volumes.size([before - 0.06] * 3)) > wanted
    assert before > 1.5
    assert "would be seen too rarely" in view.choices[0].reason


def test_thick_slices_are_never_made_thinner_and_pixels_become_coarser_first(surveyed):
    survey = surveyed((24, 128, 128), (24, 128, 128), spacing=(3.0, 1.0, 1.0))
    volumes = measure_volumes(survey, 2)
    x, y, z = choose_view(survey, volumes, 100_000, math.inf).spacing_mm
    assert x == y
    assert 1 < x < 3
    assert z == 3.0
    assert choose_view(survey, volumes, math.inf, math.inf).spacing_mm == (1.0, 1.0, 3.0)
    strides = choose_view(survey, volumes, math.inf, math.inf).strides
    assert strides[0] == (2, 2, 1)


def test_a_large_volume_is_seen_in_parts():
    (x, y, z), strides = fit_patch((256, 256, 40), (1, 1, 1), 200_000)
    assert x * y * z <= 1.3 * 200_000  # rounded up to what the stages need
    assert x == y < 100
    assert z >= 32
    assert all(n % math.prod(along) == 0 for n, *along in zip((x, y, z), *strides, strict=True))
    (x, y, z), _ = fit_patch((512, 512, 512), (1, 1, 1), math.inf)
    assert MOST_IN_PATCH / 1.3 < x * y * z <= 1.3 * MOST_IN_PATCH
    assert fit_patch((256, 256, 256), (1, 1, 1), 1)[0] == (32, 32, 32)


def test_of_a_part_the_reason_tells_how_much_it_is(surveyed):
    survey = surveyed((64, 128, 128), (64, 128, 128))
    volumes = measure_volumes(survey, 2)
    view = choose_view(survey, volumes, math.inf, 64**3)
    seen = math.prod(view.patch_size) / (64 * 128 * 128)
    assert f"{seen:.0%} of a typical volume" in view.choices[1].reason


def test_what_is_no_volume_is_refused_by_name(surveyed):
    def bare(pair):
        return Image(pair[0].voxels, None, source=pair[0].source), replace(pair[1], affine=None)

    with pytest.raises(DataError, match="single slice"):
        measure_volumes(surveyed((1, 64, 64), (1, 64, 64)), 2)
    with pytest.raises(GeometryError, match="no pixel spacing"):
        measure_volumes(surveyed((20, 64, 64), (20, 64, 64), alter=bare), 2)


def test_a_volume_is_at_least_a_voxel():
    assert Volumes((1, 1, 1), (0.2, 5, 5), 1).size((1, 1, 1)) == (1, 5, 5)
    assert np.prod(fit_patch((1, 5, 5), (1, 1, 1), math.inf)[0]) == 25
