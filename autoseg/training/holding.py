"""Where a training's cases are while it learns: in memory, or in the cache where they are too many for that.

Both give the same numbers. What is kept of a case is found again by its files' stamps, the structures, the settings
that shape it and the program itself, so that the next training begins without reading a file.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import nn

import autoseg
from autoseg.data.cases import Case
from autoseg.data.codes import kind_of
from autoseg.data.digests import Seal, Side, case_digest, pair_digest
from autoseg.data.label_counts import LabelCounts
from autoseg.data.split import Split
from autoseg.errors import AutosegError, DataError, OutputError, private
from autoseg.files.cache import Cache, Entry, cache_folder, open_cache
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import Structure
from autoseg.model.dataset import Samples, build_samples, plan_samples, read_cases
from autoseg.model.dataset.kept import KeptCase, KeptPixels
from autoseg.model.dataset.slices import keep_slices, open_slices
from autoseg.model.dataset.volumes import keep_volume, open_volumes
from autoseg.model.networks import strides_of
from autoseg.model.preprocessing.extents import extent_of
from autoseg.model.preprocessing.volume_grids import grid_of
from autoseg.model.settings.settings import Settings
from autoseg.training.inputs import Inputs, sees_crop
from autoseg.training.plan import Fingerprint, Looks, fingerprint_by_looks, fingerprint_of, looks_of
from autoseg.training.plan.resources import IMAGES_PART
from autoseg.training.validation import Validation, build_validation, open_validation
from autoseg.words import counted, size_words

Pair = tuple[Image, LabelMap]

# Settings of `preprocess` and of `volume` that change nothing of what is kept; all others are taken to.
NOT_OF_SLICES = {"crop_shift", "crop_anywhere", "find_region", "neighbours"}
NOT_OF_VOLUMES = {"patch_size", "overlap", "flips"}
# Where the code that shapes what is kept lies: what an earlier version kept is not used.
ROOMS = ("image", "files", "data", "model/preprocessing", "model/dataset")
TOLD_EVERY_S = 60.0
WHERE = "'autoseg cache' shows how much that is and where, and deletes it."


class Held(ABC):
    """The cases of a training. Of the images only grid and source are to be used: voxels may be in the cache."""

    @property
    @abstractmethod
    def images(self) -> list[Image]:
        """The images to learn from, in order."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the images."""
        return self.images[0].channels

    @property
    def modalities(self) -> tuple[str, ...]:
        """The kinds of images that are learnt from, as far as their files tell."""
        return tuple(sorted({image.source.modality for image in self.images} - {""}))

    @abstractmethod
    def sides(self, seal: Seal) -> tuple[Side, Side]:
        """Give what stands for the cases to learn from and to validate on."""

    @abstractmethod
    def plan(self, settings: Settings) -> Settings:
        """Fill in what the images to learn from decide."""

    def ready(self, settings: Settings) -> Held:
        """Make all ready for these settings, which are planned."""
        return self

    @abstractmethod
    def samples(self, settings: Settings, network: nn.Module) -> Samples:
        """Give what is learnt from."""

    @abstractmethod
    def validation(self, settings: Settings, network: nn.Module, device: torch.device) -> tuple[Validation, ...]:
        """Give what is validated on."""

    @abstractmethod
    def fingerprint(self) -> Fingerprint | None:
        """Give what all images are like."""


def hold_cases(split: Split, settings: Settings, structures: Sequence[Structure], inputs: Inputs) -> Held:
    """Read the cases, once; where they are more than the memory holds, keep them in the cache.

    Those that a training before has kept are not read again. Cases that are cropped around a centreline, or read in
    a way of their own, stay in memory.
    """
    cases, known = (*split.training, *split.validation), tuple(structures)
    parts = sum(case.slices is not None for case in cases)
    if parts and settings.spatial_dims == 2 and settings.preprocess.normalise == "image":
        inputs.caution(
            f"Brightness is that of a whole image (normalise = image), but of {counted(parts, 'image')} only a "
            "part of the slices is learnt from, and the brightness of that part counts. A new patient's image is "
            "seen as a whole and may look brighter or darker. Choose normalise = slice."
        )
    can_be_kept = inputs.read is read_cases and not sees_crop(settings)
    pairs, needed, most = list[Pair](), np.zeros(2), math.inf
    if can_be_kept:
        if cache_folder().is_dir() and (found := _in_cache(split, settings, known, inputs)) is not None:
            return found
        free = psutil.virtual_memory().available
        most = IMAGES_PART * free if inputs.most_bytes is None else inputs.most_bytes
    for case in cases:
        pairs += inputs.read([case], known)
        needed += _bytes_of(*pairs[-1], settings) if can_be_kept else 0
        in_memory, in_cache = needed / len(pairs) * len(cases)
        if in_memory > most:
            words = (
                f"{counted(len(cases), 'image')} would take about {size_words(round(in_memory))} of memory, and "
                f"{size_words(round(most))} are to be had for them: they are read one by one, and their pixels are "
                f"kept in the cache, about {size_words(round(in_cache))}. {WHERE}"
            )
            found = _in_cache(split, settings, known, inputs, pairs=pairs, needed=in_cache, words=words)
            if found is not None:
                return found
            most = math.inf
    count = len(split.training)
    return _InMemory(split, known, inputs, pairs[:count], pairs[count:])


