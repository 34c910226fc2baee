"""Segment an image with a model that autoseg exported; it needs numpy and onnxruntime, and nothing else.

    python segment.py IMAGE.npz LABELS.npz

IMAGE.npz holds `voxels` (slices, rows, columns), with the channels of model.json in front where there are several,
and `affine` (4, 4), which takes (slice, row, column, 1) to DICOM patient coordinates in mm (x to the left, y to the
back, z to the head). LABELS.npz gets `labels` (slices, rows, columns) and `areas_mm2` (slices, structures), or
`areas_pixels` where there is no affine (only models that need none take such an image). Every number that a step
needs is in model.json, where the steps are told in words. A model of whole slices without cleaning uses a third of
these lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from itertools import permutations, product
from math import ceil, gcd
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Network = Callable[[Array], Array]
Model = dict[str, Any]


def segment(folder: Path, voxels: Array, affine: Array | None = None) -> tuple[Array, Array]:
    """Give the labels (slices, rows, columns) and the areas (slices, structures), without an affine in pixels."""
    import onnxruntime

    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(folder / model["network"], providers=["CPUExecutionProvider"])
    voxels = voxels if voxels.ndim == 4 else voxels[None]
    if len(voxels) != len(model["channels"]):
        raise SystemExit(f"The model wants the channels {model['channels']}, and the image has {len(voxels)}.")
    if affine is None and model["needs_mm"]:
        raise SystemExit("The model wants the image's affine: it sees images in their size.")
    way = volume_probabilities if model["spatial_dims"] == 3 else slice_probabilities
    found = way(lambda image: session.run(None, {"image": image[None]})[0][0], voxels, affine, model)
    for number, offset in enumerate(model["offsets"], start=1):
        found[:, number] *= np.exp(offset)
    found /= found.sum(axis=1, keepdims=True)
    labels = clean(np.array([0, *(one["label"] for one in model["structures"])])[choose(found, model)], model)
    pixel = 1.0 if affine is None else np.linalg.norm(np.cross(affine[:3, 1], affine[:3, 2]))
    counts = [belongs(labels, one).sum(axis=(1, 2)) for one in model["structures"]]
    return labels.astype(np.uint8), pixel * np.stack(counts, axis=1)


# --- reading between voxels, axis by axis, and running a network in windows


def between(places: Array, size: int) -> Array:
    """Give the weights (places, size) that read linearly between voxels; beyond the ends the last voxel counts."""
    places = np.clip(places, 0, size - 1)
    low, rows = np.floor(places).astype(int), np.arange(len(places))
    weights = np.zeros((len(places), size), np.float32)
    weights[rows, low] = 1 - (places - low)
    weights[rows, np.minimum(low + 1, size - 1)] += (places - low).astype(np.float32)
    return weights


def resize(voxels: Array, axis: int, count: int) -> Array:
    """Bring an axis to so many voxels, linearly, as a mean where they become larger."""
    scale = voxels.shape[axis] / count
    apart = np.arange(voxels.shape[axis]) + 0.5 - scale * (np.arange(count)[:, None] + 0.5)
    weights = np.maximum(0, 1 - np.abs(apart) / max(1, scale))
    return along(weights / weights.sum(axis=1, keepdims=True), voxels, axis) if scale != 1 else voxels


def along(weights: Array, voxels: Array, axis: int) -> Array:
    """Multiply one axis of voxels by weights (new, old)."""
    return np.moveaxis(np.tensordot(weights.astype(np.float32), voxels.astype(np.float32), (1, axis)), 0, axis)


def in_windows(network: Network, image: Array, size: Sequence[int], overlap: float, weight: Array) -> Array:
    """Give the logits of an image (channels, …): the weighted mean over windows that overlap at least so much."""
    starts = []
    for n, one in zip(image.shape[1:], size, strict=True):
        count = ceil((n - one) / max(1.0, one * (1 - overlap)) - 1e-9) + 1 if n > one else 1
        starts.append([round(i * (n - one) / max(1, count - 1)) for i in range(count)])
    total: Any = 0
    weights = np.zeros(image.shape[1:], np.float32)
    for corner in product(*starts):
        place = tuple(slice(start, start + one) for start, one in zip(corner, size, strict=True))
        answer = network(np.ascontiguousarray(image[(slice(None), *place)]))
        total = np.zeros((len(answer), *image.shape[1:]), np.float32) if isinstance(total, int) else total
        total[(slice(None), *place)] += weight * answer
        weights[place] += weight
    return total / weights


def softmax(logits: Array) -> Array:
    """Give probabilities of logits (classes, …)."""
    likely = np.exp(logits - logits.max(axis=0))
    return likely / likely.sum(axis=0)


def every_nth(channel: Array, most: int) -> Array:
    """Give every n-th voxel of a large channel, such that no whole column is left out."""
    step = max(1, channel.size // most)
    while gcd(step, channel.shape[-1]) > 1:
        step += 1
    return channel.reshape(-1)[::step].astype(np.float32)


# --- models that see slices


def slice_probabilities(network: Network, voxels: Array, affine: Array | None, model: Model) -> Array:
    """Give the probabilities (slices, classes, rows, columns) of a model that sees slices."""
    how, count, native = model["preprocess"], voxels.shape[1], voxels.shape[2:]
    sizes: Any = how["input_shape"]
    if sizes is None:
        assert affine is not None  # `segment` has said so
        sizes = np.linalg.norm(affine[:3, 1:3], axis=0) * native / how["spacing_mm"]
    seen = [max(1, round(float(size))) for size in sizes]  # the whole slice, in the network's pixels
    step = how["stride"]
    whole = [ceil(n / step) * step for n in seen]
    crop = how["crop_shape"] or (how["crop_mm"] and [mm / how["spacing_mm"] for mm in how["crop_mm"]]) or whole
    crop = [min(ceil(round(n, 3) / step) * step, most) for n, most in zip(crop, whole, strict=True)]
    kept = normalised(np.moveaxis(voxels, 0, 1).astype(np.float32), how)
    for axis, (n, m) in enumerate(zip(native, seen, strict=True)):
        if n > how["kept_up_to"] * m:
            kept = resize(kept, 2 + axis, ceil(how["oversampling"] * m))
    hat = np.multiply.outer(*(1 - np.abs((2 * np.arange(n) + 1) / n - 1) for n in crop))

    def answer(index: int, frame: list[int], middle: Sequence[float]) -> Array:
        k = how["neighbours"]
        picture = kept[np.clip(np.arange(index - k, index + k + 1), 0, count - 1)].reshape(-1, *kept.shape[2:])
        for axis, (n, m) in enumerate(zip(frame, seen, strict=True)):
            size = picture.shape[1 + axis]
            places = (np.arange(n) - (n - 1) / 2 + middle[axis]) * size / m + (size - 1) / 2
            picture = along(between(places, size), picture, 1 + axis)
        return softmax(in_windows(network, picture, crop, how["tile_overlap"], hat))

    middles, frame = np.tile((np.array(seen) - whole) % 2 / 2, (count, 1)), whole
    if crop != whole and how["find_region"] == "coarse":
        first = np.stack([1 - answer(index, whole, middles[index])[0] for index in range(count)])
        middles, frame = find_middles(first, crop, seen, how["along_stack"]), crop
    found = []
    for index, middle in enumerate(middles):
        likely = answer(index, frame, middle)
        for axis, (n, m, size) in enumerate(zip(native, seen, frame, strict=True)):
            where = (np.arange(n) + 0.5) / n * m - m / 2 - middle[axis]
            weights = between(where + (size - 1) / 2, size) * (np.abs(where) <= size / 2)[:, None]
            likely = along(weights, likely, 1 + axis)
        likely[0] += 1 - likely.sum(axis=0)  # beyond a crop all is background
        found.append(likely)
    return np.stack(found)


def normalised(stack: Array, how: Model) -> Array:
    """Clip and normalise (slices, channels, rows, columns), each slice by itself or by all of the image."""
    flat = stack.reshape(*stack.shape[:2], -1)
    if how["normalise"] == "slice":
        low, high = np.percentile(flat, how["percentiles"], axis=2, keepdims=True).astype(np.float32)
        flat = np.clip(flat, low, high)
        mean = flat.mean(axis=2, keepdims=True, dtype=np.float64).astype(np.float32)
        deviation = (flat - mean).std(axis=2, keepdims=True)
    else:
        rows = []
        for channel in np.moveaxis(stack, 1, 0):
            seen = every_nth(channel, how["seen_voxels"])
            ends = np.percentile(seen, how["percentiles"])
            seen = np.clip(seen, *ends).astype(np.float64)
            bright = seen[seen > seen.mean()] if ends[1] > ends[0] else seen
            rows.append((*ends, bright.mean(), max(bright.std(), (ends[1] - ends[0]) / 100)))
        low, high, mean, deviation = np.array(rows, np.float32).T[:, None, :, None]
        flat = np.clip(flat, low, high)
    flat = np.where(low == high, 0, (flat - mean) / np.maximum(deviation, np.float32(1e-6)))
    return flat.reshape(stack.shape)


def find_middles(first: Array, crop: list[int], seen: list[int], along_stack: float) -> Array:
    """Give where to look on each slice: the window with most of what a first pass found, around its centroid."""
    reach = int(4 * along_stack + 0.5)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / along_stack) ** 2)
    rows = np.clip(np.arange(len(first))[:, None] + np.arange(-reach, reach + 1), 0, len(first) - 1)
    weight = np.tensordot(bell / bell.sum(), (first.astype(np.float64) ** 2)[rows], (0, 1))
    held = np.pad(weight, [(0, 0), *((n // 2 + 1, n - n // 2 - 1) for n in crop)]).cumsum(1).cumsum(2)
    held = held[:, crop[0] :] - held[:, : -crop[0]]
    held = held[:, :, crop[1] :] - held[:, :, : -crop[1]]
    half = (np.array(seen) - crop) % 2 / 2
    room = np.maximum(0, (np.array(seen) - crop) / 2)
    middles = np.zeros((len(first), 2))
    for index, one in enumerate(weight):
        best = np.unravel_index(held[index].argmax(), one.shape)
        start = [max(0, b - n // 2) for b, n in zip(best, crop, strict=True)]
        part = one[tuple(slice(s, b - n // 2 + n) for s, b, n in zip(start, best, crop, strict=True))]
        if part.sum() > 0:
            inside = [part.sum(1 - axis) @ np.arange(part.shape[axis]) / part.sum() for axis in (0, 1)]
            middles[index] = np.add(start, inside) - (np.array(one.shape) - 1) / 2
            middles[index] += (np.array(seen) - one.shape) % 2 / 2
    return np.where(room > 0, np.clip(np.round(middles - half) + half, -room, room), half)


# --- models that see volumes


def volume_probabilities(network: Network, voxels: Array, affine: Array | None, model: Model) -> Array:
    """Give the probabilities (slices, classes, rows, columns) of a model that sees volumes."""
    assert affine is not None  # `segment` has said so
    how, native, spacing = model["preprocess"], voxels.shape[1:], np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.round(np.abs(affine[:3, :3]) / spacing, 5)
    near = list(max(permutations(range(3)), key=lambda order: cosines[order, range(3)].sum()))
    ways = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "I": (2, 1), "S": (2, -1)}
    axes = [near.index(ways[letter][0]) for letter in how["orientation"]]
    letters = zip(how["orientation"], axes, strict=True)
    turned = [bool(affine[ways[letter][0], axis] * ways[letter][1] < 0) for letter, axis in letters]
    lengths = [float(native[axis] * spacing[axis]) for axis in axes]
    size = [max(1, round(length / mm)) for length, mm in zip(lengths, how["spacing_mm"], strict=True)]
    image = np.stack([standardised(one.astype(np.float32), n, how) for n, one in enumerate(voxels)])
    image = image.transpose(0, *(1 + axis for axis in axes))
    image = np.flip(image, tuple(1 + k for k in range(3) if turned[k]))
    for k in range(3):
        image = resize(image, 1 + k, size[k])
    patch = how["patch_size"]
    before = [max(0, ceil((one - n) / 2)) for n, one in zip(size, patch, strict=True)]
    widths = [(b, max(0, one - n) - b) for b, n, one in zip(before, size, patch, strict=True)]
    weight = np.ones((), np.float32)
    for n in patch:
        bell = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n * how["window_sigma"])) ** 2)
        weight = np.multiply.outer(weight, bell).astype(np.float32)
    weight = np.maximum(weight, how["window_least"])
    logits = in_windows(network, np.pad(image, [(0, 0), *widths], mode="edge"), patch, how["overlap"], weight)
    likely = softmax(logits[(slice(None), *(slice(b, b + n) for b, n in zip(before, size, strict=True)))])
    likely = likely.astype(np.float16)
    for k, axis in enumerate(axes):
        index = np.arange(native[axis])[:: -1 if turned[k] else 1]
        likely = along(between((index + 0.5) * size[k] / native[axis] - 0.5, size[k]), likely, 1 + k)
    back = [1 + axes.index(axis) for axis in range(3)]
    return likely.transpose(back[0], 0, back[1], back[2]).copy()


def standardised(channel: Array, number: int, how: Model) -> Array:
    """Clip a channel of a volume, map it to the usual landmarks where there are some, and standardise it."""
    own = np.percentile(every_nth(channel, how["seen_voxels"]), how["percentiles"])
    if own[0] == own[-1] and (channel != own[0]).any():
        own = np.percentile(np.append(channel[channel != own[0]], np.float32(own[0])), how["percentiles"])
    if own[0] == own[-1]:
        return np.zeros_like(channel)
    channel = np.clip(channel, own[0], own[-1])
    if how["landmarks"]:
        rises = np.append(True, np.diff(own) > 0)
        channel = np.interp(channel, own[rises], np.array(how["landmarks"][number])[rises])
    return ((channel - channel.mean(dtype=np.float64)) / max(channel.std(dtype=np.float64), 1e-6)).astype(
        np.float32
    )


# --- from probabilities to labels


def choose(likely: Array, model: Model) -> Array:
    """Give each pixel its class: the most probable one; a structure with a threshold has it from there on."""
    allowed, wins = likely.copy(), np.full_like(likely, -1)
    for number, post in enumerate(model["postprocess"], start=1):
        if post["threshold"] is not None:
            enough = likely[:, number] >= post["threshold"]
            allowed[:, number][~enough] = -1
            wins[:, number][enough] = likely[:, number][enough]
    classes = allowed.argmax(axis=1)
    return np.where((classes == 0) & (wins.max(axis=1) >= 0), wins.argmax(axis=1), classes)


def belongs(labels: Array, structure: Model) -> Array:
    """Tell which pixels are of a structure: its own, and those of what lies within it."""
    return np.isin(labels, [structure["label"], *structure["includes"]])


def clean(labels: Array, model: Model) -> Array:
    """Erode, keep the largest piece and fill holes, slice by slice, the outer structures first."""
    structures = model["structures"]
    pairs = zip(structures, model["postprocess"], strict=True)
    for one, post in sorted(pairs, key=lambda pair: -len(pair[0]["includes"])):
        if not (post["erosions"] or post["largest_component"] or post["fill_holes"]):
            continue
        before = belongs(labels, one)
        after = np.stack([cleaned(mask, post) for mask in before])
        outer = [
            (len(other["includes"]), other["label"]) for other in structures if one["label"] in other["includes"]
        ]
        around = min(outer, default=(0, 0))[1]
        labels[before & ~after & (labels == one["label"])] = around
        labels[after & ~before & np.isin(labels, (0, around))] = one["label"]
    return labels


def cleaned(mask: Array, post: Model) -> Array:
    """Clean the mask of a structure on one slice."""
    for _ in range(post["erosions"]):
        padded = np.pad(mask, 1, constant_values=True)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    if post["largest_component"] and mask.any():
        number = pieces(mask, corners=True)
        mask = number == np.bincount(number[mask]).argmax()
    if post["fill_holes"]:
        outside = pieces(np.pad(~mask, 1, constant_values=True), corners=False)[1:-1, 1:-1]
        mask = outside != 0
    return mask


def pieces(mask: Array, *, corners: bool) -> Array:
    """Give each pixel of a mask the number of the first pixel of its piece; all others have the mask's size."""
    number = np.where(mask, np.arange(mask.size).reshape(mask.shape), mask.size)
    while True:
        padded = np.pad(number, 1, constant_values=mask.size)
        least = number.copy()
        for down, right in product(range(3), range(3)):
            if corners or 1 in (down, right):
                least = np.minimum(least, padded[down : down + len(mask), right : right + mask.shape[1]])
        least = np.where(mask, least, mask.size)
        if (least == number).all():
            return number
        number = least


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with np.load(sys.argv[1]) as image:
        where = image.get("affine")
        drawn, areas = segment(Path(__file__).parent, image["voxels"], where)
    if where is None:
        np.savez_compressed(sys.argv[2], labels=drawn, areas_pixels=areas)
    else:
        np.savez_compressed(sys.argv[2], labels=drawn, areas_mm2=areas)
