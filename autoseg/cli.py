"""The command line: the same functions as the notebooks, for servers and scripts."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from autoseg.errors import AutosegError

if TYPE_CHECKING:
    from autoseg.cases import CaseFolder
    from autoseg.model import TrainedModel
    from autoseg.report import Run
    from autoseg.settings import Settings

Number = TypeVar("Number", int, float)
# Its myocardium is missing (data/sample/README.md), so it would teach least.
DEMO_VALIDATION = ("SCD0000501",)
# Half of the images' own resolution: four times faster, which gains more than fine pixels in a few minutes.
DEMO_SPACING_MM = 2.75
ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 if it went well, 1 with one sentence on the error stream if not."""
    chosen = _parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except AutosegError as error:
        print(f"autoseg: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("autoseg: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, as in "| head", has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(
            f"autoseg: {error.filename or 'A file'} cannot be used: {error.strerror or error}. Check that it is "
            "there and that you may open it.",
            file=sys.stderr,
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="autoseg",
        description="Train the segmentation of your own medical images and measure areas in mm².",
        epilog="'autoseg COMMAND --help' tells what a command needs.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    check = command("check", _check, "Look at a folder of images and labels and say what is wrong with it.")
    _add_training_folder(check)

    train = command("train", _train, "Train a network on a folder of images and labels.")
    _add_training_folder(train)
    train.add_argument("--name", default="model", help="name of the model (default: model)")
    length = train.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="times that every slice is seen (default: 100)")
    length.add_argument("--minutes", type=float, help="or: the time that learning may take")
    train.add_argument("--validation-subject", action="append", metavar="ID", help="validate on this patient")
    train.add_argument("--spacing-mm", type=float, help="the network's pixel size (default: from the images)")
    train.add_argument(
        "--input-shape", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), help="or: resize every image to this"
    )
    train.add_argument("--batch-size", type=int, default=8)
    train.add_argument("--learning-rate", type=float, default=2e-3)
    train.add_argument("--augmentation", choices=("wide", "manual", "off"), default="wide")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--print-checkpoint", type=int, default=1, metavar="EPOCHS")
    train.add_argument("--save-checkpoint", type=int, default=10, metavar="EPOCHS")
    train.add_argument("--output", type=Path, default=Path("trained_model"), help="folder of the model")

    predict = command("predict", _predict, "Segment a folder of DICOM files and measure the areas.")
    predict.add_argument("model", type=Path, help="a .pt file of trained_model")
    predict.add_argument("folder", type=Path, help="the patient's DICOM files")
    predict.add_argument("--output", type=Path, default=Path("predictions"))
    predict.add_argument("--reference", type=Path, help="a folder with dicoms and labels to compare with")
    _add_calibration(predict)

    measure = command("measure", _measure, "Measure the areas of labels that were drawn already.")
    _add_training_folder(measure)
    measure.add_argument("--output", type=Path, help="a new folder for areas.csv and measurements.csv")
    _add_calibration(measure)

    command("selftest", _selftest, "Measure made-up DICOM series of known shapes and print the worst error.")
    command("computer", _computer, "Show memory, device and speed of this computer.")
    demo = command("demo", _demo, "Learn from the sample hearts, segment one never seen, print its areas.")
    demo.add_argument("--minutes", type=float, default=3.7, help="time of the learning (default: 3.7)")
    demo.add_argument("--output", type=Path, default=ROOT, help="where trained_model and predictions lie")
    return parser


def _add_training_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="holds dicoms/ and labels/, files paired by their names")
    parser.add_argument(
        "--leave-out-unlabelled", action="store_true", help="images without a label are not an error"
    )


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--field-of-view-mm", type=float, nargs="+", metavar="MM", help="where the header has no spacing"
    )
    parser.add_argument("--matrix-size", type=int, nargs="+", metavar="N", help="rows and columns, as a check")
    parser.add_argument("--prefer", choices=("header", "typed"), help="which to trust where both are known")


def _tell(line: str) -> None:
    print(line, flush=True)


def _one_or_pair(values: list[Number] | None) -> Number | list[Number] | None:
    return values[0] if values is not None and len(values) == 1 else values


def _find(folder: Path, leave_out: bool) -> CaseFolder:
    from autoseg.cases import find_cases

    found = find_cases(folder, unlabelled="skip" if leave_out else "refuse")
    for skipped in found.skipped:
        print(f"Left alone: {skipped.path} ({skipped.reason})")
    return found


def _check(chosen: argparse.Namespace) -> None:
    from autoseg.cases import pairs_table
    from autoseg.checks import check_cases, raise_on_errors

    found = _find(chosen.folder, chosen.leave_out_unlabelled)
    print(pairs_table(found).to_string(index=False))
    findings = check_cases(found)
    for finding in findings:
        print(f"{finding.severity}: {finding.case_id} {finding.problem} {finding.remedy}")
    raise_on_errors(findings)
    print(f"{len(found.cases)} pairs can be learnt from.")


def _train(chosen: argparse.Namespace) -> None:
    from autoseg.settings import AugmentationSettings, PreprocessSettings, Settings

    augmentations = {
        "wide": AugmentationSettings(),
        "manual": AugmentationSettings.manual(),
        "off": AugmentationSettings.off(),
    }
    settings = Settings(
        epochs=chosen.epochs,
        minutes=chosen.minutes,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        seed=chosen.seed,
        print_checkpoint=chosen.print_checkpoint,
        save_checkpoint=chosen.save_checkpoint,
        augmentation=augmentations[chosen.augmentation],
        preprocess=PreprocessSettings(
            spacing_mm=chosen.spacing_mm,
            input_shape=tuple(chosen.input_shape) if chosen.input_shape else None,
        ),
    )
    found = _find(chosen.folder, chosen.leave_out_unlabelled)
    _learn(found, settings, chosen.name, chosen.output, chosen.validation_subject)