def _in_cache(
    split: Split,
    settings: Settings,
    structures: tuple[Structure, ...],
    inputs: Inputs,
    *,
    pairs: Sequence[Pair] | None = None,
    needed: float = 0.0,
    words: str = "",
) -> Held | None:
    """Bring cases into the cache, those that were read already first; None where that cannot be.

    Without `pairs` only where all of them are there already. `words` are told where there is room.
    """
    cases = (*split.training, *split.validation)
    digests = [case_digest(case, structures) for case in cases]
    if None in digests:
        return None
    try:
        cache = open_cache()
        found = _InCache(split, structures, inputs, cache, tuple(map(str, digests)))
        if pairs is None and not found.is_known():
            return None
        if pairs is not None:
            cache.check_room(needed)
            inputs.say(words)
        found.read(settings, pairs or ())
    except OutputError as error:
        inputs.caution(f"The images are kept in memory instead of the cache: {error}")
        return None
    return found


def _bytes_of(image: Image, label_map: LabelMap, settings: Settings) -> npt.NDArray[np.float64]:
    """Give the bytes that a case takes in memory at most, as read and ready for the network, and in the cache."""
    native = float(np.prod(image.shape))
    pixels = native
    try:
        if settings.spatial_dims == 3:
            pixels = float(np.prod(grid_of(image, settings.volume).network))
        else:
            pixels = image.shape[0] * float(np.prod(extent_of(image, settings.preprocess).stored))
    except AutosegError:
        pass  # the network's grid is not planned yet, or does not fit, of which others tell
    own = sum(array.nbytes for array in (image.voxels, label_map.voxels, label_map.shares) if array is not None)
    ready = 4 * len(image.channels) + (0 if label_map.shares is None else 2 * len(label_map.structures))
    # Classes are floats where slices lie in memory, and all of these are put together once.
    in_memory = own + (pixels * (ready + 1) if settings.spatial_dims == 3 else 2 * pixels * (ready + 4))
    return np.array([in_memory, pixels * (ready + 1) + (native if native != pixels else 0)])


# --- in memory


@dataclass(frozen=True, eq=False)
class _InMemory(Held):
    split: Split
    structures: tuple[Structure, ...]
    inputs: Inputs
    pairs: list[Pair]
    validated: list[Pair]

    @classmethod
    def read(cls, split: Split, structures: tuple[Structure, ...], inputs: Inputs) -> _InMemory:
        pairs, validated = (inputs.read(cases, structures) for cases in (split.training, split.validation))
        return cls(split, structures, inputs, pairs, validated)

    @property
    def images(self) -> list[Image]:
        return [image for image, _ in self.pairs]

    def sides(self, seal: Seal) -> tuple[Side, Side]:
        describe, split = self.inputs.describe, self.split
        return describe(split.training, self.pairs, seal), describe(split.validation, self.validated, seal)

    def plan(self, settings: Settings) -> Settings:
        return plan_samples(settings, self.images)

    def samples(self, settings: Settings, network: nn.Module) -> Samples:
        return build_samples(self.pairs, settings, network, centrelines=self.inputs.centrelines)

    def validation(self, settings: Settings, network: nn.Module, device: torch.device) -> tuple[Validation, ...]:
        lines = self.inputs.centrelines
        return build_validation(self.validated, settings, network, device=device, centrelines=lines)

    def fingerprint(self) -> Fingerprint | None:
        return fingerprint_of([*self.pairs, *self.validated], self.structures)


# --- in the cache


@dataclass(frozen=True, eq=False)
class _Facts:
    """What is known of a case beside its pixels: its outline (`KeptCase`), digest and looks."""

    outline: Image
    drawn: tuple[bool, ...]
    digest: str
    looks: Looks
    is_soft: bool


