"""From images without labels to a model: draw a few slices, learn, correct what is proposed, learn again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.data.cases import CaseFolder, find_cases
from autoseg.data.corrections.drawing import Drawing, Place, read_looked_at
from autoseg.data.corrections.keep import keep_correction, reading_of
from autoseg.data.corrections.kit import Kit, pictures_apart, read_kit, write_kit
from autoseg.data.corrections.read import only_on, read_correction
from autoseg.data.patients import read_patient
from autoseg.data.split import Split, split_cases
from autoseg.errors import DataError, LabelError, OutputError
from autoseg.files.records import write_record
from autoseg.files.tables import KeptCorrection
from autoseg.files.text_files import read_json
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Side, Structure
from autoseg.model.model import TrainedModel, load_model, model_files
from autoseg.model.settings.settings import Settings
from autoseg.prediction.ensemble import PLAIN, Inference
from autoseg.prediction.next_slices import NextSlice, Numbers, choose_slices, doubts_of, propose
from autoseg.training.finetuning.base import settings_from_base
from autoseg.training.plan import plan_settings
from autoseg.training.plan.choices import set_aside
from autoseg.training.save import train_and_save
from autoseg.training.training import OnEpoch
from autoseg.words import GraveNote, counted, say_slices

# What is drawn, from which everything learns, and the models, in the folder of the rounds.
CASES, MODELS = "labelled", "models"
DOUBTS = "doubts.json"
ROUND = re.compile(r"round_(\d+)")
MINUTES = 1.0
NO_NAMES = "Name what you want to draw, such as: psoas left, psoas right."
# Of the model's own learning rate: far from what a fine-tuning of a finished model wants, for this one is not.
RATE_AGAIN = 0.25


@dataclass(frozen=True, eq=False)
class Round:
    """A stage on the way: a folder to draw in (`kit`), at first without any outline, then with those of a model.

    `images` are those of the kit, in its order. `before` are the slices that were drawn, or called right, in
    earlier rounds; `doubts` tell how far the model is in doubt about each slice (`doubts_of`), None where there was
    no model. `notes` say what was left out when the images were read.
    """

    folder: Path
    number: int
    kit: Kit
    images: tuple[Image, ...]
    before: frozenset[Place] = frozenset()
    doubts: tuple[Numbers, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def cases_folder(self) -> Path:
        """The folder of cases in which what was drawn is kept, and from which everything learns."""
        return self.folder / CASES

    @property
    def model_path(self) -> Path | None:
        """The file of the model that drew the outlines of this round; None in the first."""
        return next(iter(_models(self.folder, self.number - 1)), None)

    @property
    def results(self) -> tuple[tuple[Image, LabelMap], ...]:
        """The images with empty label maps, for `Drawing`, which reads the labels itself."""
        return tuple((image, _empty(image, self.kit.structures)) for image in self.images)

    def next_slices(self, looked_at: frozenset[Place] = frozenset(), *, count: int = 5) -> tuple[NextSlice, ...]:
        """Choose the slices to draw next; those of earlier rounds and those `looked_at` are drawn already."""
        return choose_slices(self.images, self.before | looked_at, count=count, doubts=self.doubts)


def read_names(text: str) -> tuple[Structure, ...]:
    """Read the names of structures, separated by commas or lines; one that holds the word left or right has a side.

    Examples
    --------
    >>> [(one.label, one.name, one.side) for one in read_names("psoas left, psoas right, disc")]
    [(1, 'psoas left', 'left'), (2, 'psoas right', 'right'), (3, 'disc', '')]
    """
    names = [name.strip() for name in re.split(r"[,;\n]", text) if name.strip()]
    if not names:
        raise LabelError(NO_NAMES)
    double = next((name for name in names if sum(name.casefold() == one.casefold() for one in names) > 1), None)
    if double is not None:
        raise LabelError(f"{double!r} stands there twice. Give every structure a name of its own.")
    return tuple(Structure(number, name, side=_side(name)) for number, name in enumerate(names, start=1))


def _side(name: str) -> Side:
    words = set(re.findall(r"[a-z]+", name.lower()))
    return "left" if "left" in words else "right" if "right" in words else ""


def begin_rounds(source: Path, folder: Path, structures: Sequence[Structure]) -> Round:
    """Begin to draw on the images of a folder, or go on where it was left.

    Parameters
    ----------
    source : Path
        The folder with the images, of one or several patients; nothing is written there.
    folder : Path
        Holds all that is drawn and learnt: `round_1`, `round_2` … to draw in, `labelled`, `models`. If it is there
        already, its last round is gone on with, and its structures count.
    structures : sequence of Structure
        What is to be drawn; may be empty where it is gone on.

    Raises
    ------
    LabelError
        If nothing is named that is to be drawn.
    DataError, GeometryError
        If there is no image, or one with millimetres does not tell how far its slices lie apart.
    OutputError
        If the folder cannot be written.
    """
    folder = Path(folder)
    numbers = _numbers(folder)
    if not numbers and not structures:
        raise LabelError(NO_NAMES)
    read, told, _ = read_patient(source, stacks=True)
    images, notes = tuple(read), tuple(str(note) for note in told if isinstance(note, GraveNote))
    if not numbers:
        kit = write_kit(folder / "round_1", [(image, _empty(image, structures)) for image in images])
        return Round(folder, 1, kit, images, notes=notes)
    kit = read_kit(folder / f"round_{numbers[-1]}")
    known = {case.case_id for case in kit.cases}
    begun = tuple(image for image in images if _names_in_kit(image, kit.structures) & known)
    if len(begun) < len(images):
        new = counted(len(images) - len(begun), "image")
        notes += (f"{new} came to {source} since the drawing began, and cannot be drawn on in {folder}.",)
    images = begun
    before = frozenset[Place]().union(*(_looked_at(folder / f"round_{n}", images) for n in numbers[:-1]))
    return Round(folder, numbers[-1], kit, images, before, _read_doubts(kit.folder, images), notes)


def keep_round(now: Round, drawing: Drawing) -> tuple[KeptCorrection, ...]:
    """Keep the slices of a round that somebody looked at as labels to learn from, in its `cases_folder`.

    Of such a slice every structure counts as drawn: one without an outline is not there. Slices that nobody looked
    at are kept nowhere.

    Raises
    ------
    DataError
        If nobody looked at any slice, a structure is drawn on none, or a slice that was kept before is empty again
        and nobody called it right.
    AutosegError
        Of the kinds that `keep_correction` raises.
    """
    if not drawing.looked_at and not now.before:
        raise DataError("Nothing is drawn yet. Draw on at least one slice, best on three to five, then learn.")
    for structure in now.kit.structures:
        places = drawing.looked_at | now.before
        if not any(_drawn(drawing, place).mask(structure.label)[place[1]].any() for place in places):
            raise DataError(f"{structure.name} is drawn on no slice yet. Draw it where it can be seen, then learn.")
    drawing.keep_looked_at()
    looked_at = read_looked_at(now.kit.folder)
    kept = []
    for case in now.kit.cases:
        slices = looked_at.get(case.name, ())
        if slices:
            correction = only_on(read_correction(now.kit.folder, by=drawing.by, case_id=case.case_id), slices)
            kept.append(keep_correction(correction, now.cases_folder, checked=say_slices(slices)))
    return tuple(kept)


def learn_round(
    now: Round,
    *,
    minutes: float | None = MINUTES,
    epochs: int | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[TrainedModel, Path]:
    """Learn from all that was kept, going on from what was learnt in the round before.

    Parameters are as of `learn_again`; the model lands in the folder's `models`.
    """
    found = find_cases(now.cases_folder, unlabelled="skip", reading=reading_of(now.kit.cases[0]))
    base = None if now.model_path is None else load_model(now.model_path)
    settings, split = plan_learning(found, base, minutes=minutes, epochs=epochs)
    return train_and_save(
        split,
        settings,
        structures=found.structures,
        name=f"round_{now.number}",
        folder=now.folder / MODELS,
        base=base,
        on_epoch=on_epoch,
        should_stop=should_stop,
    )


def plan_learning(
    found: CaseFolder,
    base: TrainedModel | None = None,
    *,
    minutes: float | None = MINUTES,
    epochs: int | None = None,
    seed: int = 0,
) -> tuple[Settings, Split]:
    """Plan to learn from all drawn slices: without a base anew, else fine-tuning all of it.

    Nobody validates: of few slices, those of a patient who only validates are what the next proposals want most,
    and the last epoch counts anyway. How good proposals are is told by what becomes of them (`find_agreement`).
    """
    minutes = minutes if epochs is None else None
    split = split_cases(found.cases, validation_subjects=(), test_subjects=set_aside(found))
    if base is None:
        # Of volumes every slice would have to be drawn.
        return plan_settings(found, minutes=minutes, epochs=epochs, spatial_dims=2, seed=seed).settings, split
    rate = max(base.settings.learning_rate * RATE_AGAIN, 1e-5)
    settings = settings_from_base(
        base,
        minutes=minutes,
        epochs=epochs,
        learning_rate=rate if not base.origin.get("base") else base.settings.learning_rate,
        schedule=base.settings.schedule,
        best_by=base.settings.best_by,
        seed=seed,
        **{"finetune.frozen": ()},
    )
    return settings, split


@dataclass(frozen=True)
class Agreement:
    """How far a model's proposals agreed with what a person made of them: the mean `dice` of `slices`.

    `are_strangers`: the slices are of patients of whom the model had learnt nothing. Where there were none the
    slices are others of patients whom it knew, which is easier. A person who starts from a proposal stays nearer to
    it than one who draws alone, and the slices were chosen because they are hard.
    """

    dice: float
    slices: int
    are_strangers: bool


def find_agreement(now: Round, drawing: Drawing) -> Agreement | None:
    """Compare the proposals of a round with the outlines that a person drew or called right in it.

    None in the first round, and where nobody looked at a slice on which there is anything.
    """
    if now.number == 1:
        return None
    whose = [image.source.subject_id for image in now.images]
    known = {whose[number] for number, _ in now.before}
    found: dict[bool, list[float]] = {True: [], False: []}
    for number, index in drawing.looked_at - now.before:
        before, after = drawing.original(number), drawing.label_map(number)
        scores = [
            2 * int((old & new).sum()) / int(old.sum() + new.sum())
            for one in now.kit.structures
            for old, new in [(before.mask(one.label)[index], after.mask(one.label)[index])]
            if old.any() or new.any()
        ]
        if scores:
            found[whose[number] not in known].append(float(np.mean(scores)))
    are_strangers = bool(found[True])
    slices = found[are_strangers]
    return Agreement(float(np.mean(slices)), len(slices), are_strangers) if slices else None


def next_round(
    now: Round,
    drawing: Drawing,
    model: TrainedModel,
    *,
    how: Inference = PLAIN,
    on_image: Callable[[int, int], None] | None = None,
) -> Round:
    """Let a model draw all slices that nobody looked at yet, and begin the next round with them.

    Slices that were drawn or called right keep their outlines.
    """
    looked_at = now.before | drawing.looked_at
    proposals = []
    results = []
    for number, image in enumerate(now.images):
        proposal = propose(model, image, how)
        voxels = proposal.label_map.voxels.copy()
        for at, index in looked_at:
            if at == number:
                voxels[index] = _drawn(drawing, (at, index)).voxels[index]
        proposals.append(proposal)
        results.append((image, LabelMap(voxels, image.affine, now.kit.structures, source=image.source)))
        if on_image is not None:
            on_image(number + 1, len(now.images))
    kit = write_kit(now.folder / f"round_{now.number + 1}", results, model_name=model.name)
    doubts = tuple(doubts_of(proposals))
    with suppress(OutputError):  # without them it is gone on, as where they are damaged
        write_record(kit.folder / DOUBTS, {"doubts": [one.tolist() for one in doubts]})
    return replace(now, number=now.number + 1, kit=kit, before=looked_at, doubts=doubts)


def _drawn(drawing: Drawing, place: Place) -> LabelMap:
    """Give the labels in which a slice stands as a person drew it.

    One of an earlier round that nobody looked at in this one may have been filled over since, which is not learnt.
    """
    return (drawing.label_map if place in drawing.looked_at else drawing.original)(place[0])


def _empty(image: Image, structures: Sequence[Structure]) -> LabelMap:
    voxels = np.zeros(image.shape, np.uint8)
    return LabelMap(voxels, image.affine, tuple(structures), source=image.source)


def _read_doubts(folder: Path, images: Sequence[Image]) -> tuple[Numbers, ...] | None:
    """Read how far the model of a round was in doubt; None where that is not known of these images."""
    try:
        doubts = tuple(np.array(one, dtype=np.float64) for one in read_json(folder / DOUBTS)["doubts"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    fits = [one.shape for one in doubts] == [image.shape[:1] for image in images]
    return doubts if fits and all(np.isfinite(one).all() for one in doubts) else None


def _names_in_kit(image: Image, structures: Sequence[Structure]) -> set[str]:
    return {part.source.case_id for _, part, _ in pictures_apart(image, _empty(image, structures))}


def _numbers(folder: Path) -> list[int]:
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(int(match[1]) for match in map(ROUND.fullmatch, names) if match)


def _models(folder: Path, number: int) -> list[Path]:
    """Give the models of a round, the last one first."""
    own = [path for path in model_files(folder / MODELS) if re.fullmatch(rf"round_{number}_\d+(_\d+)?", path.stem)]
    return sorted(own, key=lambda path: (-path.stat().st_mtime, path.name))


def _looked_at(folder: Path, images: Sequence[Image]) -> set[Place]:
    """Read which slices of the images somebody looked at in the folder of an earlier round."""
    names, found, kit = read_looked_at(folder), set[Place](), read_kit(folder)
    rest = list(kit.cases)
    for number, image in enumerate(images):
        count = len(pictures_apart(image, _empty(image, kit.structures)))
        for at, case in enumerate(rest[:count]):
            found |= {(number, at + index) for index in names.get(case.name, ())}
        rest = rest[count:]
    return found
