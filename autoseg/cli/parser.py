"""What can be typed after `autoseg`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from autoseg.cli import comparing, data, finetuning, learning, morphometry, using
from autoseg.cli.archive import add_archive_commands
from autoseg.cli.correcting import add_correcting_commands
from autoseg.cli.options import (
    ONLY,
    add_calibration,
    add_fat,
    add_setting,
    add_show_red,
    add_voxel_sizes,
    add_without_ids,
    add_workers,
)
from autoseg.model.settings.text import all_settings

# Those of `autoseg.prediction.ensemble`, which would load torch.
COPIES = ("none", "left-right", "mirrored", "turned", "both")
CHOOSE_POST = (
    "choose erosion, threshold, largest piece and holes on the validation patients; with one or two of them the "
    "choice did not help new ones"
)
FOLDS = "with fewer patients, each is left out once (default: 5)"
MODEL = "a .pt file of trained_model, or the name of a model that comes with autoseg ('autoseg models')"
# Options that a plan decides where they are not typed (`autoseg.training.plan`).
PLANNED = (
    "minutes",
    "batch_size",
    "validate_every",
    "preprocess.spacing_mm",
    "preprocess.input_shape",
    "preprocess.normalise",
    "augmentation.rotation_deg",
)


def build_parser() -> argparse.ArgumentParser:
    """Give the parser of all commands; each sets `run`, which takes the parsed arguments."""
    parser = argparse.ArgumentParser(
        prog="autoseg",
        description="Train the segmentation of your own medical images and measure areas in mm².",
        epilog="'autoseg COMMAND --help' tells what a command needs.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run, command=name)
        return sub

    # --- looking at images and labels, and measuring labels

    check = command("check", data.check, "Look at a folder of images and labels and say what is wrong with it.")
    _add_training_folder(check)
    drawn = "it was not drawn wherever it is not visible; kept"
    check.add_argument("--not-drawn", action="append", metavar="STRUCTURE", help=drawn)
    alike = "names of structures that look alike are one structure; kept in structures.csv"
    check.add_argument("--same-names", action="store_true", help=alike)
    looked = "it was looked for everywhere: where it is not visible, it is not there; kept"
    check.add_argument("--not-there", action="append", metavar="STRUCTURE", help=looked)
    check.add_argument("--repair", type=int, nargs="+", metavar="N", help="keep these of the offered repairs")
    check.add_argument("--pictures", type=Path, metavar="PNG", help="save pictures of the findings")
    share = "with --repair, for labels that are probabilities: the share from which a pixel counts (default: 0.5)"
    check.add_argument("--threshold", type=float, metavar="SHARE", help=share)

    series = command("series", data.series, "Show the DICOM series of a folder.")
    series.add_argument("folder", type=Path)
    series.add_argument("--picture", type=Path, metavar="PNG", help="save a thumbnail of each")

    raters = command(
        "raters",
        data.raters,
        "Show how the raters of a folder agree; with a model, whether it differs from them by no more than they "
        "differ from each other.",
    )
    _add_training_folder(raters)
    asked = raters.add_mutually_exclusive_group()
    asked.add_argument("--model", type=Path, help=f"{MODEL}; patients whom it has learnt from are left out")
    predicted = "what this cross-validation (<name>_folds) predicted for the patients that it left out"
    asked.add_argument("--folds", dest="folds_of", type=Path, metavar="FOLDS", help=predicted)
    equal = (
        "how far the model may be off on average and still count as equal, in mm² (40) or percent (5%%); default: "
        "the raters' own limits of agreement"
    )
    raters.add_argument("--margin", help=equal)
    twice = "the files of several raters are one person's, who read twice or more"
    raters.add_argument("--one-reader", action="store_true", help=twice)
    raters.add_argument("--output", type=Path, metavar="FOLDER", help="save the tables there, as CSV files")

    measure = command("measure", data.measure, "Measure the areas of labels that were drawn already.")
    _add_training_folder(measure)
    measure.add_argument("--output", type=Path, help="a new folder for areas.csv and measurements.csv")
    measure.add_argument(
        "--case", nargs="+", metavar="ID", help="only these images, by the names that the tables print"
    )
    add_fat(measure)
    add_calibration(measure)

    export = command(
        "export",
        data.export,
        "Write what other programs take: a folder of images and labels as nnU-Net's raw data set, with our folds, "
        "or as a BIDS data set; or a model as ONNX with all that belongs to it.",
    )
    _add_training_folder(export, f"holds images and labels, paired by their names; with --onnx {MODEL}")
    target = export.add_mutually_exclusive_group(required=True)
    new = "a new folder for it, such as nnUNet_raw/Dataset501_Psoas"
    target.add_argument("--nnunet", type=Path, metavar="FOLDER", help=new)
    new = "a new folder for it: images, what is known of them, and labels as a derivative"
    target.add_argument("--bids", type=Path, metavar="FOLDER", help=new)
    new = "a new folder for the model: network.onnx, model.json, segment.py (which runs it) and its card"
    target.add_argument("--onnx", type=Path, metavar="FOLDER", help=new)
    export.add_argument("--folds", type=int, default=5, help=FOLDS)
    export.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    called = "with --bids, the contrast of each channel, such as T2w (default: what the channels' names say)"
    export.add_argument("--suffix", nargs="+", default=(), metavar="NAME", help=called)

    leave = command(
        "deidentify",
        data.deidentify,
        "Copy DICOM files without what tells of their patients, so that the copies can leave (DICOM PS3.15 Annex "
        "E, Basic Profile): codes for patients, other UIDs, references kept right, dates moved, private attributes "
        "removed, pixels as they are. Text that is burnt into pixels cannot be seen: look at the copies.",
    )
    leave.add_argument("folder", type=Path, help="the DICOM files; they stay as they are")
    leave.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="a new folder for the copies")
    days = "move all dates of a patient by the same days (default), or remove them"
    leave.add_argument("--dates", choices=("shifted", "removed"), default="shifted", help=days)
    words = "keep descriptions of studies and series, and names of outlines, as far as they are words of imaging"
    leave.add_argument("--keep-descriptions", action="store_true", help=words)
    known = "keep age (90 years and more are 90), sex, size, weight and pregnancy"
    leave.add_argument("--keep-characteristics", action="store_true", help=known)
    burnt = "copy images into whose pixels text may be burnt, too: somebody has looked at them"
    leave.add_argument("--take-burnt-in", action="store_true", help=burnt)

    old = command(
        "old-table",
        data.old_table,
        "Put right a table of areas that the published workbench wrote, which took a typed field of view and "
        "matrix size for the pixels of a picture of 256 x 256; the new table lies beside it.",
    )
    old.add_argument("table", type=Path, metavar="CSV", help="the old table; it stays as it is")
    typed = "what was typed in the workbench, one number or two (rows, columns); its manual has 240"
    old.add_argument("--field-of-view-mm", nargs="+", required=True, metavar="MM", help=typed)
    typed = "what was typed in the workbench, one number or two; its manual has 224"
    old.add_argument("--matrix-size", nargs="+", required=True, metavar="N", help=typed)
    true = "the DICOM files of the images; where they differ, the table must name the file of each row"
    old.add_argument("--dicom", type=Path, metavar="FOLDER", help=true)
    size = "or, in place of the files: the images' rows and columns as they came from the scanner"
    old.add_argument("--image-size", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), help=size)
    between = "and the size of their pixels"
    old.add_argument("--pixel-spacing-mm", type=float, nargs=2, metavar=("ROWS", "COLUMNS"), help=between)
    old.add_argument("--grid", type=int, default=256, metavar="N", help="rows of the picture (default: 256)")
    columns = "the columns that hold areas (default: those of numbers whose names do not say otherwise)"
    old.add_argument("--areas", nargs="+", default=(), metavar="COLUMN", help=columns)
    sign = "the decimal sign, where numbers leave it open (1,239)"
    old.add_argument("--decimal", choices=("point", "comma"), help=sign)
    new = "where the new table goes (default: beside the old one, <name>_put_right.csv)"
    old.add_argument("--output", type=Path, metavar="CSV", help=new)

    along = command(
        "morphometry",
        morphometry.morphometry,
        "Measure structures along their own curve: area across it, diameters, eccentricity, orientation, solidity.",
    )
    _add_training_folder(along, "holds images and labels, or is the folder of a run in predictions")
    morphometry.add_arguments(along)

    # --- learning

    train = command(
        "train",
        learning.train,
        "Train a network on a folder of images and labels. What is not typed is planned for them, and printed. On "
        "N GPUs of this computer: torchrun --nproc-per-node N -m autoseg train …",
    )
    _add_training_folder(train)
    train.add_argument("--name", default="model", help="name of the model (default: model)")
    train.add_argument("--validation-subject", action="append", metavar="ID", help="validate on this patient")
    aside = "set this patient aside for the last test, for ever"
    train.add_argument("--test-subject", action="append", metavar="ID", help=aside)
    train.add_argument("--choose-post", action="store_true", help=CHOOSE_POST)
    again = "go on with the training of this name that did not end, with its own settings and sides"
    train.add_argument("--resume", action="store_true", help=again)
    off = (
        "then also measure how far areas can be off, by twins of the model on patients whom they never saw; half "
        "of the minutes are theirs, as is printed before. With --resume it goes on with that, too"
    )
    train.add_argument("--calibrate", action="store_true", help=off)
    _add_learning(train)

    folds = command(
        "crossvalidate",
        learning.crossvalidate,
        "Train a model a fold; every patient is scored once, by a model that never saw it. What is not typed is "
        "planned for the images, and printed.",
    )
    _add_training_folder(folds)
    folds.add_argument("--folds", type=int, default=5, help=FOLDS)
    folds.add_argument("--name", default="model", help="name of the models (default: model)")
    folds.add_argument("--choose-post", action="store_true", help=CHOOSE_POST)
    told = "also write study_report.html and study_report.pdf into the folder of the folds"
    folds.add_argument("--report", action="store_true", help=told)
    add_workers(folds, "a fold")
    _add_learning(folds)

    calibrate = command(
        "calibrate",
        learning.calibrate,
        "Measure how far a model's areas can be off, by twins of it on patients whom they never saw, in about the "
        "time that the model learnt in, and keep it in the model's file. Called again, it goes on where it was.",
    )
    calibrate.add_argument("model", type=Path, help=MODEL)
    _add_training_folder(calibrate, "holds the images and labels that the model has learnt from")
    from_folds = "take the models of this finished cross-validation (<name>_folds) as twins; nothing is trained"
    calibrate.add_argument("--from", dest="folds_from", type=Path, metavar="FOLDS", help=from_folds)
    calibrate.add_argument("--base", metavar="MODEL", help="what the model was fine-tuned from (name or .pt file)")

    compare = command(
        "compare",
        comparing.compare,
        "Cross-validate networks on the same folds for the same time, and say which is best for these data. "
        "Settings come from a plan for the data; called again, it goes on where it was.",
    )
    which = "networks or recipes (default: all networks, or with --entry none)"
    compare.add_argument("--networks", nargs="+", metavar="NAME", help=which)
    own = (
        "settings of your own beside the others, such as 'small batches: batch_size=4, learning_rate=0.001' or "
        "'by IoU: recipe=unext, loss.overlap=iou'; may be given again ('autoseg settings' shows the names)"
    )
    compare.add_argument("--entry", dest="entries", action="append", metavar="NAME:SETTING=VALUE,…", help=own)
    mean = "turned copies, of which the mean is taken (default: none)"
    compare.add_argument("--copies", choices=COPIES, default="none", help=mean)
    compare.add_argument("--try-copies", choices=COPIES[1:], help="score every network with such copies as well")
    compare.add_argument("--together", action="store_true", help="score the mean of all networks as well")
    _add_comparison(compare, name="networks")

    other = command(
        "add-predictions",
        comparing.add_files,
        "Score labels that another program drew, such as nnU-Net's, on the folds of a comparison, beside its "
        "networks.",
    )
    _add_training_folder(other, "holds the images and labels that the comparison was made from")
    made = "the folder of a finished comparison (<name>_comparison)"
    other.add_argument("--to", type=Path, required=True, metavar="COMPARISON", help=made)
    files = (
        "what nnU-Net made of the exported folder with our folds (with fold_0/validation …), or one folder with a "
        "NIfTI file for each case"
    )
    other.add_argument("--predicted", type=Path, required=True, metavar="FOLDER", help=files)
    other.add_argument("--name", default="nnU-Net", help="what it is called (default: nnU-Net)")

    more = command(
        "forecast",
        comparing.forecast,
        "How many more patients? Learn from 2, 4, 8 … patients and from all on the same folds, with as many steps "
        "each, and say what still more would do, with an interval, or that it cannot be told. Called again, it "
        "goes on where it was.",
    )
    whole = "minutes of learning in all, shared equally by the trainings (in place of --minutes, which are of each)"
    length = _add_comparison(more, name="forecast", is_scored_otherwise=False)
    length.add_argument("--in-all", type=float, metavar="MINUTES", help=whole)
    more.add_argument("--network", metavar="NAME", help="network or recipe (default: the planned network)")
    sizes = "patients to learn from, beside all of a fold (default: 2, 4, 8 …)"
    more.add_argument("--sizes", type=int, nargs="+", default=(), metavar="N", help=sizes)
    more.set_defaults(exact=False, without_outliers=False)

    tune = command(
        "finetune",
        finetuning.finetune,
        "Bring a trained model to other images in several ways: cross-validate it as it is, fine-tuned and from "
        "scratch on the same folds, every patient once. Called again, it goes on where it was.",
    )
    tune.add_argument("--base", required=True, help="the model: its name, or a .pt file")
    tune.add_argument("--scenarios", nargs="+", metavar="NAME", help="only these (default: the usual ones)")
    few = "learn from so many patients of each fold, each scenario once a number: how many must be drawn?"
    tune.add_argument("--subjects", type=int, nargs="+", default=(), metavar="N", help=few)
    _add_comparison(tune, name="finetuned")

    command("settings", learning.show_settings, "Show every setting for --set, its default and what it means.")

    demo = command("demo", learning.demo, "Learn from the sample hearts, segment one never seen, print its areas.")
    add_setting(demo, "minutes", default=3.7)
    demo.add_argument("--output", type=Path, default=learning.ROOT, help="where trained_model and predictions lie")

    # --- using what was learnt

    score = command(
        "score", using.score, "Score a model on the test patients that were set aside, and count the look."
    )
    score.add_argument("model", type=Path, help=MODEL)
    _add_training_folder(score)
    new = "a new folder with results.csv is made in it"
    score.add_argument("--output", type=Path, default=Path("predictions"), help=new)

    predict = command("predict", using.predict, "Segment a folder of DICOM files and measure the areas.")
    predict.add_argument("model", type=Path, help=MODEL)
    predict.add_argument(
        "folder", type=Path, help="the patient's DICOM files; with --patients the folder around all"
    )
    predict.add_argument(
        "--patients",
        action="store_true",
        help="segment all patients whose folders lie in this one, each as a run of its own, into one table and a "
        "report with the worst first; the same command goes on where it was, and does again what changed",
    )
    add_workers(predict, "a patient (--patients)")
    further = "a further model (name or .pt file): the mean of all is taken; may be given again"
    predict.add_argument("--model", dest="further_models", action="append", metavar="NAME", help=further)
    predict.add_argument(
        "--copies",
        choices=COPIES,
        default="none",
        help="also segment copies of each slice and take the mean, in 2, 4, 4 or 8 times the time; choose such as "
        "the model was trained with (default: none)",
    )
    predict.add_argument("--output", type=Path, default=Path("predictions"))
    predict.add_argument("--series", nargs="+", metavar="ID", help=ONLY)
    add_show_red(predict)
    using.add_no_quality(predict)
    predict.add_argument(
        "--dicom",
        nargs="?",
        const="binary",
        choices=("binary", "labelmap"),
        help="also write labels and areas as DICOM objects (SEG, SR and RTSTRUCT of each image) and the report as "
        "DICOM pictures (SC) for an archive; they name the patient. With labelmap the segmentation holds a number "
        "a pixel, which only new viewers read",
    )
    predict.add_argument("--reference", type=Path, help="a folder with dicoms and labels to compare with")
    written = "also write report.html and report.pdf into the run's folder, to be read and printed"
    predict.add_argument("--report", action="store_true", help=written)
    using.add_centreline(predict)
    using.add_cleaning(predict)
    add_fat(predict)
    add_calibration(predict)
    add_voxel_sizes(predict)

    report = command(
        "report",
        using.report,
        "Write the report of a run into its folder, as a web page and as a PDF; of its corrected labels, where "
        "somebody corrected them in it. Of a cross-validation: that of a study, with a paragraph on the methods.",
    )
    of_what = "the folder of a run, of a cross-validation (<name>_folds), or of a comparison's network"
    report.add_argument("run_folder", type=Path, metavar="RUN", help=of_what)
    report.add_argument("--by", default="", metavar="WHO", help="who corrected the labels: initials are enough")
    nobody = "name no patient, image or file; the files are then called report_without_ids"
    report.add_argument("--no-ids", action="store_true", help=nobody)

    seal = command(
        "seal",
        using.seal,
        "Write model files anew, in their place, so that the patients whom they recognise are slow to guess; for "
        "models of earlier versions, before they leave this computer.",
    )
    seal.add_argument("models", type=Path, nargs="+", metavar="MODEL", help=MODEL)
    without = "leave the fingerprints out: a test on patients that the model has learnt from is not noticed then"
    seal.add_argument("--forget", action="store_true", help=without)

    models = command(
        "models",
        using.models,
        "Show the models of a folder, the newest first, and what is wrong with those that cannot be read.",
    )
    models.add_argument(
        "folder", type=Path, nargs="?", default=Path("trained_model"), help="(default: trained_model)"
    )

    command("selftest", using.selftest, "Measure made-up DICOM series of known shapes and print the worst error.")
    cache = command(
        "cache",
        data.cache,
        "Show where the pixels of images lie that were too many for the memory, and how much they are. They are "
        "data of patients; they can be made again. The environment variable AUTOSEG_CACHE says where they lie.",
    )
    cache.add_argument("--clear", action="store_true", help="delete all of them")
    cache.add_argument("--limit-gb", type=float, metavar="N", help="let them take so much at most; kept")
    command("computer", using.computer, "Show memory, device and speed of this computer.")
    add_correcting_commands(command)
    add_archive_commands(command)
    add_without_ids(parser)
    return parser


# --- what several commands have


def _add_training_folder(
    parser: argparse.ArgumentParser, text: str = "holds images and labels, paired by their names"
) -> None:
    parser.add_argument("folder", type=Path, help=text)
    unlabelled = "images without a label are not an error"
    parser.add_argument("--leave-out-unlabelled", action="store_true", help=unlabelled)
    add = parser.add_argument_group("what the files leave open").add_argument
    add("--channels", nargs="+", metavar="NAME", help="contrasts of a case: ends of file names")
    add("--raters", choices=("majority", "staple", "mean"), default="majority")
    add("--agreeing", type=int, metavar="N", help="raters who must agree (default: more than half)")
    add("--only-levels", action="store_true", help="leave out slices without a level")
    untold = "where files do not tell it"
    add("--pixel-spacing-mm", type=float, nargs=2, metavar=("ROWS", "COLUMNS"), help=untold)
    add("--plane", choices=("axial", "coronal", "sagittal"), help="which slices of a volume")
    add("--trust-array", action="store_true", help="labels whose coordinates were reset")
    own = "numbered pictures of a patient are images of their own, not the slices of one stack"
    add("--single-pictures", action="store_true", help=own)
    add_voxel_sizes(parser)


def _add_learning(parser: argparse.ArgumentParser) -> None:
    length = parser.add_mutually_exclusive_group()
    for name, setting in all_settings().items():
        if setting.option:
            add_setting(length if name in ("epochs", "minutes") else parser, name, is_planned=name in PLANNED)
    way = "a network, or a published way to train such as pyramid-published; what is typed beside it counts"
    parser.add_argument("--recipe", metavar="NAME", help=way)
    varied = "(default: wide, but turned as planned)"
    parser.add_argument("--augmentation", choices=("wide", "manual", "off"), help=varied)
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help="fine-tune this model (name or .pt file): its settings count but for those given here; 'autoseg "
        "settings' shows those of finetune",
    )
    _add_changes(parser)
    parser.add_argument("--output", type=Path, default=Path("trained_model"), help="folder of the model")


def _add_comparison(
    parser: argparse.ArgumentParser, *, name: str, is_scored_otherwise: bool = True
) -> argparse._MutuallyExclusiveGroup:
    """Add what every comparison has: the images, the time (given back), the folds, and what is scored beside."""
    _add_training_folder(parser)
    length = parser.add_mutually_exclusive_group()
    add_setting(length, "minutes", default=3.0)
    add_setting(length, "epochs")
    add_setting(parser, "seed", default=0)
    parser.add_argument("--folds", type=int, default=5, help=FOLDS)
    parser.add_argument("--name", default=name, help=f"name of the comparison (default: {name})")
    if is_scored_otherwise:
        exact = "score models that see a crop around a centreline with the labels' own centrelines as well"
        parser.add_argument("--exact", action="store_true", help=exact)
        outliers = "then learn anew, without the outliers, what has some; they are tested as before"
        parser.add_argument("--without-outliers", action="store_true", help=outliers)
    add_workers(parser, "a fold of an entry")
    _add_changes(parser)
    output = "folder of models and comparisons"
    parser.add_argument("--output", type=Path, default=Path("trained_model"), help=output)
    return length


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        metavar="NAME=VALUE",
        help="any setting by its name, such as network.name=resunet; may be given again ('autoseg settings' shows "
        "them all)",
    )
    parser.add_argument(
        "--finder-minutes",
        type=float,
        default=2.0,
        help="where models see a crop around a centreline (--set volume.crop_mm=…): time of the learning of each "
        "network that finds it (default: 2)",
    )