@dataclass(eq=False)
class _InCache(Held):
    """Cases in the cache, those to learn from first; `digests` (`case_digest`) are theirs."""

    split: Split
    structures: tuple[Structure, ...]
    inputs: Inputs
    cache: Cache
    digests: tuple[str, ...]
    facts: list[_Facts] = field(default_factory=list)
    pixels: list[KeptPixels] = field(default_factory=list)
    # Facts are small and read at once; their files must stay as long as the training lasts, or the next reads anew.
    entries: list[Entry] = field(default_factory=list)

    @property
    def cases(self) -> tuple[Case, ...]:
        return (*self.split.training, *self.split.validation)

    @property
    def images(self) -> list[Image]:
        return [one.outline for one in self.facts[: len(self.split.training)]]

    def is_known(self) -> bool:
        """Tell whether all cases were kept before, whatever the settings were."""
        return all(self.cache.find(_key("facts", digest)) is not None for digest in self.digests)

    def read(self, settings: Settings, pairs: Sequence[Pair]) -> None:
        """Learn the facts of all cases, and keep those that are not; the first are read already, as `pairs`."""
        say = self._progress()
        for number, (case, digest) in enumerate(zip(self.cases, self.digests, strict=True)):
            ready = pairs[number] if number < len(pairs) else None
            entry = self.cache.find(_key("facts", digest))
            if entry is None:
                ready = ready or self._pair(case)
                entry = self.cache.put(_key("facts", digest), _note(*ready, self.structures), {})
            self.entries.append(entry)
            self.facts.append(_facts_of(case, entry, self.structures))
            if ready is not None and _is_planned(settings):
                self._keep(number, settings, ready, soft=self.facts[-1].is_soft)
            say(number + 1)

    def sides(self, seal: Seal) -> tuple[Side, Side]:
        count = len(self.split.training)
        read = [(one.outline.shape[0], one.digest) for one in self.facts]
        describe, split = self.inputs.describe_read, self.split
        return describe(split.training, read[:count], seal), describe(split.validation, read[count:], seal)

    def plan(self, settings: Settings) -> Settings:
        voxels = (self._pair(case)[0].channel_voxels for case in self.split.training)
        return plan_samples(settings, self.images, voxels=voxels)

    def ready(self, settings: Settings) -> Held:
        """Keep the pixels that are not there yet; where there is no room, hold all in memory."""
        try:
            soft, say = any(one.is_soft for one in self.facts), self._progress()
            for number, digest in enumerate(self.digests):
                entry = self.cache.find(_key("pixels", digest, settings, soft))
                entry = entry or self._keep(number, settings, soft=soft)
                self.pixels.append(KeptPixels(entry, partial(self._keep, number, settings, soft=soft)))
                say(number + 1)
            self.inputs.say(f"The pixels of {counted(len(self.cases), 'image')} are in the cache. {WHERE}")
        except OutputError as error:
            self.inputs.caution(f"The images are kept in memory instead of the cache: {error}")
            return _InMemory.read(self.split, self.structures, self.inputs)
        return self

    def samples(self, settings: Settings, network: nn.Module) -> Samples:
        kept = self._kept()[: len(self.split.training)]
        if settings.spatial_dims == 3:
            return open_volumes(kept, settings, strides=strides_of(network, 3))
        return open_slices(kept, settings.preprocess, stride=int(getattr(network, "stride", 1)))

    def validation(self, settings: Settings, network: nn.Module, device: torch.device) -> tuple[Validation, ...]:
        return open_validation(self._kept()[len(self.split.training) :], settings, network, device=device)

    def fingerprint(self) -> Fingerprint | None:
        looks = [one.looks for one in self.facts]
        return fingerprint_by_looks([one.outline for one in self.facts], looks, self.structures)

    def _kept(self) -> list[KeptCase]:
        return [
            KeptCase(one.outline, self.structures, one.drawn, one.is_soft, pixels)
            for one, pixels in zip(self.facts, self.pixels, strict=True)
        ]

    def _progress(self) -> Callable[[int], None]:
        """Give what tells now and then how many cases are done."""
        began = told = time.monotonic()

        def say(done: int) -> None:
            nonlocal told
            if (now := time.monotonic()) - told > TOLD_EVERY_S:
                told, left = now, (now - began) / done * (len(self.cases) - done)
                self.inputs.say(f"{done:,} of {len(self.cases):,} images, about {left / 60:.0f} more minutes.")

        return say

    def _pair(self, case: Case) -> Pair:
        (pair,) = self.inputs.read([case], self.structures)
        return pair

    def _keep(self, number: int, settings: Settings, ready: Pair | None = None, *, soft: bool) -> Entry:
        """Make the pixels of a case and keep them; DataError where its files have changed since the start."""
        pair = ready or self._pair(self.cases[number])
        if ready is None and pair_digest(*pair) != self.facts[number].digest:
            raise DataError(
                f"{private(self.cases[number].case_id)}: its files were changed while it was learnt from. Start "
                "the training anew."
            )
        if settings.spatial_dims == 3:
            about, arrays = keep_volume(*pair, settings, soft=soft)
        else:
            about, arrays = keep_slices(*pair, settings.preprocess, soft=soft)
        return self.cache.put(_key("pixels", self.digests[number], settings, soft), about, arrays)


