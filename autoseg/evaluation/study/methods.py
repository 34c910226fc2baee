"""A study's methods in paragraphs with numbers, to be pasted by an author: only what the folds' settings say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from autoseg.evaluation.crossvalidation import FoldCost
from autoseg.evaluation.study.study import Study
from autoseg.evaluation.validation_report import number_text
from autoseg.measurement.statistics import RESAMPLES
from autoseg.model.networks.build import KINDS, standardised
from autoseg.model.settings.settings import Settings
from autoseg.words import counted, listed, say_time

OPTIMIZERS = {
    "adamw": "AdamW",
    "muon": "Muon (AdamW for vectors, first and last layer)",
    "adam": "Adam",
    "sgd": "stochastic gradient descent with Nesterov's momentum",
}
OVERLAPS = {"dice": "Dice loss", "iou": "IoU loss", "tversky": "Tversky loss", "none": ""}
PIXELS = {"cross_entropy": "cross-entropy", "bce": "binary cross-entropy", "focal": "focal loss", "none": ""}
SCHEDULES = {
    "cosine": "fell along a cosine to zero",
    "polynomial": "fell polynomially to zero",
    "multistep": "fell in steps",
    "plateau": "fell where validation did not improve",
    "constant": "stayed",
}
CHOSEN = {
    "dice": "the epoch with the highest mean Dice on the validation patients was kept",
    "iou": "the epoch with the highest mean IoU on the validation patients was kept",
    "loss": "the epoch with the lowest loss on the validation patients was kept",
    "last": "the last epoch was kept",
}


def methods(study: Study) -> tuple[tuple[str, str], ...]:
    """Give the paragraphs, each with its name: data, split, images, network, augmentation, training, measures."""
    parts: list[tuple[str, Callable[[Study], str]]] = [
        ("Data", _data),
        ("Split", _split),
        ("Preprocessing", _images),
        ("Network", _network),
        ("Augmentation", _augmentation),
        ("Training", _training),
        ("Software and hardware", _software),
        ("Measures", _measures),
    ]
    return tuple((name, words) for name, of in parts if (words := of(study)))


def spread(values: list[float], digits: int) -> str:
    """Give the least and the most of some numbers; one where they are alike, "" where none is known."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    low, high = number_text(min(known), digits), number_text(max(known), digits)
    return low if low == high else f"{low} to {high}"


def costs_of(study: Study, of: Callable[[FoldCost], float]) -> list[float]:
    """Give what each fold cost."""
    return [of(fold.cost) for fold in study.run.folds]


def patients_of(study: Study, side: str) -> str:
    """Say how many patients of a side the folds have, the least and the most."""
    counts = [len(study.who(side, number)) for number in range(len(study.sides))]
    ends = spread([float(count) for count in counts], 0)
    return f"{ends} patient{'s' * (ends != '1')}"


def _data(study: Study) -> str:
    people = len({study.people.get(case, case) for case in study.cases})
    words = f"{counted(len(study.cases), 'image')} of {counted(people, 'patient')} were included. "
    words += f"Structures: {listed([one.name for one in study.structures])}. "
    kept = study.material
    if kept is None:
        return words.strip()
    if kept.left_alone:
        files = counted(len(kept.left_alone), "file")
        words += f"{files} in the folder {'was' if len(kept.left_alone) == 1 else 'were'} not used. "
    if kept.aside:
        words += f"Set aside for a last test, and in no fold: {counted(len(kept.aside), 'further patient')}. "
    if kept.joined:
        several = sum(images for readers, images in kept.readers if readers > 1)
        words += f"{counted(several, 'image')} had labels of several readers; the reference was {kept.joined}. "
    return words.strip()


def _split(study: Study) -> str:
    folds = counted(len(study.run.folds), "fold")
    words = (
        f"Patients were shared out at random (seed {study.settings.seed}) into {folds}, with structures and the "
        "number of slices spread as evenly as they go; all images of a patient are on one side. "
    )
    if not study.learns:
        return f"{words}In each fold a finished model segmented {patients_of(study, 'test')}; nothing was learnt."
    validation = patients_of(study, "validation") if study.who("validation") else "no patient"
    test = patients_of(study, "test")
    chosen = ["the epoch"] * (study.settings.best_by != "last") + ["the post-processing"] * study.choose_post
    what = f"chose {listed(chosen)}" if chosen else "were only watched"
    return (
        f"{words}In each fold {patients_of(study, 'training')} taught the network, {validation} {what}, and "
        f"{test} {'was' if test == '1 patient' else 'were'} segmented once, by a network that had not seen them."
    )


