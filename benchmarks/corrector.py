"""From no label to a model, by a scripted person: how much is left to correct, and are chosen slices worth more?

    python benchmarks/corrector.py hearts=DATA hippo=DATA … [--seeds 0 1 2] [--epochs 300] [--patients 12]
                                   [--into FOLDER]

DATA is a folder of labelled images, whose labels are the person's: where a slice is to be drawn, it becomes as the
label file is. Everything is learnt as in the notebook (`autoseg.training.rounds.plan_learning`: slices, going on
from what was learnt), but by epochs, so that all columns have the same.

`patients` goes from one patient to the next. The model of those before proposes outlines; told is how many pixels
of all slices of this patient a person would have to change, in percent of those that the reference has (100: none
were proposed). Then `--slices` chosen ones of the patient are drawn, and it is learnt again.

`slices` draws on some patients in rounds, slices that `choose_slices` chooses or random ones, and tells after each
round the mean Dice of the slices of other patients, of whom nothing is drawn.

`--into` keeps the figures in `corrector.csv`, from which an interrupted run goes on, and draws `corrector.png`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from autoseg.data.cases import Case, CaseFolder, find_cases, read_case
from autoseg.image.image import Image, LabelMap
from autoseg.model.model import TrainedModel
from autoseg.prediction.next_slices import choose_slices, doubts_of, propose
from autoseg.training.rounds import plan_learning
from autoseg.training.training import train

Place = tuple[int, int]
# Patients that are gone through one by one.
PEOPLE = 5


@dataclass(frozen=True, eq=False)
class Material:
    """The images of a set with their reference, patient by patient."""

    found: CaseFolder
    images: list[Image]
    references: list[LabelMap]

    @classmethod
    def read(cls, folder: Path, most: int) -> Material:
        """Read a folder, of its patients the first `most`."""
        found = find_cases(folder, unlabelled="skip")
        people = list(dict.fromkeys(case.subject_id for case in found.cases))[:most]
        cases = tuple(case for case in found.cases if case.subject_id in people)
        pairs = [read_case(case, found.structures) for case in cases]
        return cls(replace(found, cases=cases), [pair[0] for pair in pairs], [pair[1] for pair in pairs])

    @property
    def people(self) -> list[str]:
        return list(dict.fromkeys(case.subject_id for case in self.found.cases))

    def of(self, people: Sequence[str]) -> list[int]:
        """Give the images of some patients."""
        return [number for number, case in enumerate(self.found.cases) if case.subject_id in people]

    def drawn(self, places: Iterator[Place] | Sequence[Place] | set[Place]) -> CaseFolder:
        """Give the folder as if these slices alone had been drawn."""
        return replace(self.found, cases=tuple(self._part(*place) for place in sorted(places)))

    def _part(self, number: int, index: int) -> Case:
        case = self.found.cases[number]
        if self.images[number].shape[0] == 1:
            return case
        return replace(case, case_id=f"{case.case_id}_{index + 1}", slices=(index, index + 1))

    def wrong(self, number: int, proposed: np.ndarray) -> tuple[int, int, list[float]]:
        """Give how many pixels are to be changed, how many there are, and the Dice of each slice and structure."""
        reference, changed, pixels, dice = self.references[number], 0, 0, []
        found = replace(reference, voxels=proposed)
        for structure in reference.structures:
            if not reference.is_annotated(structure.label):
                continue
            true, own = reference.mask(structure.label), found.mask(structure.label)
            changed, pixels = changed + int((true != own).sum()), pixels + int(true.sum())
            for one, other in zip(true, own, strict=True):
                if one.any():
                    dice.append(2 * int((one & other).sum()) / int(one.sum() + other.sum()))
        return changed, pixels, dice


def learn(
    material: Material, places: set[Place], base: TrainedModel | None, epochs: int, seed: int
) -> TrainedModel:
    """Learn from the drawn slices, going on from a base."""
    found = material.drawn(places)
    settings, split = plan_learning(found, base, epochs=epochs, seed=seed)
    return train(split, settings, structures=found.structures, base=base)


def patient_by_patient(material: Material, epochs: int, seed: int, slices: int) -> Iterator[float]:
    """Give for each patient in turn what was left to correct, in percent."""
    model, places = None, set[Place]()
    for number, person in enumerate(np.random.default_rng(seed).permutation(material.people)[:PEOPLE].tolist()):
        if number:
            model = learn(material, places, model, epochs, seed)
        own = material.of([person])
        images = [material.images[number] for number in own]
        proposals = [None if model is None else propose(model, image) for image in images]
        counts = [
            material.wrong(at, np.zeros(image.shape, np.uint8) if one is None else one.label_map.voxels)[:2]
            for at, image, one in zip(own, images, proposals, strict=True)
        ]
        changed, pixels = map(sum, zip(*counts, strict=True))
        yield 100 * changed / max(pixels, 1)
        doubts = None if model is None else doubts_of([one for one in proposals if one is not None])
        chosen = choose_slices(images, count=slices, doubts=doubts)
        places |= {(own[one.place[0]], one.place[1]) for one in chosen}


def by_slices(
    material: Material, epochs: int, seed: int, slices: int, rounds: int, *, chosen: bool
) -> Iterator[tuple[int, float]]:
    """Give how many slices were drawn and the Dice on other patients, after each round."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(material.people).tolist()
    test = material.of(order[: max(2, len(order) // 3)])
    pool = material.of(order[max(2, len(order) // 3) :])
    images = [material.images[number] for number in pool]
    model, drawn = None, set[Place]()
    for _ in range(rounds):
        if chosen:
            doubts = None if model is None else doubts_of([propose(model, image) for image in images])
            drawn |= {one.place for one in choose_slices(images, drawn, count=slices, doubts=doubts)}
        else:
            free = [(n, k) for n, image in enumerate(images) for k in range(image.shape[0]) if (n, k) not in drawn]
            drawn |= {free[at] for at in rng.choice(len(free), slices, replace=False)}
        model = learn(material, {(pool[n], k) for n, k in drawn}, model, epochs, seed)
        dice = [
            score
            for number in test
            for score in material.wrong(number, propose(model, material.images[number]).label_map.voxels)[2]
        ]
        yield len(drawn), float(np.mean(dice))


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw both tables, a row a set: the seeds thin, their mean thick."""
    names = list(dict.fromkeys(table["set"]))
    figure = Figure(figsize=(9, 3.4 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    for (left, right), name in zip(axes, names, strict=True):
        own = table[table["set"] == name]
        left.set(title=f"{name}: left to correct", xlabel="patient", ylabel="% of the reference's pixels")
        right.set(title=f"{name}: other patients", xlabel="drawn slices", ylabel="mean Dice")
        for ax, how, colour in ((left, "patients", "C0"), (right, "chosen", "C0"), (right, "random", "C1")):
            lines = own[own["how"] == how].pivot(index="count", columns="seed", values="value")
            if lines.empty:
                continue
            ax.plot(lines.index, lines, color=colour, alpha=0.25, linewidth=1)
            ax.plot(lines.index, lines.mean(axis=1), color=colour, linewidth=2.5, label=how, marker="o")
            ax.set_xticks(lines.index)
        left.axhline(50, color="0.6", linestyle="--", linewidth=1)
        left.set_ylim(bottom=0)
        for ax in (left, right):
            ax.set_visible(bool(ax.get_legend_handles_labels()[1]))
        if right.get_visible():
            right.legend()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=DATA")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--slices", type=int, default=5, help="drawn in each round, or of each patient")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", choices=("patients", "slices"), help="one of the two tables")
    parser.add_argument("--patients", type=int, default=12, help="so many of each set")
    parser.add_argument("--into", type=Path, metavar="FOLDER")
    chosen = parser.parse_args()
    rows: list[tuple[str, int, str, int, float]] = []
    if chosen.into is not None:
        chosen.into.mkdir(parents=True, exist_ok=True)
        if (chosen.into / "corrector.csv").exists():
            rows = list(pd.read_csv(chosen.into / "corrector.csv").itertuples(index=False, name=None))
    tables = [
        how
        for how in ("patients", "chosen", "random")
        if chosen.only in (None, how if how == "patients" else "slices")
    ]
    for name, folder in (one.split("=", 1) for one in chosen.sets):
        material = Material.read(Path(folder), chosen.patients)
        print(f"{name}: {len(material.people)} patients, {sum(one.shape[0] for one in material.images)} slices")
        for seed, how in product(chosen.seeds, tables):
            if any(row[:3] == (name, seed, how) for row in rows):
                continue
            start = time.perf_counter()
            found: list[tuple[str, int, str, int, float]] = []
            given = chosen.epochs, seed, chosen.slices
            if how == "patients":
                told = enumerate(patient_by_patient(material, *given), 1)
            else:
                told = by_slices(material, *given, chosen.rounds, chosen=how == "chosen")
            for count, value in told:
                found.append((name, seed, how, count, value))
                words = (
                    f"patient {count}: {value:.0f} % to correct"
                    if how == "patients"
                    else f"{count} {how} slices: Dice {value:.3f}"
                )
                print(f"  seed {seed}, {words}", flush=True)
            print(f"  {time.perf_counter() - start:.0f} s", flush=True)
            rows += found
            if chosen.into is not None:
                table = pd.DataFrame(rows, columns=["set", "seed", "how", "count", "value"])
                table.to_csv(chosen.into / "corrector.csv", index=False)
                draw(table, chosen.into / "corrector.png")


if __name__ == "__main__":
    main()