def _is_planned(settings: Settings) -> bool:
    """Tell whether nothing that shapes the pixels is still to be decided by the images."""
    if settings.spatial_dims == 3:
        volume = settings.volume
        return volume.spacing_mm is not None and (volume.standardise == "image" or bool(volume.landmarks))
    return settings.preprocess.spacing_mm is not None or settings.preprocess.input_shape is not None


def _key(kind: str, digest: str, settings: Settings | None = None, soft: bool = False) -> str:
    """Give the name in the cache: a digest of all that shapes what is kept."""
    shape: list[Any] = [kind, _program(), digest]
    if settings is not None:
        groups: list[tuple[Any, set[str]]] = [(settings.preprocess, NOT_OF_SLICES)]
        groups += [(settings.volume, NOT_OF_VOLUMES)] if settings.spatial_dims == 3 else []
        shape += [soft, settings.spatial_dims]
        shape += [sorted((k, v) for k, v in vars(group).items() if k not in others) for group, others in groups]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


@lru_cache(maxsize=1)
def _program() -> str:
    """Give a digest of the code that reads images and brings them to the network, and of what computes for it."""
    digest = hashlib.sha256(f"{np.__version__} {torch.__version__} {cv2.__version__}".encode())
    root = Path(autoseg.__file__).parent
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        digest.update(path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _note(image: Image, label_map: LabelMap, structures: Sequence[Structure]) -> dict[str, Any]:
    """Give what is noted of a case beside its pixels, as plain values that name nobody."""
    looks, source = looks_of(image, label_map, structures), image.source
    return {
        "shape": image.voxels.shape,
        "affine": None if image.affine is None else image.affine.tolist(),
        "channels": image.channels,
        "modality": source.modality,
        "spacing_source": source.spacing_source,
        "slice_spacing_source": source.slice_spacing_source,
        "is_placed": source.is_placed,
        "has_files": bool(source.slices),
        "digest": pair_digest(image, label_map),
        "is_soft": label_map.shares is not None,
        "annotated": sorted(looks.drawn),
        "slice_pixels": looks.counts.slice_pixels,
        "counts": {str(label): counts.tolist() for label, counts in looks.counts.pixels.items()},
        "widths": dict(looks.widths),
        "contrasts": {str(label): contrast.tolist() for label, contrast in looks.contrasts.items()},
    }


def _facts_of(case: Case, entry: Entry, structures: Sequence[Structure]) -> _Facts:
    """Give a case's facts from what was noted; names come from the case itself."""
    noted = entry.about
    shape = tuple(noted["shape"])
    name = Path(f"{case.case_id}{kind_of(case.image_path)}") if case.is_coded else case.image_path
    outline = Image(
        np.broadcast_to(np.float32("nan"), shape),
        None if noted["affine"] is None else np.array(noted["affine"]),
        tuple(noted["channels"]),
        Source(
            case_id=case.case_id,
            subject_id=case.subject_id,
            modality=noted["modality"],
            spacing_source=noted["spacing_source"],
            slice_spacing_source=noted["slice_spacing_source"],
            is_placed=noted["is_placed"],
            slices=(SliceSource(name),) * (shape[-3] if noted["has_files"] else 0),
        ),
    )
    annotated = frozenset(noted["annotated"])
    counts = {int(label): np.array(own, dtype=np.int64) for label, own in noted["counts"].items()}
    contrasts = {int(label): np.array(own) for label, own in noted["contrasts"].items()}
    return _Facts(
        outline,
        tuple(structure.label in annotated for structure in structures),
        noted["digest"],
        Looks(LabelCounts(counts, shape[-3], noted["slice_pixels"]), annotated, noted["widths"], contrasts),
        noted["is_soft"],
    )
