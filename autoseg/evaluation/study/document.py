"""A study's report as a document: patients, labels, split, settings, scores, failures, methods, CLAIM."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoseg.data.corrections.read import say_date
from autoseg.errors import DataError
from autoseg.evaluation.comparison.tables import CUTOFF, MEAN, dice_of, outliers_of, subjects_table
from autoseg.evaluation.crossvalidation import Material
from autoseg.evaluation.study.claim import ITEMS, SOURCE
from autoseg.evaluation.study.methods import methods
from autoseg.evaluation.study.study import Study, without_ids
from autoseg.evaluation.validation_report import UNKNOWN, number_text, rank_worst, with_ends
from autoseg.measurement.summary import SubjectScore, pool_subjects
from autoseg.model.model import autoseg_version
from autoseg.model.networks.build import standardised
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import all_settings, say_value, show_value, value_of
from autoseg.report.figures import show_bland_altman, show_subject_scores
from autoseg.report.pages.document import (
    Block,
    Document,
    Facts,
    Grid,
    Heading,
    Picture,
    Pictures,
    Points,
    Words,
)
from autoseg.words import counted, listed

# What goes on paper: patients and slices that did worst, files left alone and findings.
WORST_PATIENTS, WORST_SLICES, MOST_LINES = 10, 10, 20
DEVICE = "Research software and no medical device: look at every outline before you use its number."
NOT_KEPT = (
    "What was found in the folder of the images, and left out before the folds were drawn, was not kept beside "
    "these folds. Press Start in the notebook again, or give the same command (autoseg crossvalidate): folds are "
    "read and not learnt anew, and it is kept."
)
# Of a training no result depends on them.
WITHOUT_EFFECT = ("print_checkpoint", "save_checkpoint", "keep_checkpoints")
TYPED = "as a person or a recipe said"


def report_study(study: Study, *, show_ids: bool = True) -> Document:
    """Give the report of a cross-validation as a document.

    Parameters
    ----------
    study : Study
        From `read_study`.
    show_ids : bool
        Name patients, images and files; otherwise they are numbered, and free of anything that the files tell.
    """
    hidden = None
    if not show_ids:
        study, hidden = without_ids(study)

    def words(text: str) -> str:
        return text if hidden is None else hidden.hide(text)

    people, folds = len(study.who("test")), len(study.run.folds)
    dates = sorted(str(model["trained"]) for model in study.models if model.get("trained"))
    subtitle = f"{counted(folds, 'fold')}, {counted(people, 'patient')} scored"
    subtitle += f"; learnt {say_date(dates[0])}" if dates else ""
    blocks: list[Block] = [*_short(study)]
    blocks += [Heading("Patients and images"), *_flow(study, show_ids)]
    blocks += [Heading("Labels and readers"), *_labels(study)]
    blocks += [Heading("Split"), *_split(study, words)]
    blocks += [Heading("Settings and their reasons"), *_settings(study, words)]
    blocks += [Heading("Scores"), *_scores(study)]
    blocks += [Heading("Agreement of areas"), *_agreement(study)]
    blocks += [Heading("What failed"), *_failures(study)]
    blocks += [Heading("Methods, to be pasted"), *_methods(study)]
    blocks += [Heading("CLAIM 2024"), *_claim(study)]
    blocks += [Heading("How it was made"), Facts(_making(study, show_ids=show_ids))]
    foot = f"autoseg {autoseg_version()}, {study.name}, {counted(folds, 'fold')}. {DEVICE}"
    return Document(f"Cross-validation of {study.name}", subtitle, tuple(blocks), foot)


# --- in short, patients, labels


def _short(study: Study) -> list[Block]:
    people = counted(len(study.who("test")), "patient")
    learnt = "that had learnt from others" if study.learns else "that learnt nothing here"
    each = "The only patient was" if people == "1 patient" else f"Each of {people} was"
    said = [
        f"{row['name']} {with_ends(row, 3, *_DICE)} ({counted(row['n_subjects'], 'patient')})"
        for row in _summary(study)
    ]
    blocks: list[Block] = [
        Words(
            f"{each} segmented by a model {learnt}. Mean Dice over patients, in brackets its 95 % interval: "
            f"{'; '.join(said)}."
        )
    ]
    missing = [case for case in study.cases if case not in {one for fold in study.sides for one in fold["test"]}]
    if missing:
        blocks.append(
            Words(
                f"No fold that is here scored {counted(len(missing), 'image')} of those that others learnt from: "
                "folds are missing, and these numbers are not those of the whole cross-validation.",
                is_grave=True,
            )
        )
    return blocks


def _flow(study: Study, show_ids: bool) -> list[Block]:
    kept = study.material
    inside = set(study.cases)
    rows: list[tuple[str, str, str]] = []

    def row(what: str, cases: Sequence[str]) -> None:
        rows.append((what, number_text(len({study.people.get(one, one) for one in cases}), 0), f"{len(cases):,}"))

    blocks: list[Block] = []
    if kept is None:
        blocks.append(Words(NOT_KEPT))
    else:
        row("Found, with labels", [case for case, _ in kept.cases])
        for what, who in (("Set aside for a last test", kept.aside), ("Known to the model begun from", kept.known)):
            if who:
                row(f"– {what}", [case for case, subject in kept.cases if subject in who and case not in inside])
        others = [case for case, who in kept.cases if case not in inside and who not in {*kept.aside, *kept.known}]
        if others:
            row("– In no fold for another reason", others)
    row("In the folds", study.cases)
    scored = {score.case_id for score in study.run.scores}
    tested = [case for fold in study.sides for case in fold["test"]]
    row("Segmented, each once", tested)
    row("Scored", [case for case in tested if case in scored])
    nothing = [case for case in tested if case not in scored]
    if nothing:
        row("– Nothing drawn and nothing found, so no score", nothing)
    blocks.append(Grid("Flow of patients and images", ("", "Patients", "Images"), tuple(rows), frozenset({1, 2})))
    per_fold = tuple(
        (
            str(fold.number),
            *(f"{len(study.who(side, number))} ({len(study.sides[number][side])})" for side in _SIDES),
        )
        for number, fold in enumerate(study.run.folds)
    )
    columns = ("Fold", "Learnt from", "Validated on", "Scored")
    blocks.append(Grid("Patients (images) of each fold", columns, per_fold, frozenset({1, 2, 3})))
    if kept is not None:
        if kept.left_alone:
            head = f"Files of the folder that were left alone: {len(kept.left_alone)}."
            blocks += [Words(head), Points(_lines([one.say(show_ids=show_ids) for one in kept.left_alone]))]
        if kept.findings:
            head = f"What the check of the data said: {counted(len(kept.findings), 'finding')}."
            blocks += [Words(head), Points(_lines([one.say(show_ids=show_ids) for one in kept.findings]))]
        if kept.images:
            blocks.append(Words(f"What they are like: {' '.join(kept.images.split())}"))
    return blocks


_DICE = ("dice", "dice_low", "dice_high")
_SIDES = ("training", "validation", "test")


def _lines(sentences: Sequence[str]) -> tuple[str, ...]:
    """Give sentences, those that stand several times once, and how many are not shown."""
    counts = Counter(sentences)
    lines = [words if count == 1 else f"{count} × {words}" for words, count in counts.items()]
    more = len(lines) - MOST_LINES
    return (*lines[:MOST_LINES], f"… and {more} more") if more > 0 else tuple(lines)


def _labels(study: Study) -> list[Block]:
    kept = study.material
    drawn = {} if kept is None else dict(kept.drawn)
    rows = []
    for structure in study.structures:
        own = [score for score in study.run.scores if score.label == structure.label]
        shown = [score for score in own if score.reference_pixels]
        known = f"{drawn[structure.name]:,}" if structure.name in drawn else UNKNOWN
        rows.append(
            (
                structure.name,
                known,
                f"{len({score.subject_id for score in shown}):,}",
                f"{len(shown):,}",
            )
        )
    columns = ("Structure", "Images on which it was drawn", "Patients who show it", "Slices that show it")
    blocks: list[Block] = [_of_known("The reference", columns, tuple(rows))]
    if kept is None or not kept.readers:
        return [*blocks, Words("How many readers drew the labels was not kept.")]
    several = {readers: images for readers, images in kept.readers if readers > 1}
    if not several:
        return [*blocks, Words("Each image has the labels of one reader, so how much readers differ is not known.")]
    said = [f"{counted(images, 'image')} {readers} readers" for readers, images in several.items()]
    return [
        *blocks,
        Words(
            f"Of {listed(said)} drew the labels; the reference is {kept.joined}. Whether the model is as good as a "
            "second reader, autoseg raters says."
        ),
    ]


# --- split and settings


def _split(study: Study, words: Any) -> list[Block]:
    settings = study.settings
    validated = bool(study.who("validation"))
    chosen = ["the epoch"] * (settings.best_by != "last") + ["the post-processing"] * study.choose_post
    choose = f"choose {listed(chosen)}" if chosen else "are watched, and choose nothing"
    facts = [
        ("By", "patient: all images of one are on one side of each fold"),
        ("Folds", str(len(study.run.folds))),
        ("Seed", str(settings.seed)),
        ("Spread", "structures as evenly as they go, then slices"),
        ("Validation patients", (choose if study.learns else "are not used") if validated else "none"),
        ("Test patients", "each in one fold, segmented by a model that had seen them in no way"),
    ]
    if study.material is not None and study.material.rules:
        rules = [f"{rule} ({counted(images, 'image')})" for rule, images in study.material.rules]
        facts.append(("Whose an image is", "; ".join(rules)))
    notes = tuple(words(note) for note in study.run.notes)
    return [Facts(tuple(facts)), *([Points(notes)] if notes else [])]


def _settings(study: Study, words: Any) -> list[Block]:
    """Give the settings that a plan chose, or that differ from the usual ones, each with its reason."""
    usual, kept = Settings(), study.material
    usual = replace(
        usual, epochs=None if study.settings.epochs is None else 100, network=standardised(usual.network)
    )
    reasons = {} if kept is None else {one.name: one for one in kept.choices}
    rows = []
    for name, told in all_settings().items():
        if name in WITHOUT_EFFECT:
            continue
        value = value_of(study.settings, name)
        reason = reasons.get(name)
        if reason is not None and reason.value == (show_value(value) or "none"):
            why = reason.reason
        elif value != value_of(usual, name):
            why = TYPED if reasons else told.words
        else:
            continue
        rows.append((told.label, words(say_value(name, value)), why, name))
    if not rows:
        return [Words("All settings are the usual ones.")]
    columns = ("Setting", "Value", "Why" if reasons else "What it is", "Code name")
    table = Grid("All others are as usual", columns, tuple(rows))
    return [table] if reasons else [Words("Why they were chosen was not kept beside these folds."), table]


# --- results


def _summary(study: Study) -> list[dict[Any, Any]]:
    return study.run.summary.to_dict("records")


def _scores(study: Study) -> list[Block]:
    rows = tuple(
        (
            str(row["name"]),
            f"{row['n_subjects']} ({row['n_slices']:,})",
            *(with_ends(row, digits, name, f"{name}_low", f"{name}_high") for name, digits in _RANGED.items()),
        )
        for row in _summary(study)
    )
    columns = ("Structure", "Patients (slices)", *_HEADS)
    caption = "Means over patients; in brackets the 95 % interval over patients (bootstrap)"
    blocks: list[Block] = [_of_known(caption, columns, rows)]
    few = [f"{row['name']}: {row['interval']}" for row in _summary(study) if math.isnan(row["dice_low"])]
    if few:
        blocks.append(Words(f"Intervals: {'; '.join(few)}."))
    try:
        figure = show_subject_scores(pool_subjects(study.run.scores), study.structures)
    except DataError as error:
        return [*blocks, Words(str(error))]
    said = "; ".join(f"{row['name']} {number_text(row['dice'], 3)}" for row in _summary(study))
    picture = _picture(
        figure,
        "Each dot is a patient, a diamond the mean with its 95 % interval; who has the lowest Dice is named.",
        f"Dice of every patient by structure. Means: {said}.",
    )
    return [*blocks, Pictures((picture,), 1 if len(study.structures) > 5 else 2)]


_RANGED = {"dice": 3, "iou": 3, "hd95_mm": 1, "nsd": 3, "area_error_percent": 1, "total_area_error_percent": 1}
_HEADS = ("Dice", "IoU", "HD95 (mm)", "NSD", "Area error of a slice (%)", "Area error of a patient's sum (%)")


def _of_known(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """Give a table without columns of which nothing is known; all but the first hold numbers."""
    known = [at for at in range(len(columns)) if any(row[at] != UNKNOWN for row in rows)]
    return Grid(
        caption,
        tuple(columns[at] for at in known),
        tuple(tuple(row[at] for at in known) for row in rows),
        frozenset(range(1, len(known))),
    )


def _agreement(study: Study) -> list[Block]:
    is_in_mm = any(not math.isnan(row["area_bias_mm2"]) for row in _summary(study))
    rows = tuple(
        (
            str(row["name"]),
            number_text(row["reference_mm2"], 0),
            number_text(row["predicted_mm2"], 0),
            with_ends(row, 1, "area_bias_mm2", "area_limit_low_mm2", "area_limit_high_mm2"),
            number_text(row["icc_slices"], 3),
            number_text(row["icc_subjects"], 3),
            number_text(row["cv_percent"], 1),
        )
        for row in _summary(study)
    )
    columns = (
        *("Structure", "Mean area drawn (mm²)", "Mean area predicted (mm²)", "Bias (mm²) [limits of agreement]"),
        *("ICC of slices", "ICC of patients' means", "CV (%)"),
    )
    blocks: list[Block] = [_of_known("Areas, predicted − drawn", columns, rows)]
    try:
        figure = show_bland_altman(study.run.scores, study.structures)
    except DataError:
        return [*blocks, Words("The images have no pixel size, so areas are compared in pixels and per cent only.")]
    said = "; ".join(
        f"{row['name']} {with_ends(row, 1, 'area_bias_mm2', 'area_limit_low_mm2', 'area_limit_high_mm2')} mm²"
        for row in _summary(study)
    )
    caption = "Bland–Altman: each dot is a slice; the line is the bias, dashed lines the 95 % limits of agreement."
    if not is_in_mm:
        caption += " Only slices whose pixel size is known."
    picture = _picture(figure, caption, f"Bland–Altman plots of the areas. Bias and limits: {said}.")
    return [*blocks, Pictures((picture,), 1 if len(study.structures) > 1 else 2)]


def _picture(figure: Any, caption: str, alt: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return Picture(buffer.getvalue(), caption, alt)


def _failures(study: Study) -> list[Block]:
    subjects = subjects_table({study.name: study.run})
    dice = dice_of(subjects, MEAN)[study.name].dropna().sort_values()
    outliers = outliers_of(subjects, study.name)
    pooled = pool_subjects(study.run.scores)
    blocks: list[Block] = []
    if outliers:
        blocks.append(
            Words(
                f"{len(outliers)} of {counted(len(dice), 'patient')} did unusually badly beside the others (robust "
                f"z-score of the Dice below −{CUTOFF:g}), ▼ below. They count in every number here."
            )
        )
    lost = [one for one in pooled if one.n_reference and one.n_missed >= one.n_reference]
    if lost:
        names = [f"{one.name} of {one.subject_id} ({counted(one.n_reference, 'slice')})" for one in lost]
        head = f"Structures that were drawn on a patient and found on none of their slices: {len(lost)}."
        blocks += [Words(head, is_grave=True), Points(_lines(names))]
    else:
        blocks.append(Words("No structure was missed on all slices of a patient."))
    missed = tuple(
        (
            str(row["name"]),
            f"{row['n_slices']:,}",
            _part(row["n_missed"], row["n_slices"]),
            _part(row["n_invented"], row["n_slices"]),
        )
        for row in _summary(study)
    )
    heads = ("Structure", "Slices", "Missed: drawn, not found", "Invented: found, not drawn")
    blocks.append(Grid("Slices on which a structure was missed or invented", heads, missed, frozenset({1, 2, 3})))
    of: dict[str, list[SubjectScore]] = {}
    for one in pooled:
        of.setdefault(one.subject_id, []).append(one)
    worst = tuple(
        (
            f"{who}{' ▼' if who in outliers else ''}",
            number_text(value, 3),
            "; ".join(f"{one.name} {number_text(one.dice, 2)}" for one in of.get(str(who), ())),
            "; ".join(f"{one.name} {number_text(one.total_area_error_percent, 0)}" for one in of.get(str(who), ())),
        )
        for who, value in dice.head(WORST_PATIENTS).items()
    )
    heads = ("Patient", "Dice, mean", "By structure", "Error of the summed area (%)")
    caption = "Patients with the lowest Dice, the worst first" + ("; ▼ an outlier" if outliers else "")
    blocks.append(Grid(caption, heads, worst, frozenset({1})))
    slices = tuple(
        (
            score.case_id,
            str(score.slice),
            score.name,
            number_text(score.dice, 2),
            *(
                _size(score.reference_mm2, score.reference_pixels),
                _size(score.predicted_mm2, score.predicted_pixels),
            ),
        )
        for score in rank_worst(study.run.scores)[:WORST_SLICES]
    )
    columns = ("Image", "Slice", "Structure", "Dice", "Drawn", "Predicted")
    caption = "Slices that did worst: missed and invented ones first, the largest of them first"
    return [*blocks, Grid(caption, columns, slices, frozenset({1, 3, 4, 5}))]


def _part(count: int, of: int) -> str:
    return f"{count:,} ({100 * count / of:.1f} %)" if of else f"{count:,}"


def _size(area_mm2: float | None, pixels: int) -> str:
    return f"{pixels:,} pixels" if area_mm2 is None else f"{number_text(area_mm2, 1)} mm²"


# --- to write from


def _methods(study: Study) -> list[Block]:
    head = (
        "In numbers from the folds, to be pasted and put into your own words. What no program knows is not there: "
        "see the items for the author below."
    )
    return [Words(head), *(Words(f"{name}. {words}") for name, words in methods(study))]


def _claim(study: Study) -> list[Block]:
    filled = claim_items(study)
    rows = tuple((str(number), what, *filled.get(number, ("author", ""))) for number, what in ITEMS.items())
    count = Counter(row[2] for row in rows)
    head = (
        f"{count['filled']} of {len(ITEMS)} items are filled by this report, {count['in part']} in part, and "
        f"{count['author']} are for the author."
    )
    columns = ("Item", "What it asks", "State", "Where, or what is missing")
    return [Words(f"{head} {SOURCE}"), Grid("Items", columns, rows)]


def claim_items(study: Study) -> Mapping[int, tuple[str, str]]:
    """Give which items a study's report fills ("filled", "in part"), and where, or what is missing."""
    kept = study.material or Material()
    readers = any(number > 1 for number, _ in kept.readers)
    found: dict[int, tuple[str, str]] = {
        8: ("in part", "Technical exclusions are under Patients and images; add the clinical criteria"),
        9: ("filled", "Methods: Preprocessing"),
        10: ("in part", "Patients and images; add how patients were chosen before"),
        11: ("in part", "This report can be written without IDs; add how images were de-identified"),
        12: ("in part", "A structure that was not drawn on an image counts as unknown there, not as absent"),
        14: ("in part", "Labels and readers; add how structures were outlined"),
        17: ("in part", "Every patient is a test patient once, with the labels that others learnt from"),
        19: ("filled", "Split"),
        20: ("filled", "Split: by patient"),
        22: ("filled", "Methods: Network; Settings"),
        23: ("filled", "Methods: Software and hardware"),
        24: ("filled", "Methods: Network"),
        25: ("filled", "Methods: Augmentation, Training"),
        26: ("filled", "Methods: Training; Split"),
        27: ("filled", f"One model a fold; copies of the image: {study.copies}"),
        28: ("filled", "Methods: Measures"),
        29: ("filled", "Methods: Measures"),
        32: ("filled", "Cross-validation: Scores"),
        35: ("filled", "Patients and images"),
        37: ("filled", "Scores; Agreement of areas"),
        39: ("in part", "What failed; add why"),
        42: ("in part", "Settings and digests stand here; add where the protocol is"),
        43: ("in part", "autoseg is open source (Apache-2.0); say whether models and data can be had"),
    }
    if study.material is None:
        found[35] = ("in part", "Patients and images; what was left out before was not kept")
    if kept.images:
        found[13] = ("in part", "Sizes are under Patients and images; add machines and sequences")
    if readers:
        found[18] = ("in part", "Several readers drew; autoseg raters says how they agree")
    if not study.learns:
        found[25] = ("in part", "The model had been trained before: see its card")
    return found


def _making(study: Study, *, show_ids: bool) -> tuple[tuple[str, str], ...]:
    digests = [
        f"{model['name']} {model['digest']} (epoch {model['best_epoch']})"
        for model in study.models
        if model.get("digest")
    ]
    settings = sorted({str(model["settings_digest"]) for model in study.models if model.get("settings_digest")})
    facts = [
        ("Folds", str(study.run.folder.resolve().name) if show_ids else ""),
        ("Models", "; ".join(digests)),
        ("Digest of the settings", ", ".join(settings)),
        ("Begun from", study.begun_from),
        ("What was found, as of", say_date(study.material.date) if study.material is not None else "not kept"),
        ("Tables beside the folds", "results.csv, results_summary.csv and results_slices.csv have all numbers"),
        ("Patient IDs", "" if show_ids else "left out, with names of images and files"),
    ]
    return tuple((name, words) for name, words in facts if words)
