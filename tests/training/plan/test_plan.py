"""The plan: settings that fit the data and the computer, with reasons that hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from discs import STRUCTURES, make_case, make_pair

from autoseg.data import label_counts
from autoseg.data.cases import CaseFolder, find_cases
from autoseg.data.test_subjects import freeze_test_subjects
from autoseg.errors import AutosegError, DataError, SettingsError
from autoseg.image.image import Image, LabelMap
from autoseg.model.device import Computer
from autoseg.model.networks import build_network
from autoseg.model.networks.efficientnet import STANDARD_FILTERS
from autoseg.model.settings.settings import NetworkSettings, Settings
from autoseg.training.plan import (
    change_settings,
    number_subjects,
    plan_settings,
    set_aside,
    slice_choices,
    spread_cases,
    survey_cases,
)
from autoseg.training.recipes import recipe

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")


def folder(count=6, place=Path("nowhere")):
    return CaseFolder(place, tuple(make_case(number) for number in range(count)), STRUCTURES)


@pytest.fixture
def discs(monkeypatch):
    """Give a function that lets made-up pairs be read, and counts them."""
    read = []

    def install(make=make_pair):
        def read_case(case, structures):
            read.append(case.case_id)
            return make(int(case.case_id.removeprefix("case")))

        monkeypatch.setattr("autoseg.training.plan.survey.read_case", read_case)
        return read

    return install


def named(plan):
    return {choice.name: choice for choice in plan.choices}


# --- the sample


def test_the_sample_on_a_processor_gets_about_half_its_resolution_and_a_score_for_every_structure(sample):
    cases = find_cases(sample / "train")
    plan = plan_settings(cases, minutes=4, computer=LAPTOP)
    assert 2 <= plan.settings.preprocess.spacing_mm <= 3
    assert plan.settings.minutes == 4
    assert plan.settings.augmentation.rotation_deg == 180  # hearts in short axis are round
    (subject,) = plan.validation_subjects
    assert any(case.subject_id == subject and case.annotated in (None, {1, 2}) for case in cases.cases)
    why = named(plan)["validation_subjects"].reason
    assert "Not patient 4: myocardium was not drawn there" in why
    assert not any("SCD" in choice.reason for choice in plan.choices)


def test_a_gpu_gets_the_images_own_pixels_where_the_structures_are_thin(sample):
    cases = find_cases(sample / "train")
    gpu = replace(LAPTOP, device="cuda", device_memory_gib=16.0)
    assert plan_settings(cases, computer=gpu).settings.preprocess.spacing_mm == pytest.approx(1.3672, abs=1e-3)


# --- how fine


def test_pixels_are_as_coarse_as_time_allows_but_fine_enough_for_the_smallest_structure(discs):
    discs()
    # The images have 64 × 64 pixels of 1.5 mm; the core is about 22 mm wide.
    quick = plan_settings(folder(), minutes=0.01, computer=LAPTOP)
    slow = plan_settings(folder(), minutes=60, computer=LAPTOP)
    assert slow.settings.preprocess.spacing_mm == 1.5
    assert 1.5 < quick.settings.preprocess.spacing_mm <= 1.5 * 2.5
    assert "times slower" in named(quick)["preprocess.spacing_mm"].reason
    assert "own pixel size" in named(slow)["preprocess.spacing_mm"].reason
    assert "More time may help" in named(quick)["minutes"].reason
    assert "More time" not in named(slow)["minutes"].reason


def test_a_thin_structure_keeps_its_pixels_fine(discs):
    def thin(number):
        image, label_map = make_pair(number, size=(256, 256), spacing=(8, 1.0, 1.0))
        voxels = label_map.voxels * 0
        voxels[:, 50:150, 100:104] = 1
        voxels[:, 100:150, 150:200] = 5
        return image, LabelMap(voxels, image.affine, STRUCTURES, source=image.source)

    discs(thin)
    plan = plan_settings(folder(), minutes=0.05, computer=LAPTOP)
    assert plan.settings.preprocess.spacing_mm <= 1.6  # 4 mm are 2.5 pixels at least
    assert "core, is about 3.5 mm wide" in named(plan)["preprocess.spacing_mm"].reason


def test_images_without_millimetres_get_a_shape(discs):
    def bare(number):
        image, label_map = make_pair(number, size=(96, 64))
        return Image(image.voxels, None, source=image.source), LabelMap(
            label_map.voxels, None, STRUCTURES, source=label_map.source
        )

    discs(bare)
    plan = plan_settings(folder(), minutes=30, computer=LAPTOP)
    assert plan.settings.preprocess.spacing_mm is None
    assert plan.settings.preprocess.input_shape == (96, 64)
    assert "no millimetres" in named(plan)["preprocess.input_shape"].reason


def test_some_images_without_millimetres_are_refused(discs):
    def mixed(number):
        image, label_map = make_pair(number)
        if number % 2:
            return image, label_map
        return Image(image.voxels, None, source=image.source), LabelMap(
            label_map.voxels, None, STRUCTURES, source=label_map.source
        )

    discs(mixed)
    with pytest.raises(DataError, match="no pixel spacing"):
        plan_settings(folder(), computer=LAPTOP)


# --- time, batch, network


def test_epochs_or_minutes_are_kept_and_five_minutes_are_the_default(discs):
    discs()
    assert plan_settings(folder(), computer=LAPTOP).settings.minutes == 5
    plan = plan_settings(folder(), epochs=30, computer=LAPTOP)
    assert (plan.settings.epochs, plan.settings.minutes) == (30, None)
    assert "epochs" in named(plan)
    with pytest.raises(SettingsError, match="one of them"):
        plan_settings(folder(), epochs=30, minutes=1, computer=LAPTOP)


@pytest.mark.parametrize(("size", "batch", "stages"), [(40, 32, 4), (64, 32, 5), (96, 16, 5), (128, 8, 6)])
def test_small_frames_get_large_batches_and_fewer_stages(discs, size, batch, stages):
    discs(lambda number: make_pair(number, size=(size, size)))
    settings = plan_settings(folder(), minutes=60 * 24, computer=LAPTOP).settings
    assert (settings.batch_size, len(settings.network.filters)) == (batch, stages - 1)


@pytest.mark.parametrize(("size", "stages"), [(40, 4), (64, 5), (200, 6)])
def test_the_network_that_knows_photographs_is_planned(discs, size, stages):
    discs(lambda number: make_pair(number, size=(size, size)))
    plan = plan_settings(folder(), minutes=60 * 24, computer=LAPTOP)
    network = plan.settings.network
    assert (network.name, network.filters) == ("efficientnet", STANDARD_FILTERS[: stages - 1])
    assert "before it learns" in named(plan)["network.name"].reason
    assert named(plan)["network.filters"].reason.startswith(f"{stages} stages: halved {stages - 1} times")
    # The others have the same stages when they are compared with it.
    assert len(recipe("unet", base=plan.settings).network.filters) == stages
    assert recipe("nnunet-like", base=plan.settings).network.filters[0] == 32
    assert len(recipe("nnunet-like", base=plan.settings).network.filters) == stages


@pytest.mark.parametrize(("size", "stages"), [(40, 4), (200, 6)])
def test_another_network_can_be_what_is_planned(discs, size, stages, monkeypatch):
    """Nothing but this one name has to change for it."""
    monkeypatch.setattr(slice_choices, "PLANNED", NetworkSettings())
    discs(lambda number: make_pair(number, size=(size, size)))
    plan = plan_settings(folder(), minutes=60 * 24, computer=LAPTOP)
    assert (plan.settings.network.name, len(plan.settings.network.filters)) == ("unet", stages)


def test_few_validation_patients_do_not_choose_the_epoch(discs):
    discs()
    plan = plan_settings(folder(), computer=LAPTOP)
    assert plan.settings.best_by == "last"
    count = len(plan.validation_subjects)
    assert f"on {count} patient{'s' * (count > 1)} may do so by luck" in named(plan)["best_by"].reason
    assert plan_settings(folder(), computer=LAPTOP, given=Settings(schedule="constant")).settings.best_by == "dice"
    typed = plan_settings(folder(), computer=LAPTOP, given=Settings(best_by="iou"), typed=("best_by",))
    assert typed.settings.best_by == "iou"


@pytest.mark.parametrize(
    ("typed", "name", "stages"),
    [
        ({"name": "unet"}, "unet", 6),
        ({"name": "resunet"}, "resunet", 6),
        ({"name": "efficientnet"}, "efficientnet", 5),
        ({"filters": (8, 16, 24)}, "efficientnet", 3),
        ({"filters": (8, 8, 8, 8, 8, 8)}, "unet", 6),  # more than EfficientNet has
        ({"name": "unet", "filters": (8, 16, 24)}, "unet", 3),
        ({"name": "shallow"}, "shallow", 0),
    ],
)
def test_what_of_the_network_was_typed_is_kept_and_the_rest_suits_it(discs, typed, name, stages):
    discs(lambda number: make_pair(number, size=(200, 200)))
    given, names = Settings(network=NetworkSettings(**typed)), [f"network.{key}" for key in typed]
    plan = plan_settings(folder(), minutes=60, computer=LAPTOP, given=given, typed=names)
    network = plan.settings.network
    assert (network.name, len(network.filters or ())) == (name, stages)
    assert not set(names) & set(named(plan))
    build_network(network, in_channels=1, out_channels=2, spatial_dims=2)


def test_a_measured_speed_goes_before_the_table(discs):
    discs()
    fast = replace(LAPTOP, pixels_per_second=200e6)
    plans = [plan_settings(folder(), minutes=0.01, computer=computer) for computer in (LAPTOP, fast)]
    assert plans[0].settings.preprocess.spacing_mm > plans[1].settings.preprocess.spacing_mm == 1.5
    assert "By estimate" in named(plans[0])["minutes"].reason
    assert "By the speed measured here" in named(plans[1])["minutes"].reason


# --- which slices come more often


@pytest.mark.parametrize(("shown", "part"), [(2, 0.5), (4, 0.5), (5, 0.0), (10, 0.0), (0, 0.0)])
def test_slices_with_structures_come_more_often_where_they_are_rare(discs, shown, part):
    def rare(number):
        image, label_map = make_pair(number, slices=10)
        label_map.voxels[shown:] = 0
        return image, label_map

    discs(rare)
    plan = plan_settings(folder(), computer=LAPTOP)
    choice = named(plan)["oversampling"]
    assert plan.settings.oversampling == choice.value == part
    assert (f"{shown * 10}% of the 60 slices" if shown else "None of the 60 slices") in choice.reason
    assert ("Only" in choice.reason) == (part > 0)


# --- whose brightness


@pytest.mark.parametrize(("shrinks", "value"), [(True, "image"), (False, "slice")])
def test_stacks_of_which_slices_show_less_and_less_are_normalised_as_a_whole(discs, shrinks, value):
    def body(number):
        """Give a stack through a head that tapers off, or through a trunk."""
        image, label_map = make_pair(number, slices=12)
        rows, columns = np.mgrid[:64, :64] - 32
        for index, voxels in enumerate(image.voxels):
            voxels[np.hypot(rows, columns) < (30 - 2 * index if shrinks else 20)] += 100
        return image, label_map

    discs(body)
    plan = plan_settings(folder(), computer=LAPTOP, spatial_dims=2)
    assert plan.settings.preprocess.normalise == value
    choice = named(plan).get("preprocess.normalise")
    assert (choice is not None) == shrinks
    assert choice is None or "standard deviations brighter on some slices" in choice.reason


def test_single_slices_and_parts_of_stacks_are_normalised_one_by_one(discs):
    def dark(number):
        image, label_map = make_pair(number, slices=12)
        image.voxels[6:, 12:] = 0
        return image, label_map

    discs(dark)
    cases = [make_case(number) for number in range(4)]
    assert survey_cases(cases, STRUCTURES).uneven > 1
    parts = [replace(case, slices=(0, 12)) for case in cases]
    assert survey_cases(parts, STRUCTURES).uneven is None
    discs(lambda number: make_pair(number, slices=1))
    assert survey_cases(cases, STRUCTURES).uneven is None


# --- subjects


def test_subjects_set_aside_neither_validate_nor_are_looked_at(discs, tmp_path):
    read = discs()
    cases = folder(place=tmp_path)
    freeze_test_subjects(tmp_path, ["subject1", "subject3"])
    assert set_aside(cases) == {"subject1", "subject3"}
    plan = plan_settings(cases, computer=LAPTOP)
    assert not {"subject1", "subject3"} & set(plan.validation_subjects)
    assert not {"case1", "case3"} & set(read)
    assert "of 4 patients" in named(plan)["validation_subjects"].reason


def test_one_subject_alone_cannot_validate_and_the_plan_says_so(discs):
    discs()
    plan = plan_settings(folder(1), computer=LAPTOP)
    assert plan.validation_subjects == ()
    assert "one patient" in named(plan)["validation_subjects"].reason


def test_nobody_validates_with_an_image_that_is_learnt_from_and_if_it_cannot_be_helped_the_plan_says_so(discs):
    discs()
    (usual,) = plan_settings(folder(4), computer=LAPTOP).validation_subjects
    number, other = int(usual[-1]), (int(usual[-1]) + 1) % 4

    def copied(case):
        pixels, labels = make_pair(other if case == number else case)
        source = make_pair(case)[0].source
        return replace(pixels, source=source), replace(labels, source=source)

    discs(copied)
    plan = plan_settings(folder(4), computer=LAPTOP)
    assert plan.validation_subjects[0] not in {usual, f"subject{other}"}
    assert "seems to be" not in named(plan)["validation_subjects"].reason
    discs(lambda _: make_pair(0))
    plan = plan_settings(folder(4), computer=LAPTOP)
    assert plan.validation_subjects == (usual,)
    assert f"But an image of patient {number + 1} seems to be one of patient" in plan.choices[0].reason


def test_what_occurs_decides_who_validates_not_what_could_have_been_drawn(discs):
    def empty_but_two(number):
        image, label_map = make_pair(number)
        if number not in (1, 4):
            label_map.voxels[:] = 0
        return image, label_map

    discs(empty_but_two)
    for seed in range(4):
        (subject,) = plan_settings(folder(5), computer=LAPTOP, seed=seed).validation_subjects
        assert subject in {"subject1", "subject4"}


def test_a_structure_that_validation_lacks_is_named(discs):
    def only_core(number):
        image, label_map = make_pair(number)
        label_map.voxels[label_map.voxels == 5] = 0 if number != 2 else 5
        return image, label_map

    discs(only_core)
    plan = plan_settings(folder(4), computer=LAPTOP)
    assert "Validation lacks ring, so nothing" in named(plan)["validation_subjects"].reason


def test_the_data_have_a_fingerprint(discs):
    discs()
    found = plan_settings(folder(), computer=LAPTOP).fingerprint
    assert (found.subjects, found.images, found.slices, found.slice_distance_mm) == (6, 6, 2, 8.0)
    assert {s.name for s in found.structures} == {"core", "ring"}
    assert found.structures[0].contrast > 4  # 50 above the ring, in noise of 8


def test_subjects_are_numbered_in_the_order_of_their_ids():
    cases = [replace(make_case(0), subject_id=name) for name in ("b", "a", "b")]
    assert number_subjects(cases) == {"a": "patient 1", "b": "patient 2"}


# --- all labels are counted, a few images looked at


@pytest.fixture
def tumours(monkeypatch):
    """Give 120 single slices of six subjects; a few of them, on which a spread look would not come, show a core."""
    shown = (2, 3, 22, 23, 44, 45)

    def make(case):
        image, label_map = make_pair(0, slices=1)
        number = int(case.case_id.removeprefix("case"))
        voxels = label_map.voxels * (number in shown) * (label_map.voxels == 1)
        source = replace(image.source, case_id=case.case_id, subject_id=case.subject_id)
        return replace(image, source=source), LabelMap(voxels, image.affine, STRUCTURES[:1], source=source)

    monkeypatch.setattr("autoseg.training.plan.survey.read_case", lambda case, structures: make(case))
    monkeypatch.setattr(label_counts, "read_case_labels", lambda case, structures: make(case)[1].voxels)
    label_counts._counted.cache_clear()
    yield tuple(replace(make_case(number), subject_id=f"s{number // 20}") for number in range(120))
    label_counts._counted.cache_clear()


def test_what_is_rare_is_counted_and_looked_at(tumours):
    assert all(
        case.case_id not in {f"case{n}" for n in (2, 3, 22, 23, 44, 45)} for case in spread_cases(tumours, 20)
    )
    plan = plan_settings(CaseFolder(Path("nowhere"), tumours, STRUCTURES[:1]), computer=LAPTOP)
    assert plan.settings.oversampling == 0.5
    assert "Only 5% of the 120 slices show a structure" in named(plan)["oversampling"].reason
    found = plan.fingerprint
    assert (found.images, found.counted, found.looked_at) == (120, 120, 23)
    assert found.structures[0].slices == found.with_structure == 0.05
    assert found.structures[0].width == pytest.approx(22, abs=5)
    # Three of six subjects show one: one of those validates, and two are learnt from.
    assert set(plan.validation_subjects) <= {"s0", "s1", "s2"}


def test_a_structure_on_one_subject_is_learnt_though_a_look_at_a_few_misses_it(tumours, monkeypatch):
    real = label_counts.read_case_labels
    alone = lambda case, structures: real(case, structures) * (case.subject_id == "s1")  # noqa: E731
    monkeypatch.setattr(label_counts, "read_case_labels", alone)
    for seed in range(4):
        plan = plan_settings(CaseFolder(Path("nowhere"), tumours, STRUCTURES[:1]), computer=LAPTOP, seed=seed)
        assert "s1" not in plan.validation_subjects
        assert "Validation lacks core" in named(plan)["validation_subjects"].reason


# --- looking at a few


def test_of_many_cases_a_few_are_read_spread_over_the_subjects(discs):
    read = discs()
    cases = [replace(make_case(number), subject_id=f"s{number // 30}") for number in range(120)]
    survey_cases(cases, STRUCTURES)
    assert len(read) == 20
    assert {int(name.removeprefix("case")) // 30 for name in read} == {0, 1, 2, 3}
    assert spread_cases(cases, 20) == spread_cases(cases, 20)
    assert len(spread_cases(cases[:3], 20)) == 3
    assert len({case.subject_id for case in spread_cases(cases, 2)}) == 2


def test_large_files_are_read_less(tmp_path):
    cases = []
    for number in range(5):
        case = make_case(number)
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(bytes(100))
        cases.append(replace(case, images=(replace(case.images[0], path=path),)))
    assert len(spread_cases(cases, 20, most_bytes=350)) == 3
    assert len(spread_cases(cases, 20, most_bytes=10)) == 2


def test_a_case_that_cannot_be_read_is_passed_over_unless_all_are(discs):
    def broken(number):
        if number != 2:
            raise DataError("case.png is damaged.")
        return make_pair(number)

    discs(broken)
    assert survey_cases(folder().cases, STRUCTURES).widths["core"] > 10
    with pytest.raises(AutosegError, match="damaged"):
        survey_cases(folder(2).cases, STRUCTURES)
    with pytest.raises(DataError, match="no cases"):
        survey_cases([], STRUCTURES)


def test_widths_are_those_of_the_largest_circle_inside(discs):
    discs()
    survey = survey_cases(folder().cases, STRUCTURES)
    assert 18 <= survey.widths["core"] <= 27  # radius 9 to 13 mm
    assert 4 <= survey.widths["ring"] <= 12  # what lies between it and the outer radius of 17 to 21 mm


# --- which way they lie


def upright(number):
    """Two structures, one above the other."""
    image, label_map = make_pair(number)
    voxels = label_map.voxels * 0
    voxels[:, 10:25, 28:36] = 1
    voxels[:, 30:50, 26:38] = 5
    return image, LabelMap(voxels, image.affine, STRUCTURES, source=image.source)


def test_what_lies_the_same_way_up_in_everybody_is_turned_a_little_only(discs):
    discs(upright)
    plan = plan_settings(folder(), computer=LAPTOP)
    assert plan.settings.augmentation.rotation_deg == 20
    assert "same way up" in named(plan)["augmentation.rotation_deg"].reason


def test_round_drawings_and_drawings_that_lie_any_way_round_are_turned_all_round(discs):
    def turned(number):
        image, label_map = upright(number)
        voxels = np.rot90(label_map.voxels, number, axes=(1, 2)).copy()
        return image, LabelMap(voxels, image.affine, STRUCTURES, source=image.source)

    for make in (make_pair, turned):
        discs(make)
        plan = plan_settings(folder(8), computer=LAPTOP)
        assert plan.settings.augmentation.rotation_deg == 180
        assert "augmentation.rotation_deg" not in named(plan)


def symmetric(number, side=0):
    """Give a body that is alike on both sides, with a mark at its front, and a lesion on a side or on either."""
    image, label_map = make_pair(number)
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:64, :64] - 32
    image.voxels[:] = rng.normal(0, 8, image.voxels.shape) + 100 * (np.hypot(rows, 1.4 * columns) < 25)
    image.voxels[:, 10:16, 28:36] += 150
    across = (side or (-1) ** number) * 10
    label_map.voxels[:] = 5 * (np.hypot(rows, columns - across) < 6) + 0 * label_map.voxels
    label_map.voxels[:, 32, 32 + across] = 1
    image.voxels[label_map.voxels > 0] += 60
    return image, label_map


def test_images_that_look_alike_in_a_mirror_are_mirrored_unless_a_structure_has_its_side(discs):
    discs(symmetric)
    plan = plan_settings(folder(8), computer=LAPTOP)
    assert plan.settings.augmentation.flip_probability == 0.5
    assert "Mirrored left to right" in named(plan)["augmentation.flip_probability"].reason

    def odd(number):
        image, label_map = symmetric(number)
        image.voxels[:, 20:44, 40:] += 200
        return image, label_map

    for make in (lambda number: symmetric(number, side=1), odd):
        discs(make)
        plan = plan_settings(folder(8), computer=LAPTOP)
        assert plan.settings.augmentation.flip_probability == 0
        assert "augmentation.flip_probability" not in named(plan)


def test_a_crop_is_suggested_for_small_structures_but_not_chosen(discs):
    discs(lambda number: make_pair(number, size=(256, 256)))
    plan = plan_settings(folder(), computer=LAPTOP)
    assert plan.settings.preprocess.crop_mm is None
    assert "not planned" in named(plan)["preprocess.crop_mm"].reason
    discs()
    assert "preprocess.crop_mm" not in named(plan_settings(folder(), computer=LAPTOP))


# --- changing settings by name


def test_settings_are_changed_by_their_names_all_at_once():
    changed = change_settings(
        Settings(epochs=3), {"epochs": None, "minutes": 2.0, "preprocess.spacing_mm": 2.5, "batch_size": 4}
    )
    assert (changed.epochs, changed.minutes, changed.batch_size, changed.preprocess.spacing_mm) == (None, 2, 4, 2.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch": 4}, "no setting 'batch'"),
        ({"preprocess.spacing": 4}, "no setting 'preprocess.spacing'"),
        ({"batch_size.x": 4}, "no setting"),
        ({"preprocess": 4}, "no setting 'preprocess'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"preprocess.spacing_mm": "x"}, "spacing_mm is .x.; give a number above 0"),
    ],
)
def test_a_wrong_name_or_value_is_named(values, words):
    with pytest.raises(SettingsError, match=words):
        change_settings(Settings(), values)
