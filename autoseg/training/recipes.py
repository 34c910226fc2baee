"""Recipes: named, complete settings that a comparison can take as an entry, our own and published ones.

The multi-scale pyramid's published training shows its loss on a scale from 0 to 2, because two stages are added,
and the mean Dice beside it; `mean_dice_of` is that conversion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import inf

from autoseg.errors import SettingsError
from autoseg.model.networks import NETWORKS, standardised
from autoseg.model.networks.stages import divide_axes, volume_network
from autoseg.model.settings.settings import (
    AugmentationSettings,
    LossSettings,
    NetworkSettings,
    PreprocessSettings,
    Settings,
)

# Networks whose `filters` mean the same: one number a stage, each stage half the size of the one above.
SAME_STAGES = ("unet", "resunet")
USUAL_STAGES = 6


@dataclass(frozen=True)
class Recipe:
    """Named settings.

    `title` is what a table calls it, `words` say in a sentence what it is and whose. `change` takes settings, with
    what suits the data, to the recipe's. `epochs` are those that were published, if it is `published`. A recipe
    `of_volumes` learns from volumes whatever it is made from.
    """

    title: str
    words: str
    change: Callable[[Settings], Settings]
    published: bool = False
    epochs: int | None = None
    of_volumes: bool = False


def recipe(
    name: str, *, epochs: int | None = None, minutes: float | None = None, base: Settings | None = None
) -> Settings:
    """Give the settings of a recipe.

    Parameters
    ----------
    name : str
        In RECIPES.
    epochs, minutes : int or float, optional
        How long to learn, one of them; by default as `base`, and without a base the published number of epochs, or
        that of Settings.
    base : Settings, optional
        What suits the data, such as a plan's settings: pixels, crop, rotation, batch and time stay as they are
        where the recipe does not name them. By default those of Settings.

    Raises
    ------
    SettingsError
        If there is no recipe of that name, which the message lists, or both epochs and minutes are given.

    Examples
    --------
    >>> settings = recipe("pyramid-published", minutes=60)
    >>> settings.network.name, settings.batch_size, settings.preprocess.input_shape
    ('pyramid', 5, (256, 256))
    """
    if name not in RECIPES:
        alike = get_close_matches(name.lower(), RECIPES, n=1)
        meant = f" Did you mean {alike[0]}?" if alike else ""
        raise SettingsError(f"There is no recipe {name!r}.{meant} Known: {', '.join(RECIPES)}.")
    known = RECIPES[name]
    settings = known.change(base or Settings())
    if epochs is None and minutes is None:
        return replace(settings, epochs=known.epochs) if base is None and known.epochs else settings
    return replace(settings, epochs=epochs, minutes=minutes)


def mean_dice_of(loss: float) -> float:
    """Give the mean Dice that the published training of the multi-scale pyramid shows beside its loss.

    The loss is the sum of 1 − Dice of both stages, so it lies between 0 (perfect) and 2, and the mean Dice of the
    two is (2 − loss) / 2: of the batch being learnt from, augmented, not of patients set aside.

    Examples
    --------
    >>> mean_dice_of(0.5)
    0.75
    """
    return (2 - loss) / 2


def has_published_scale(settings: Settings) -> bool:
    """Tell whether a training's loss is the published pyramid's: the sum of two stages' 1 − Dice, from 0 to 2."""
    loss = settings.loss
    return (
        settings.network.name == "pyramid"
        and (loss.overlap, loss.pixel, loss.overlap_weight) == ("dice", "none", 1.0)
        and loss.overlap_until == inf
    )


def pyramid_published(base: Settings) -> Settings:
    """Give the training of the published workbench: 256 × 256 pixels, batches of 5, Adam at 1e-4 throughout.

    Each image's squared Dice of both stages is all that is compared; its rate would fall at epoch 1000 of 500.
    """
    return replace(
        _plain_training(base),
        batch_size=5,
        optimizer="adam",
        learning_rate=1e-4,
        schedule="constant",
        preprocess=PreprocessSettings(input_shape=(256, 256)),
        network=NetworkSettings(name="pyramid", dropout=0.3),
        augmentation=AugmentationSettings.manual(),
        loss=LossSettings(pixel="none", overlap_until=inf, per_sample=True, squared=True),
    )