def _images(study: Study) -> str:
    settings, preprocess = study.settings, study.settings.preprocess
    low, high = preprocess.clip_percentiles
    if settings.spatial_dims == 3:
        spacing = settings.volume.spacing_mm
        grid = (
            f"Volumes were resampled to {_sizes(spacing, 2)} mm"
            if spacing
            else "Volumes were resampled to the training images' median spacing"
        )
        whose = "each volume's"
    else:
        if preprocess.input_shape:
            grid = f"Slices were resized to {_sizes(preprocess.input_shape, 0)} pixels"
        elif preprocess.spacing_mm:
            grid = f"Slices were resampled to pixels of {preprocess.spacing_mm:g} mm"
        else:
            grid = "Slices were resampled to a pixel size chosen from the training images"
        whose = "each image's" if preprocess.normalise == "image" and not preprocess.clahe else "each slice's"
    words = f"{grid}. Intensities were clipped to {whose} percentiles {low:g} and {high:g} and brought to mean 0 "
    words += "and standard deviation 1."
    if preprocess.clahe and settings.spatial_dims == 2:
        words += f" Contrast was equalised before (CLAHE, limit {preprocess.clahe_limit:g})."
    crop = preprocess.crop_mm or preprocess.crop_shape
    if crop and settings.spatial_dims == 2:
        unit = "mm" if preprocess.crop_mm else "pixels"
        words += f" The network saw a region of {_sizes(crop, 0)} {unit} around the structures."
    if settings.volume.crop_mm and settings.spatial_dims == 3:
        words += f" The network saw {_sizes(settings.volume.crop_mm, 0)} mm around a centreline."
    if preprocess.neighbours and settings.spatial_dims == 2:
        words += f" Each slice was seen with {preprocess.neighbours} on either side (2.5-D)."
    return words


def _network(study: Study) -> str:
    network, dims = standardised(study.settings.network), study.settings.spatial_dims
    filters = listed([str(number) for number in network.filters or ()])
    words = f"A {dims}-D {KINDS[network.name].title} with {filters} filters"
    if network.name in ("unet", "resunet"):
        words += f" and {network.norm} normalisation"
    if network.dropout:
        words += f", dropout {network.dropout:g}"
    if network.deep_supervision:
        words += ", with deep supervision"
    size = spread([value / 1e6 for value in costs_of(study, lambda cost: cost.parameters)], 2)
    words += f" ({size} million parameters)" if size else ""
    patch = study.settings.volume.patch_size
    if dims == 3 and patch:
        words += (
            f" saw patches of {_sizes(patch, 0)} voxels, which overlap by {_percent(study.settings.volume.overlap)}"
        )
    words += ". "
    if not study.learns:
        return f"{words}It had been trained before (digest {study.begun_from})."
    if study.begun_from:
        return f"{words}It began from a trained model (digest {study.begun_from}) and was fine-tuned."
    if network.name == "efficientnet":
        return f"{words}Its encoder began with weights learnt from photographs."
    return f"{words}Its weights began at random."


def _augmentation(study: Study) -> str:
    if not study.learns:
        return ""
    one = study.settings.augmentation
    changes = [
        (one.rotation_probability, f"turns by up to {one.rotation_deg:g}°"),
        (one.scaling_probability, f"scaling of each axis by {_range(one.scaling)}"),
        (one.zoom_probability, f"zoom by {_range(one.zoom)}"),
        (one.crop_probability, f"random crops of {_range(one.crop)} of the frame"),
        (one.shift_probability, f"shifts by up to {_percent(one.shift)} of the frame"),
        (one.flip_probability, "mirrors left to right"),
        (one.flip_rows_probability, "mirrors up to down"),
        (one.quarter_turn_probability, "turns by quarters"),
        (one.brightness_probability, f"brightness by up to {one.brightness:g} SD"),
        (one.contrast_probability, f"contrast by {_range(one.contrast)}"),
        (one.gamma_probability, f"gamma {_range(one.gamma)}"),
        (one.noise_probability, f"Gaussian noise of up to {one.noise:g} SD"),
    ]
    used = [f"{words} (probability {chance:g})" for chance, words in changes if chance]
    used += ["mirrors of the volume"] * (study.settings.spatial_dims == 3 and any(study.settings.volume.flips))
    return f"Drawn anew for every sample: {listed(used)}." if used else "Training images were not augmented."


