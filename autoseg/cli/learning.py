"""Commands that learn: train, calibrate, crossvalidate, demo."""

from __future__ import annotations

import argparse
import signal
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from autoseg.cli.options import find, note_guessed, typed_settings, workers_of
from autoseg.cli.planning import begun_with, plan_for
from autoseg.cli.using import print_comparison, print_run, print_summary
from autoseg.errors import AutosegError, OutputError
from autoseg.words import counted

if TYPE_CHECKING:
    from autoseg.data.cases import CaseFolder
    from autoseg.data.checks import Finding
    from autoseg.data.split import Split
    from autoseg.data.test_subjects import Ledger
    from autoseg.model.model import TrainedModel
    from autoseg.model.settings.settings import Settings
    from autoseg.training.events import Event
    from autoseg.training.keeping.elsewhere import Unsaved
    from autoseg.training.plan import Plan

# Its myocardium is missing (data/sample/README.md), so it would teach least.
DEMO_VALIDATION = ("SCD0000501",)
# Half of the images' own resolution: four times faster, which gains more than fine pixels in a few minutes.
DEMO_SPACING_MM = 2.75
ROOT = Path(__file__).resolve().parents[2]


def tell(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def train(chosen: argparse.Namespace) -> None:
    """Train on a folder, check it first, save the model; or go on with a training that did not end."""
    from autoseg.training.keeping.alone import training_alone

    with training_alone(chosen.output, chosen.name):  # before minutes of reading
        _train(chosen)


def _train(chosen: argparse.Namespace) -> None:
    from autoseg.data.split import subjects_of
    from autoseg.data.test_subjects import freeze_test_subjects, read_ledger
    from autoseg.evaluation.calibrate import check_calibration, find_uncalibrated, models_time, plan_calibration
    from autoseg.model.ended import Ended
    from autoseg.training.checkpoint import checkpoint_path, find_checkpoint, read_checkpoint, split_again

    base = base_of(chosen)
    if chosen.calibrate and chosen.resume and not checkpoint_path(chosen.output, chosen.name).is_file():
        begun = find_uncalibrated(chosen.output, chosen.name)
        if begun is not None:
            _calibrate(chosen, begun.path, check_found(find(chosen)), base)
            return
    settings = settings_of(chosen, base)
    if chosen.calibrate:
        settings = models_time(settings)
    unfinished = read_checkpoint(find_checkpoint(chosen.output, chosen.name)) if chosen.resume else None
    found = check_found(find(chosen))
    if unfinished is None:
        plan, validation = None, chosen.validation_subject
        ledger = read_ledger(found.folder)
        set_aside = _set_aside(ledger, chosen.test_subject)
        if base is None:
            if validation is not None:  # whom nobody knows is told before anything is planned
                _split(found, settings, validation=validation, test=set_aside)
            plan = plan_for(chosen, found, settings, set_aside=set_aside, who=validation is None)
            settings = with_recipe(chosen, plan.settings)
        split = _split(found, settings, validation=validation, test=set_aside, base=base, plan=plan)
        # Only now: the split knows every one of them.
        if chosen.test_subject:
            there = ledger.subjects if ledger else ()
            freeze_test_subjects(found.folder, chosen.test_subject, instead_of=there)
    else:
        ledger = read_ledger(found.folder)
        split = split_again(unfinished, found.cases, test_subjects=ledger.subjects if ledger else ())
    if chosen.calibrate:
        own = settings if unfinished is None else unfinished.settings
        check_calibration(split, own, base)
        print(plan_calibration(own, len(subjects_of(split.training + split.validation)), finder=finder_of(chosen)))
    model, path = _learn(
        split,
        found,
        settings,
        name=chosen.name,
        output=chosen.output,
        choose_post=chosen.choose_post,
        resume=chosen.resume,
        base=base,
        finder=finder_of(chosen),
    )
    is_stopped = model.ended is Ended.STOPPED
    if is_stopped and checkpoint_path(chosen.output, chosen.name).is_file():
        print("The training was stopped. To go on with it, give the same command with --resume.")
    elif is_stopped and chosen.calibrate:
        print(f"It was stopped, so how far areas can be off was not measured. {_to_calibrate(chosen, path)}")
    elif chosen.calibrate:
        _calibrate(chosen, path, found, base)


def calibrate(chosen: argparse.Namespace) -> None:
    """Measure how far a model's areas can be off, by twins of it, and keep it in the model's file."""
    base = base_of(chosen)
    _calibrate(chosen, chosen.model, check_found(find(chosen)), base, folds_from=chosen.folds_from)


def _calibrate(
    chosen: argparse.Namespace,
    path: Path,
    found: CaseFolder,
    base: TrainedModel | None,
    *,
    folds_from: Path | None = None,
) -> None:
    """Let twins of a saved model measure patients whom they never saw; those set aside are in no fold."""
    from autoseg.data.test_subjects import read_ledger
    from autoseg.evaluation.calibrate import calibrate_by_folds
    from autoseg.prediction.intervals import about_intervals

    ledger = read_ledger(found.folder)
    aside = ledger.subjects if ledger else ()
    if ledger:
        print(f"{ledger.note} They are in no fold.")
    with stop_at_interrupt() as should_stop:
        try:
            model = calibrate_by_folds(
                path,
                [case for case in found.cases if case.subject_id not in aside],
                found.structures,
                base=base,
                folds_from=folds_from,
                tell=tell,
                should_stop=should_stop,
            )
        except KeyboardInterrupt:
            print(f"It was stopped: how far areas can be off is not known yet. {_to_calibrate(chosen, path)}")
            return
        except AutosegError:
            if path.is_file():
                print(f"The model in {path} stays as it was: how far its areas can be off is not known by folds.")
            raise
    print(about_intervals([model]))


def _to_calibrate(chosen: argparse.Namespace, path: Path) -> str:
    base = "" if chosen.base is None else f" --base {chosen.base}"
    return (
        f"The model is kept. To go on, give: autoseg calibrate {path} {chosen.folder}{base}, with the same options "
        "for the images."
    )


def settings_of(chosen: argparse.Namespace, base: TrainedModel | None = None) -> Settings:
    """Give the settings that the options say, of what they leave open the base's; those of `--set` count last."""
    from autoseg.model.settings.settings import AugmentationSettings, Settings
    from autoseg.model.settings.text import read_assignments
    from autoseg.training.finetuning import settings_from_base
    from autoseg.training.plan import change_settings

    _check_recipe(chosen)
    typed = read_assignments(chosen.changes or ())
    settings = Settings() if base is None else settings_from_base(base)
    augmentations = {
        "wide": AugmentationSettings(),
        "manual": AugmentationSettings.manual(),
        "off": AugmentationSettings.off(),
    }
    if chosen.augmentation is not None:
        settings = replace(settings, augmentation=augmentations[chosen.augmentation])
    given = typed_settings(chosen)
    if chosen.rotation_deg is not None:
        given["augmentation.rotation_probability"] = float(chosen.rotation_deg > 0)
    if chosen.minutes is not None:
        given["epochs"] = None
    return change_settings(settings, given | typed)


def _check_recipe(chosen: argparse.Namespace) -> None:
    """Refuse a recipe that is not known, or that would take the place of what a base has learnt."""
    from autoseg.errors import SettingsError
    from autoseg.training.recipes import recipe

    if chosen.recipe is not None:
        recipe(chosen.recipe)
        if chosen.base is not None:
            raise SettingsError(
                "--recipe learns from the beginning and --base goes on with a model. Leave one out."
            )


def with_recipe(chosen: argparse.Namespace, settings: Settings) -> Settings:
    """Give the recipe that was asked for, made for pixels and time of these settings; what was typed counts.

    Where no time was typed it learns for the epochs that were published, if any were.
    """
    from autoseg.model.settings.text import read_assignments, value_of
    from autoseg.training.plan import change_settings
    from autoseg.training.recipes import RECIPES, recipe

    if chosen.recipe is None:
        return settings
    typed = {*read_assignments(chosen.changes or ()), *typed_settings(chosen)}
    if chosen.rotation_deg is not None:
        typed.add("augmentation.rotation_probability")
    found, epochs = recipe(chosen.recipe, base=settings), RECIPES[chosen.recipe].epochs
    if epochs is not None and not {"epochs", "minutes"} & typed:
        found = replace(found, epochs=epochs, minutes=None)
    if chosen.augmentation is not None:
        found = replace(found, augmentation=settings.augmentation)
    return change_settings(found, {name: value_of(settings, name) for name in typed})


def base_of(chosen: argparse.Namespace) -> TrainedModel | None:
    """Load the model that is gone on from, if one is named: a file, or a name in the folder of models."""
    from autoseg.model.model import find_named_model, load_model

    if chosen.base is None:
        return None
    is_file = Path(chosen.base).suffix == ".pt" or Path(chosen.base).is_file()
    folder = chosen.output if "output" in chosen else chosen.model.parent
    path = Path(chosen.base) if is_file else find_named_model(folder, chosen.base)
    model = load_model(path)
    note_guessed(path, model)
    return model


def finder_of(chosen: argparse.Namespace) -> Settings:
    """Give the settings of what finds centrelines, for models that see a crop around them."""
    from autoseg.training.finder import finder_settings

    return finder_settings(minutes=chosen.finder_minutes, seed=chosen.seed or 0)


def show_settings(chosen: argparse.Namespace) -> None:
    """Show every setting as `--set` takes it, with its default and what it means."""
    from autoseg.model.settings.settings import Settings
    from autoseg.model.settings.text import all_settings, show_value, value_of

    for name, setting in all_settings().items():
        print(f"{name}={show_value(value_of(Settings(), name)) or 'none'}")
        print(
            textwrap.fill(f"{setting.title}. {setting.told}", 100, initial_indent="    ", subsequent_indent="    ")
        )


def crossvalidate(chosen: argparse.Namespace) -> None:
    """Train a model a fold and score every subject once."""
    from autoseg.data.test_subjects import read_ledger
    from autoseg.evaluation.crossvalidation import cross_validate, describe_material
    from autoseg.evaluation.study import write_study_report
    from autoseg.training.keeping.alone import folds_alone

    workers = workers_of(chosen)
    folder = chosen.output / f"{chosen.name}_folds"
    with folds_alone(folder):  # before minutes of reading
        base = base_of(chosen)
        settings = settings_of(chosen, base)
        found = find(chosen)
        findings = tell_findings(found)
        ledger = read_ledger(found.folder)
        set_aside = ledger.subjects if ledger else ()
        if ledger:
            print(f"{ledger.note} They are in no fold.")
        plan = None
        if base is None:
            earlier = begun_with(chosen, settings, folder)
            if earlier is None:
                plan = plan_for(chosen, found, settings, set_aside=set_aside)
                earlier = plan.settings
            settings = with_recipe(chosen, earlier)
        result = cross_validate(
            found.cases,
            found.structures,
            settings,
            folder=folder,
            folds=chosen.folds,
            name=chosen.name,
            choose_post=chosen.choose_post,
            test_subjects=set_aside,
            tell=tell,
            base=base,
            finder=finder_of(chosen),
            material=describe_material(found, findings, plan),
            workers=workers,
        )
    for note in result.notes:
        print(f"Note: {note}")
    print_summary(result.summary)
    print(f"Saved in {result.folder}")
    if chosen.report:
        print(f"Report: {', '.join(map(str, write_study_report(result.folder)))}")


def check_found(found: CaseFolder) -> CaseFolder:
    """Tell what is wrong with the cases; an error ends the command."""
    tell_findings(found)
    return found


def tell_findings(found: CaseFolder) -> tuple[Finding, ...]:
    """Tell what is wrong with the cases, and give it; an error ends the command."""
    from autoseg.data.checks import check_cases, raise_on_errors

    findings = check_cases(found)
    raise_on_errors(findings)
    for finding in findings:
        print(f"{finding.severity}: {finding.case_id} {finding.problem}")
    return findings


def _set_aside(ledger: Ledger | None, named: Sequence[str] | None) -> Sequence[str]:
    """Give the subjects of the last test: those named, or those frozen before, which is told."""
    if ledger and not named:
        print(ledger.note)
    return named or (ledger.subjects if ledger else ())


def _split(
    found: CaseFolder,
    settings: Settings,
    *,
    validation: Sequence[str] | None,
    test: Sequence[str] = (),
    base: TrainedModel | None = None,
    plan: Plan | None = None,
) -> Split:
    """Split the cases: those named validate, else those of the plan, which has told what they lack."""
    from autoseg.data.label_counts import count_labels
    from autoseg.data.split import split_cases
    from autoseg.training.finetuning import split_for_base

    told = plan if validation is None else None
    split = (split_cases if base is None else partial(split_for_base, base))(
        found.cases,
        validation_subjects=validation if told is None else told.validation_subjects,
        test_subjects=test,
        seed=settings.seed,
        facts=count_labels(found.cases, found.structures),
    )
    return split if told is None else replace(split, notes=())


def _learn(
    split: Split,
    found: CaseFolder,
    settings: Settings,
    *,
    name: str,
    output: Path,
    choose_post: bool = False,
    resume: bool = False,
    base: TrainedModel | None = None,
    finder: Settings | None = None,
) -> tuple[TrainedModel, Path]:
    """Tell who is on which side, train with a line an epoch, save."""
    from autoseg.report.score_files import write_curves
    from autoseg.training.history import history_rows
    from autoseg.training.keeping.elsewhere import NotResumable, NotSavedError
    from autoseg.training.save import train_and_save
    from autoseg.training.shortfall import say_shortfall, say_unscored
    from autoseg.words import listed

    sides = (("Training", split.training), ("Validation", split.validation), ("Test, set aside", split.test))
    for what, cases in (side for side in sides if side[1]):
        subjects = sorted({case.subject_id for case in cases})
        who = f"{counted(len(subjects), 'patient')}: {', '.join(subjects)}"
        print(f"{what}: {counted(len(cases), 'image')} of {who}")
    if split.notes:
        print(split.say(found.structures))
    if base is not None and not resume:
        print(f"Going on from {base!r}")

    unsaved: list[Unsaved] = []

    def hear(event: Event) -> None:
        if isinstance(event, NotResumable):
            unsaved[:] = [event.unsaved]
        tell(str(event))

    with stop_at_interrupt() as should_stop:
        try:
            model, path = train_and_save(
                split,
                settings,
                structures=found.structures,
                name=name,
                folder=output,
                choose_post=choose_post,
                on_event=hear,
                should_stop=should_stop,
                resume=resume,
                base=base,
                finder=finder,
            )
        except NotSavedError as error:
            raise OutputError(f"{error} {saved_elsewhere(error.unsaved)}") from error
    if unsaved and unsaved[-1].checkpoint is not None:
        print(saved_elsewhere(unsaved[-1]))
    curves = write_curves(
        Path(output), name, history_rows(model), structures=model.structures, best_by=model.settings.best_by
    )
    beside = listed([f"{name}_history.csv", *(one.name for one in curves)])
    print(f"{model!r}\nSaved: {path}; beside it {beside}.")
    for kind, words in (("Warning", say_shortfall(model)), ("Note", say_unscored(model))):
        if words:
            print(f"{kind}: {words}")
    return model, path


def saved_elsewhere(unsaved: Unsaved) -> str:
    """Save what has no room where it belongs in the user's own folder, or that for temporary files; say where."""
    from autoseg.training.keeping.elsewhere import somewhere

    place = somewhere(unsaved.name, unsaved.save_in)
    if place is None:
        return "Nor could what was learnt be saved in your own folder, or in that for temporary files."
    words = f"What was learnt is saved in {place}: move it to {unsaved.folder} once there is room."
    if unsaved.checkpoint is not None:
        words += f" To go on with it from there, give the same command with --resume and --output {place}."
    return words


@contextmanager
def stop_at_interrupt() -> Iterator[Callable[[], bool]]:
    """Give what tells whether Ctrl-C was pressed, once it is asked for the first time; a second one interrupts."""
    usual, pressed, listening = signal.getsignal(signal.SIGINT), False, False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        tell("Stopping after this step. What was learnt is validated and saved; Ctrl-C again does not wait.")

    def should_stop() -> bool:
        nonlocal listening
        # Reading the files, before, is interrupted at once; only the main thread hears of Ctrl-C.
        if not listening and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, press)
            listening = True
        return pressed

    try:
        yield should_stop
    finally:
        if listening:
            signal.signal(signal.SIGINT, usual)