def glioma_unet_published(base: Settings) -> Settings:
    """Give a U-Net as for low-grade glioma: 256 × 256 pixels, batches of 16, Adam at 1e-4, halved on a plateau.

    Images, augmentation, batch and rate are those of the program of Buda et al. (2019), whose loss is Dice alone.
    Here it is binary cross-entropy with a positive weight from the data, plus IoU, as in later comparisons on the
    same images.
    """
    varied = replace(
        AugmentationSettings.off(),
        rotation_probability=1.0,
        rotation_deg=15.0,
        zoom_probability=1.0,
        zoom=(0.95, 1.05),
        flip_probability=0.5,
    )
    return replace(
        _plain_training(base),
        batch_size=16,
        optimizer="adam",
        learning_rate=1e-4,
        schedule="plateau",
        plateau_epochs=10,
        drop_factor=0.5,
        preprocess=PreprocessSettings(input_shape=(256, 256)),
        network=NetworkSettings(name="unet", filters=(32, 64, 128, 256, 512), dropout=0.0, norm="batch"),
        augmentation=varied,
        loss=LossSettings(overlap="iou", pixel="bce", overlap_until=inf, structure_weight=None),
    )


def nnunet_like(base: Settings) -> Settings:
    """Give what nnU-Net (Isensee et al. 2021) trains its 2-D U-Net with, on the pixels and batches of the base.

    SGD with Nesterov's momentum 0.99 from 0.01 down to 0 by a polynomial, Dice and cross-entropy at equal weight,
    deep supervision, a third of each batch with structures. Of its augmentation blurring and low resolution are
    left out, and images turn as far as the base has it.
    """
    base = of_slices(base)
    varied = replace(
        base.augmentation,
        rotation_probability=0.2,
        scaling_probability=0.0,
        zoom_probability=0.2,
        zoom=(0.7, 1.4),
        crop_probability=0.0,
        shift_probability=0.0,
        flip_probability=0.5,
        flip_rows_probability=0.5,
        quarter_turn_probability=0.0,
        brightness_probability=0.0,
        contrast_probability=0.3,
        contrast=(0.75, 1.25),
        gamma_probability=0.3,
        gamma=(0.7, 1.5),
        noise_probability=0.1,
        noise=0.3,
    )
    stages = _stages(base.network) or USUAL_STAGES
    return replace(
        _plain_training(base),
        oversampling=0.33,
        optimizer="sgd",
        learning_rate=1e-2,
        momentum=0.99,
        weight_decay=3e-5,
        gradient_clip=12.0,
        schedule="polynomial",
        best_by=base.best_by,
        precision=base.precision,
        network=NetworkSettings(
            name="unet",
            filters=tuple(min(32 * 2**stage, 512) for stage in range(stages)),
            dropout=0.0,
            norm="instance",
            deep_supervision=True,
        ),
        augmentation=varied,
        loss=LossSettings(overlap_until=inf),
    )


def unet_of_volumes(base: Settings) -> Settings:
    """Give a U-Net that learns from volumes, as the base's `volume` says; what is of slices alone is left out."""
    if base.spatial_dims == 3:
        own = base.network if base.network.name in SAME_STAGES else _stages_of(base)
        return replace(base, network=replace(own, name="unet"))
    return replace(
        base,
        spatial_dims=3,
        batch_size=2,
        oversampling=0.5,
        preprocess=PreprocessSettings(clip_percentiles=base.preprocess.clip_percentiles),
        network=_stages_of(base),
        augmentation=AugmentationSettings.volumes(),
    )


def of_slices(base: Settings) -> Settings:
    """Give settings that learn from slices; those that learn from volumes lose what is of volumes alone."""
    if base.spatial_dims == 2:
        return base
    varied = AugmentationSettings(rotation_deg=20.0)
    return replace(base, spatial_dims=2, batch_size=8, network=NetworkSettings(), augmentation=varied)