def _training(study: Study) -> str:
    if not study.learns:
        return ""
    settings = study.settings
    long = say_time(settings.minutes, settings.epochs)
    epochs = spread(costs_of(study, lambda cost: cost.epochs), 0)
    done = f" ({epochs} epochs)" if settings.minutes is not None and epochs else ""
    words = (
        f"{OPTIMIZERS[settings.optimizer]} with a peak learning rate of {settings.learning_rate:g}, reached after "
        f"{_percent(settings.warmup_fraction)} of the training, from which it {SCHEDULES[settings.schedule]}; "
        f"weight decay {settings.weight_decay:g}"
    )
    if math.isfinite(settings.gradient_clip):
        words += f", gradients clipped at a norm of {settings.gradient_clip:g}"
    words += f"; batches of {settings.batch_size}; {long}{done} in each fold. {_loss(settings)}"
    if settings.average_decay:
        words += f" Weights are running averages (decay {settings.average_decay:g})."
    chosen = CHOSEN[settings.best_by] if study.who("validation") else CHOSEN["last"]
    words += f" Of each training {chosen}."
    if settings.patience is not None:
        words += f" It ended early after {settings.patience} validations without improvement."
    words += " An offset of each structure's log-odds, fitted on training and validation images, corrects its area."
    if study.choose_post:
        words += " Post-processing was chosen on the validation patients."
    return words


def _loss(settings: Settings) -> str:
    loss = settings.loss
    overlap, pixel = OVERLAPS[loss.overlap], PIXELS[loss.pixel]
    if not (overlap and pixel):
        return f"The loss was {overlap or pixel}."
    fades = (
        f", the former fading out over the first {_percent(loss.overlap_until)} of the training"
        if math.isfinite(loss.overlap_until) and loss.overlap_until <= 1
        else ""
    )
    return f"The loss was the sum of {overlap} and {pixel}{fades}."


def _software(study: Study) -> str:
    versions: dict[str, list[str]] = {}
    for model in study.models:
        for name, number in dict(model.get("versions") or {}).items():
            found = versions.setdefault(str(name), [])
            found += [str(number)] if str(number) not in found else []
    titles = {"torch": "PyTorch", "python": "Python"}
    told = [f"{titles.get(name, name)} {' and '.join(numbers)}" for name, numbers in versions.items()]
    words = f"Made with {listed(told)}. " if told else ""
    if study.material is not None and study.material.computer:
        words += f"Computer: {study.material.computer}. "
    memory = spread(costs_of(study, lambda cost: cost.peak_memory_mib), 0)
    seconds = costs_of(study, lambda cost: cost.training_seconds)
    if any(not math.isnan(one) for one in seconds):
        words += f"A training took {spread([one / 60 for one in seconds], 1)} minutes"
        words += f" and {memory} MiB of memory. " if memory else ". "
    speed = [one for one in costs_of(study, lambda cost: cost.ms_per_slice) if not math.isnan(one)]
    words += f"Segmenting took {number_text(statistics.median(speed), 1)} ms a slice. " if speed else ""
    return words.strip()


def _measures(study: Study) -> str:
    tolerance = {score.nsd_tolerance_mm for score in study.run.scores}
    within = f" within {listed([f'{one:g}' for one in sorted(tolerance)])} mm"
    has_mm = any(score.hd95_mm is not None for score in study.run.scores)
    surfaces = f", 95th percentile of the Hausdorff distance (HD95) and normalised surface Dice (NSD){within}"
    return (
        f"Scores were counted on the images' own grid: Dice and IoU of the pixels of all slices of a patient"
        f"{surfaces if has_mm else ''}, and the error of the area on a slice. They are means over patients, each "
        f"counted once, with 95 % percentile bootstrap intervals over patients ({RESAMPLES:,} resamples). Slices "
        "that lack a structure in both reference and prediction are not counted. Areas were compared by bias and "
        "95 % limits of agreement (Bland–Altman, with several slices a patient taken into account) and by ICC(2,1)."
    )


def _sizes(values: tuple[float, ...] | tuple[int, ...], digits: int) -> str:
    shown = (f"{value:.{digits}f}" for value in values)
    return " × ".join(one.rstrip("0").rstrip(".") if "." in one else one for one in shown)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g} to {ends[1]:g}"