def demo(chosen: argparse.Namespace) -> None:
    """Learn from the sample, segment a patient of it never seen, print the areas beside the expert's."""
    from autoseg.data.cases import find_cases
    from autoseg.model.settings.settings import PreprocessSettings, Settings
    from autoseg.prediction.run import segment_folder

    sample = ROOT / "data" / "sample"
    print("Sample: 96 slices of five hearts (Sunnybrook Cardiac Data, CC0). Learning from four patients.\n")
    start = time.monotonic()
    settings = Settings(minutes=chosen.minutes, preprocess=PreprocessSettings(spacing_mm=DEMO_SPACING_MM))
    found = check_found(find_cases(sample / "train"))
    split = _split(found, settings, validation=DEMO_VALIDATION)
    model, _ = _learn(
        replace(split, notes=()), found, settings, name="demo", output=chosen.output / "trained_model"
    )
    print(f"Learning took {(time.monotonic() - start) / 60:.1f} minutes.\n")
    print("Now the patient SCD0000301, whom the model has never seen:")
    start = time.monotonic()
    run = segment_folder(model, sample / "test" / "dicoms", output=chosen.output / "predictions")
    print(f"Reading, segmenting, measuring and saving took {time.monotonic() - start:.1f} s.")
    print_run(run)
    print_comparison(run, find_cases(sample / "test"))