def _learn(
    found: CaseFolder, settings: Settings, name: str, output: Path, validation: Sequence[str] | None
) -> TrainedModel:
    """Check, split, train with a line an epoch, save."""
    from autoseg.checks import check_cases, raise_on_errors
    from autoseg.figures import show_history
    from autoseg.files.atomic import whole_file
    from autoseg.history import history_rows
    from autoseg.report import train_and_save
    from autoseg.split import split_cases

    findings = check_cases(found)
    raise_on_errors(findings)
    for finding in findings:
        print(f"{finding.severity}: {finding.case_id} {finding.problem}")
    split = split_cases(found.cases, validation_subjects=validation, seed=settings.seed)
    for what, cases in (("Training", split.training), ("Validation", split.validation)):
        subjects = sorted({case.subject_id for case in cases})
        print(f"{what}: {len(cases)} slices of {len(subjects)} subject(s): {', '.join(subjects)}")
    if split.note:
        print(split.note)

    model, path = train_and_save(split, settings, structures=found.structures, name=name, folder=output, tell=_tell)
    curves = Path(output) / f"{name}_history.png"
    with whole_file(curves) as temporary:
        show_history(history_rows(model), structures=model.structures).savefig(temporary)
    print(f"{model!r}\nSaved: {path}, {name}_history.csv and {curves.name} beside it.")
    return model


def _predict(chosen: argparse.Namespace) -> None:
    from autoseg.model import load_model
    from autoseg.report import segment_folder

    run = segment_folder(
        load_model(chosen.model),
        chosen.folder,
        output=chosen.output,
        field_of_view_mm=_one_or_pair(chosen.field_of_view_mm),
        matrix_size=_one_or_pair(chosen.matrix_size),
        prefer=chosen.prefer,
    )
    _print_run(run)
    if chosen.reference is not None:
        _print_comparison(run, _find(chosen.reference, True))


def _print_run(run: Run) -> None:
    for note in run.notes:
        print(f"Note: {note}")
    for skipped in run.skipped:
        print(f"Left alone: {skipped.path} ({skipped.reason})")
    print(run.areas.to_string(index=False, float_format="{:.1f}".format, na_rep=""))
    print(f"Saved in {run.folder}")


def _print_comparison(run: Run, reference: CaseFolder) -> None:
    from autoseg.agreement import compare_with_expert, comparison_table

    comparison = compare_with_expert(run, reference)
    print("\nEach area beside the expert's (a structure that the expert did not draw is left out):")
    print(comparison_table(comparison.slices).to_string(index=False, float_format="{:.2f}".format, na_rep="–"))
    print("\nPatient by patient:")
    for score in comparison.subjects:
        print(
            f"{score.subject_id}, {score.name}: Dice {score.dice:.3f} over {score.n} slices, "
            f"area error {score.area_error_percent:+.1f} % on average of the slices, "
            f"{score.total_area_error_percent:+.1f} % of the summed area"
        )


def _measure(chosen: argparse.Namespace) -> None:
    from autoseg.report import measure_labels

    measurements = measure_labels(
        _find(chosen.folder, chosen.leave_out_unlabelled),
        field_of_view_mm=_one_or_pair(chosen.field_of_view_mm),
        matrix_size=_one_or_pair(chosen.matrix_size),
        prefer=chosen.prefer,
    )
    from autoseg.area_tables import areas_table
    from autoseg.export import write_tables

    print(areas_table(measurements).to_string(index=False, float_format="{:.1f}".format, na_rep=""))
    if chosen.output is not None:
        print(f"Saved in {write_tables(chosen.output, measurements)}")


def _selftest(chosen: argparse.Namespace) -> None:
    from autoseg.errors import GeometryError
    from autoseg.selftest import run_selftest

    with tempfile.TemporaryDirectory() as folder:
        report = run_selftest(Path(folder))
    print(report.table())
    if not report.passed:
        raise GeometryError(
            f"The worst area is wrong by {report.worst_error_percent:.2f} %, more than 0.5 %. Do not measure "
            "with this installation; report it."
        )
    print(f"Passed. The worst area is wrong by {report.worst_error_percent:.3f} % (allowed: 0.5 %).")


def _computer(chosen: argparse.Namespace) -> None:
    from autoseg.device import find_computer, measure_speed

    print(find_computer())
    print(measure_speed())


def _demo(chosen: argparse.Namespace) -> None:
    from autoseg.cases import find_cases
    from autoseg.report import segment_folder
    from autoseg.settings import PreprocessSettings, Settings

    sample = ROOT / "data" / "sample"
    print("Sample: 96 slices of five hearts (Sunnybrook Cardiac Data, CC0). Learning from four patients.\n")
    start = time.monotonic()
    model = _learn(
        find_cases(sample / "train"),
        Settings(minutes=chosen.minutes, preprocess=PreprocessSettings(spacing_mm=DEMO_SPACING_MM)),
        "demo",
        chosen.output / "trained_model",
        DEMO_VALIDATION,
    )
    print(f"Learning took {(time.monotonic() - start) / 60:.1f} minutes.\n")
    print("Now the patient SCD0000301, whom the model has never seen:")
    start = time.monotonic()
    run = segment_folder(model, sample / "test" / "dicoms", output=chosen.output / "predictions")
    print(f"Reading, segmenting, measuring and saving took {time.monotonic() - start:.1f} s.")
    _print_run(run)
    _print_comparison(run, find_cases(sample / "test"))