def _stages_of(base: Settings) -> NetworkSettings:
    """Give the U-Net whose stages suit the patch and the voxels of volumes."""
    patch, spacing = base.volume.patch_size, base.volume.spacing_mm
    return volume_network(divide_axes(patch, spacing) if patch and spacing else ((2, 2, 2),) * 3)


def _plain_training(base: Settings) -> Settings:
    """Take out what our own training adds: warm-up, decay of weights, clipped gradients, averaged weights.

    Their last epoch wavers, as its steps are as long as all others, so that validation chooses.
    """
    return replace(
        of_slices(base),
        best_by="dice" if base.best_by == "last" else base.best_by,
        oversampling=0.0,
        warmup_fraction=0.0,
        weight_decay=0.0,
        gradient_clip=inf,
        average_decay=0.0,
        precision="float32",
    )


def _stages(network: NetworkSettings) -> int:
    """Give how many stages a network has of sizes that halve, 0 where that is not told."""
    if not network.filters or network.name not in (*SAME_STAGES, "efficientnet"):
        return 0
    return len(network.filters) + (network.name == "efficientnet")


def _ours(name: str, **changes: object) -> Recipe:
    """Give the recipe of one network with our own training, changed where it needs that to learn well."""

    def change(base: Settings) -> Settings:
        base = base if base.spatial_dims in NETWORKS[name].spatial_dims else of_slices(base)
        network = base.network
        if network.name != name:
            alike = name in SAME_STAGES and network.name in SAME_STAGES
            keeps = network if alike else NetworkSettings()
            network = replace(keeps, name=name)  # type: ignore[arg-type]
            stages = _stages(base.network)
            if stages and not alike and name in SAME_STAGES:
                network = replace(network, filters=(standardised(network).filters or ())[:stages])
        return replace(base, network=network, **changes)  # type: ignore[arg-type]

    kind = NETWORKS[name]
    return Recipe(kind.title, f"{kind.words} Trained in our own way.", change)


RECIPES: dict[str, Recipe] = {
    "unet": _ours("unet"),
    "resunet": _ours("resunet"),
    # Muon, which the plan learns by, was not measured with this and the other three that are told AdamW.
    "shallow": _ours("shallow", optimizer="adamw"),
    # One run each of 200 steps on the sample: Dice of its test patient's cavity 0.71 at 1e-3, 0.82 at 3e-3.
    "unext": _ours("unext", optimizer="adamw", learning_rate=4e-3),
    "efficientnet": _ours("efficientnet"),
    # It has no normalisation: at 2e-3, clipped at 12, the training loss grew; at these it fell (110 steps each).
    "pyramid": _ours("pyramid", optimizer="adamw", learning_rate=1e-3, gradient_clip=1.0),
    # Not measured: half the usual, as transformers want less.
    "maskdino": _ours("maskdino", optimizer="adamw"),
    "unet-3d": Recipe(
        "3-D U-Net",
        "A U-Net that sees volumes instead of slices, as deep as they allow. Trained in our own way.",
        unet_of_volumes,
        of_volumes=True,
    ),
    "pyramid-published": Recipe(
        "Pyramid as published",
        "The multi-scale pyramid trained as the published DICOM workbench does (Dourthe et al., Spine 2021), at "
        "256 × 256 pixels; its loss there runs from 2 to 0, and mean Dice is (2 − loss) / 2.",
        pyramid_published,
        published=True,
        epochs=500,
    ),
    "glioma-unet-published": Recipe(
        "U-Net for glioma",
        "A U-Net with batch normalisation, put together from what was published on low-grade glioma (Buda et al., "
        "Comput Biol Med 2019, and later comparisons): weighted binary cross-entropy and IoU, at 256 × 256 pixels.",
        glioma_unet_published,
        published=True,
        epochs=100,
    ),
    "nnunet-like": Recipe(
        "nnU-Net's training",
        "A U-Net trained as nnU-Net does (Isensee et al., Nature Methods 2021) on our own grid: SGD, Dice and "
        "cross-entropy, deep supervision.",
        nnunet_like,
        published=True,
        epochs=1000,
    ),
}
