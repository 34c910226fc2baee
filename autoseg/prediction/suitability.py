"""What an image has in common with those that a model learnt from, as a light with sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import AugmentationSettings, Settings
from autoseg.model.trust import Light, Profile, Suitability, worst
from autoseg.model.trust.facts import Drawing, ImageFacts, StructureFacts, drawings_of, facts_of
from autoseg.model.trust.turned import HALF_TURN, INVERTED, MIRRORED, UPSIDE_DOWN, evidence
from autoseg.prediction.appearance import Appearance, look_at
from autoseg.prediction.ensemble import Copy, Networks, check_channels, seen_copies
from autoseg.words import counted, listed, say_number

# By how many times sizes may lie beyond what was learnt from: beyond the first amber, beyond the second red.
# Networks see images on a grid of their own, so that pixels of another size do little harm by themselves.
PIXEL, FIELD, SLICES, TIMES = (1.5, 2.0), (1.5, 3.0), (2.0, math.inf), (2.0, math.inf)
# Degrees between the normals of slices.
TILT = (35.0, 55.0)
# In usual distances of patients: of one part of the description, and of all together (root mean square).
UNLIKE, UNLIKE_TOGETHER = (1.25, 1.5), (1.05, 1.25)
# Of a structure: by how many times larger or smaller, and how far outside in parts of what is usual.
LARGER, OUTSIDE = 2.5, 1.0
# A place is at least so wide, in mm and in parts of a slice; and so many pieces are usual anyway.
PLACE_MM, PLACE, PIECES = 20.0, 0.1, 3
# What doctors may expect of a model's own validation: the least Dice, the largest median error of areas.
POOR_DICE, POOR_AREA = 0.7, 0.25
# So many doubts together are as bad as one that excludes an image.
DOUBTS = 3

PART_WORDS = {
    "intensities": ("Its brightness is spread unlike", "another kind of scan or sequence, or inverted greys"),
    "texture": ("Its fine detail is unlike", "noise, blur or artefacts, or another resolution"),
    "layout": ("What it shows is arranged unlike", "another part of the body, another view, or turned"),
    "network": ("To the network it looks unlike", "another part of the body, or another kind of scan"),
}
CHANGE_WORDS = {
    UPSIDE_DOWN: "turned upside down (its rows in reverse)",
    MIRRORED: "mirrored left to right",
    HALF_TURN: "turned by half a turn",
    INVERTED: "with black and white exchanged",
}
COPY_OF = {UPSIDE_DOWN: Copy(2, True), MIRRORED: Copy(0, True), HALF_TURN: Copy(2)}
STRANGE_WORDS = {
    "size": "came out far larger or smaller than any that was drawn for the model",
    "place": "was found where nobody drew it for the model",
    "pieces": "came out in more pieces than anybody drew for the model",
}
SHARED = (
    "Each model draws a part of this image and was compared with the whole of it, which looks unlike what it "
    "learnt from: see below whether that holds for its part."
)


def compare_image(
    models: Sequence[TrainedModel], image: Image, *, networks: Networks | None = None, is_shared: bool = False
) -> Compared:
    """Compare an image with what each model learnt from, before anything is found on it.

    `networks` are kept for further images; without them they are built anew. Where models share an image
    (`is_shared`: one above, one below) nothing is red: each draws a part, and may know such parts only.
    """
    for one in models:
        check_channels(one, image)
    return Compared(tuple(models), tuple(_doubts_of(one, image, networks) for one in models), is_shared)


def _doubts_of(model: TrainedModel, image: Image, networks: Networks | None) -> Doubts | None:
    profile = model.trust.profile
    if profile is None:
        return None
    doubts = Doubts()
    _compare_facts(doubts, profile, facts_of(image), sees_volumes=model.settings.spatial_dims == 3)
    looks = look_at(model, image, profile.window, networks)
    _compare_looks(doubts, profile, looks)
    _compare_turned(doubts, profile, looks, model.settings)
    _tell_own_score(doubts, profile, model.structures)
    if model.origin.get("sources"):
        doubts.own.append(
            f"The model comes with autoseg and learnt from {counted(profile.subjects, 'patient')} of public data "
            "alone: how it does on other scanners and on your patients nobody knows. Look at every slice, or let "
            "it learn from your own (4_finetune)."
        )
    return doubts


@dataclass(frozen=True, eq=False)
class Compared:
    """An image beside what models learnt from: `doubts` of each, None where a model does not know that.

    What is found on the image adds doubts and takes none away: a light that is red `so_far` stays so.
    """

    models: tuple[TrainedModel, ...]
    doubts: tuple[Doubts | None, ...]
    is_shared: bool = False

    @property
    def so_far(self) -> Suitability:
        """The light before anything was found; the worst of several models counts."""
        return self._light(self.doubts)

    def with_found(self, label_map: LabelMap) -> Suitability:
        """Give the light, with what is strange about the structures that were found."""
        doubts = []
        for model, before in zip(self.models, self.doubts, strict=True):
            profile, after = model.trust.profile, None
            if before is not None and profile is not None:
                after = before.copy()
                _compare_structures(after, profile, model.structures, label_map)
            doubts.append(after)
        return self._light(doubts)

    def _light(self, doubts: Sequence[Doubts | None]) -> Suitability:
        found = worst(_light_of(model, one) for model, one in zip(self.models, doubts, strict=True))
        if self.is_shared and found.light is Light.RED:
            return Suitability(Light.AMBER, (SHARED, *found.reasons))
        return found


def _light_of(model: TrainedModel, doubts: Doubts | None) -> Suitability:
    profile = model.trust.profile
    if doubts is None or profile is None:
        words = (
            f"The model {model.name!r} does not know what it learnt from: it is of one fold, or an earlier version "
            "of autoseg saved it. Nobody compared this image with those. Look at every slice, or train one on all "
            "patients with this version."
        )
        return Suitability(Light.AMBER, (words,))
    return doubts.light(profile)


@dataclass
class Doubts:
    """The sentences that speak against an image, by how much they do; `own` are of the model for any image."""

    red: list[str] = field(default_factory=list)
    amber: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def add(self, light: Light, words: str) -> None:
        """Add a sentence."""
        (self.red if light is Light.RED else self.amber).append(words)

    def copy(self) -> Doubts:
        """Give the same doubts, to which others may be added."""
        return Doubts([*self.red], [*self.amber], [*self.own])

    def light(self, profile: Profile) -> Suitability:
        """Give the light, with the gravest reasons first."""
        reasons = (*self.red, *self.amber, *self.own)
        if self.red or len(self.amber) >= DOUBTS:
            return Suitability(Light.RED, reasons)
        if reasons:
            return Suitability(Light.AMBER, reasons)
        return Suitability(Light.GREEN, (_praise(profile),))


def _praise(profile: Profile) -> str:
    known = [score for score in profile.dice if score is not None]
    errors = [error for error in profile.area_error if error is not None]
    score = f": there its lowest Dice was {min(known):.2f}" if known else ""
    error = f" and areas were off by {100 * max(errors):.0f} % at most (median)" if known and errors else ""
    if profile.by_folds:
        return (
            f"It is like the images of {counted(profile.subjects, 'patient')} that the model learnt from "
            f"({counted(profile.validated, 'patient')} segmented by twins that never saw them{score}{error})."
        )
    return (
        f"It is like the images of {counted(profile.subjects, 'patient')} that the model learnt from and was "
        f"validated on ({counted(profile.validated, 'patient')}{score}{error})."
    )


# --- what files tell


def _compare_facts(doubts: Doubts, profile: Profile, own: ImageFacts, *, sees_volumes: bool) -> None:
    learnt = profile.image_facts
    pixels = [size for one in learnt if one.pixel_mm for size in one.pixel_mm]
    fields = [size for one in learnt if one.field_mm for size in one.field_mm]
    if own.pixel_mm and pixels:
        _compare_size(
            doubts, own.pixel_mm, pixels, PIXEL, "Its pixels are {} mm{}, so areas may be far off", "such images"
        )
    if own.field_mm and fields:
        remedy = "cut the image" if max(own.field_mm) > max(fields) else "choose the whole image if this is a part"
        _compare_size(
            doubts, own.field_mm, fields, FIELD, "It shows {} mm of the body{}", f"such views, or {remedy}"
        )
    slices = [one.slice_mm for one in learnt if one.slice_mm]
    if own.slice_mm and slices:
        limits = PIXEL if sees_volumes else SLICES
        _compare_size(doubts, (own.slice_mm,), slices, limits, "Its slices are {} mm apart{}", "such stacks")
    for name, words in (("repetition_ms", "repetition time"), ("echo_ms", "echo time")):
        times = [time for one in learnt if (time := getattr(one, name)) is not None]
        time = getattr(own, name)
        if time is not None and times:
            _compare_size(doubts, (time,), times, TIMES, f"Its {words} is {{}} ms{{}}", "such a sequence")
    _compare_words(doubts, learnt, own)
    normals = [one.normal for one in learnt if one.normal]
    if own.normal and normals and not sees_volumes:
        cosines = np.abs(np.array(normals) @ np.array(own.normal))
        tilt = math.degrees(math.acos(min(1.0, float(cosines.max()))))
        light = _beyond(tilt, TILT)
        if light is not None:
            doubts.add(
                light,
                f"Its slices lie in another plane: {tilt:.0f}° from the nearest that the model learnt from. Use a "
                "model for this plane, or choose the series of the other plane.",
            )


def _compare_words(doubts: Doubts, learnt: Sequence[ImageFacts], own: ImageFacts) -> None:
    machines = sorted({one.modality for one in learnt} - {""})
    if own.modality and machines and own.modality not in machines:
        doubts.add(
            Light.RED,
            f"It is {own.modality} and the model learnt from {listed(machines)}. Use a model for {own.modality}.",
        )
    sequences = sorted({one.sequence for one in learnt} - {""})
    if own.sequence and sequences and own.sequence not in sequences:
        doubts.add(
            Light.AMBER,
            f"Its MR sequence is {own.sequence} and the model learnt from {listed(sequences)} (DICOM's words). "
            "Choose the series of that sequence, or look at every slice.",
        )
    agents = {one.contrast for one in learnt} - {None}
    if own.contrast is not None and agents and own.contrast not in agents:
        with_it, without = ("with", "without") if own.contrast else ("without", "with")
        doubts.add(
            Light.AMBER,
            f"It was taken {with_it} contrast agent and the model learnt from images {without} it. Choose the "
            "other series, or look at every slice.",
        )


def _compare_size(
    doubts: Doubts,
    own: Sequence[float],
    learnt: Sequence[float],
    limits: tuple[float, float],
    words: str,
    model_for: str,
) -> None:
    """Compare sizes by how many times they lie beyond the range; `words` has places for the size and the range."""
    low, high = min(learnt), max(learnt)
    factor, size = max((max(one / high, low / one), one) for one in own)
    light = _beyond(factor, limits)
    if light is not None:
        between = " to ".join(dict.fromkeys((say_number(low), say_number(high))))
        range_ = f"; the model learnt from {between}"
        doubts.add(light, f"{words.format(say_number(size), range_)}. Use a model for {model_for}.")


def _beyond(value: float, limits: tuple[float, float]) -> Light | None:
    """Give the light of a value that should not be large."""
    return Light.RED if value > limits[1] else Light.AMBER if value > limits[0] else None


# --- what it looks like


def _compare_looks(doubts: Doubts, profile: Profile, looks: Appearance) -> None:
    away = {}
    for likeness in profile.parts:
        away[likeness.part] = likeness.distance(looks.parts[likeness.part])
    for part, distance in away.items():
        light = _beyond(distance, UNLIKE)
        if light is not None:
            what, perhaps = PART_WORDS[part]
            doubts.add(
                light,
                f"{what} what the model learnt from: {distance:.1f} times as far away as is usual among its "
                f"{counted(profile.subjects, 'patient')} ({perhaps}). Look at the image; use a model for such "
                "images.",
            )
    together = math.sqrt(sum(one**2 for one in away.values()) / len(away)) if away else 0.0
    light = _beyond(together, UNLIKE_TOGETHER)
    if light is Light.RED or (light is Light.AMBER and not doubts.amber and not doubts.red):
        doubts.add(
            light,
            f"Brightness, detail, arrangement and what the network sees are together {together:.1f} times as far "
            f"away as is usual among the model's {counted(profile.subjects, 'patient')}. Use a model for such "
            "images.",
        )


def _compare_turned(doubts: Doubts, profile: Profile, looks: Appearance, settings: Settings) -> None:
    """Tell of the change that speaks most against the image, unless training met images that were changed so."""
    parts = {one.part: one for one in profile.parts}
    if not {"layout", "network"} <= set(parts):
        return
    found = evidence(parts["layout"], parts["network"], looks.ways)
    beyond = {change: found[change] - bound for change, bound in profile.turned.items() if change in found}
    change = max(beyond, key=lambda one: beyond[one], default="")
    sees_volumes = settings.spatial_dims == 3
    if not change or beyond[change] <= 0 or (not sees_volumes and _met(change, settings.augmentation)):
        return
    if sees_volumes and change in (UPSIDE_DOWN, MIRRORED):  # along its first axis, or its second
        along = settings.volume.orientation[change == MIRRORED]
        change = MIRRORED if along in "RL" else UPSIDE_DOWN
    doubts.add(
        Light.AMBER if change == MIRRORED else Light.RED,
        f"It seems to be {CHANGE_WORDS[change]}: changed so, it is more like what the model learnt from. Check how "
        "the image was exported.",
    )


def _met(change: str, augmentation: AugmentationSettings) -> bool:
    """Tell whether training met images that were turned so: such an image is segmented as well as any."""
    return COPY_OF.get(change) in seen_copies(augmentation)


# --- what was found on it


def _compare_structures(
    doubts: Doubts, profile: Profile, structures: Sequence[Structure], label_map: LabelMap
) -> None:
    names = {structure.label: structure.name for structure in structures}
    # Where a structure is often found wrongly, that it is found oddly says nothing of the image.
    poor = {one.label for one, dice in zip(structures, profile.dice, strict=False) if (dice or 1.0) < POOR_DICE}
    found_any = False
    strange: dict[str, list[str]] = {what: [] for what in STRANGE_WORDS}
    for usual in profile.structure_facts:
        if usual.in_mm and label_map.affine is None:
            continue
        drawn = drawings_of(label_map, usual.label, in_mm=usual.in_mm)
        found_any |= bool(drawn)
        if drawn and usual.label not in poor:
            name = names.get(usual.label, f"label {usual.label}")
            for what in _strange(usual, drawn):
                strange[what].append(name)
    if profile.structure_facts and not found_any and not label_map.voxels.any():
        doubts.add(
            Light.AMBER,
            "The model found none of its structures on it. Check that the image shows them.",
        )
    for what, words in STRANGE_WORDS.items():
        if strange[what]:
            doubts.add(Light.AMBER, f"{_cap(strange[what])} {words}. Look at every slice.")


def _cap(names: Sequence[str]) -> str:
    words = listed(names)
    return words[:1].upper() + words[1:]


def _strange(usual: StructureFacts, drawn: Sequence[Drawing]) -> list[str]:
    """Name what is strange about a structure: medians over slices are compared with what was drawn."""
    found = []
    area = float(np.median([one.area for one in drawn]))
    if area > LARGER * usual.area[1] or area * LARGER < usual.area[0]:
        found.append("size")
    least = PLACE_MM if usual.in_mm else PLACE
    places = [(one.row, one.column) for one in drawn]
    for middle, (low, high) in zip(np.median(places, axis=0), (usual.row, usual.column), strict=True):
        room = OUTSIDE * max(high - low, least)
        if not low - room <= middle <= high + room and "place" not in found:
            found.append("place")
    if np.median([one.pieces for one in drawn]) > max(PIECES, 2 * usual.pieces[1]):
        found.append("pieces")
    return found


# --- how good the model is anyway


def _tell_own_score(doubts: Doubts, profile: Profile, structures: Sequence[Structure]) -> None:
    if profile.subjects == 1:
        doubts.own.append(
            "The model learnt from a single patient, so it cannot know how others differ. Look at every slice, and "
            "train it on more patients."
        )
    if profile.validated == 0:
        doubts.own.append(
            "The model was validated on no patient, so nobody knows how good it is. Look at every slice, and train "
            "it with patients to validate on."
        )
    unscored = [one.name for one, dice in zip_longest(structures, profile.dice) if one is not None and dice is None]
    if profile.validated and unscored:
        doubts.own.append(
            f"The model was validated on {counted(profile.validated, 'patient')}, and on nobody with "
            f"{listed(unscored)}, so how good it is there is not known. Look at every slice, and train it with "
            "such patients to validate on."
        )
    poor = []
    for structure, dice, error in zip(structures, profile.dice, profile.area_error, strict=False):
        if dice is not None and dice < POOR_DICE:
            poor.append(f"{structure.name} Dice {dice:.2f}")
        elif error is not None and error > POOR_AREA:
            poor.append(f"{structure.name} areas off by {100 * error:.0f} %")
    if poor:
        kind = "patient" if profile.by_folds else "validation patient"
        twins = ", segmented by twins that never saw them," if profile.by_folds else ""
        doubts.own.append(
            f"The model is not good enough by itself: on its {counted(profile.validated, kind)}{twins} "
            f"{listed(poor)}. Correct what it finds, and train it on more patients."
        )
