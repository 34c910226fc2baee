"""Every choice that a training can be given, with its default, its unit and its limits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from autoseg.errors import SettingsError

Range = tuple[float, float]
Kind = TypeVar("Kind")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SettingsError(message)


def _require_range(name: str, value: Range, *, low: float, high: float) -> None:
    _require(
        len(value) == 2 and low <= value[0] <= value[1] <= high,
        f"{name} is {value}; give two numbers, the smaller first, between {low:g} and {high:g}.",
    )


def _require_probability(name: str, value: float) -> None:
    _require(0 <= value <= 1, f"{name} is {value}; a probability lies between 0 and 1.")


@dataclass(frozen=True)
class PreprocessSettings:
    """How an image is brought to the network's grid.

    Parameters
    ----------
    spacing_mm : float, optional
        Distance in mm between the network's pixels, the same along rows and columns. None: chosen from the
        training images (their median, but no more than about 192 pixels across).
    input_shape : (2,) tuple of int, optional
        Resize every image to these (rows, columns) instead, whatever its spacing, as the published
        workbench does. The proportions of an image that is not of that shape change.
    clip_percentiles : (2,) tuple of float
        Each image's intensities are clipped to these of its own percentiles, then brought to mean 0 and
        standard deviation 1.
    """

    spacing_mm: float | None = None
    input_shape: tuple[int, int] | None = None
    clip_percentiles: Range = (0.5, 99.5)

    def __post_init__(self) -> None:
        if self.spacing_mm is not None:
            _require(0 < self.spacing_mm <= 20, f"spacing_mm is {self.spacing_mm}; give mm between 0 and 20.")
            _require(self.input_shape is None, "Give spacing_mm or input_shape, not both.")
        if self.input_shape is not None:
            _require(
                len(self.input_shape) == 2 and all(32 <= n <= 4096 for n in self.input_shape),
                f"input_shape is {self.input_shape}; give (rows, columns) from 32 to 4096.",
            )
        _require_range("clip_percentiles", self.clip_percentiles, low=0, high=100)


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, and how large.

    Parameters
    ----------
    name : {"unet"}
        Name in `autoseg.networks`.
    filters : tuple of int
        Feature channels of each level, the full-size level first; every further level halves the size.
    dropout : float
        Probability with which a feature channel is left out while training.
    """

    name: str = "unet"
    filters: tuple[int, ...] = (16, 32, 64, 128, 256, 256)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _require(
            2 <= len(self.filters) <= 8 and all(1 <= n <= 2048 for n in self.filters),
            f"filters is {self.filters}; give 2 to 8 numbers of feature channels.",
        )
        _require(0 <= self.dropout < 1, f"dropout is {self.dropout}; it lies between 0 and 1.")


@dataclass(frozen=True)
class AugmentationSettings:
    """How training slices are varied; every sample draws anew, each change with its own probability and range.

    The defaults turn and zoom far more than the published manual (`manual()`), which few subjects need.

    Parameters
    ----------
    rotation_probability, rotation_deg : float, float
        Turn by up to this many degrees either way.
    scaling_probability, scaling : float, (2,) tuple of float
        Factor on the size of what is seen, drawn for rows and columns apart.
    zoom_probability, zoom : float, (2,) tuple of float
        Factor on the size of what is seen, the same for rows and columns.
    crop_probability, crop : float, (2,) tuple of float
        Keep this fraction of the width and height at a random place and enlarge it to the full frame.
    shift_probability, shift : float, float
        Move by up to this fraction of the frame along each axis.
    flip_probability : float
        Mirror left and right, and exchange the labels of paired structures; at first off.
    brightness_probability, brightness : float, float
        Add up to this many standard deviations.
    contrast_probability, contrast : float, (2,) tuple of float
        Factor about the image's mean.
    gamma_probability, gamma : float, (2,) tuple of float
        Exponent on the intensities scaled to 0 … 1.
    noise_probability, noise : float, float
        Gaussian noise of up to this many standard deviations.
    """

    rotation_probability: float = 1.0
    rotation_deg: float = 180.0
    scaling_probability: float = 1.0
    scaling: Range = (0.9, 1.1)
    zoom_probability: float = 1.0
    zoom: Range = (0.7, 1.4)
    crop_probability: float = 0.0
    crop: Range = (0.5, 0.8)
    shift_probability: float = 1.0
    shift: float = 0.1
    flip_probability: float = 0.0
    brightness_probability: float = 0.8
    brightness: float = 0.3
    contrast_probability: float = 0.8
    contrast: Range = (0.7, 1.4)
    gamma_probability: float = 0.8
    gamma: Range = (0.7, 1.5)
    noise_probability: float = 0.5
    noise: float = 0.15

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name.endswith("_probability"):
                _require_probability(item.name, getattr(self, item.name))
        _require(0 <= self.rotation_deg <= 180, f"rotation_deg is {self.rotation_deg}; give 0 to 180.")
        _require_range("scaling", self.scaling, low=0.1, high=10)
        _require_range("zoom", self.zoom, low=0.1, high=10)
        _require_range("crop", self.crop, low=0.1, high=1)
        _require(0 <= self.shift <= 1, f"shift is {self.shift}; it is a fraction of the frame, 0 to 1.")
        _require(self.brightness >= 0, f"brightness is {self.brightness}; give 0 or more.")
        _require_range("contrast", self.contrast, low=0.01, high=100)
        _require_range("gamma", self.gamma, low=0.01, high=100)
        _require(self.noise >= 0, f"noise is {self.noise}; give 0 or more.")

    @classmethod
    def manual(cls) -> AugmentationSettings:
        """Give exactly the augmentation of the published workbench's manual."""
        half: dict[str, Any] = {"rotation_probability": 0.5, "scaling_probability": 0.5, "crop_probability": 0.5}
        return dataclasses.replace(cls.off(), **half, rotation_deg=5.0, scaling=(0.8, 1.0), crop=(0.5, 0.8))

    @classmethod
    def off(cls) -> AugmentationSettings:
        """Give settings that leave every sample as it is."""
        never: dict[str, Any] = {f.name: 0.0 for f in fields(cls) if f.name.endswith("_probability")}
        return cls(**never)


@dataclass(frozen=True)
class LossSettings:
    """Soft Dice over the structures plus weighted cross-entropy.

    Dice finds structures fast but enlarges unsure ones (Bertels et al., Medical Image Analysis 2021), which
    cross-entropy does not; so the Dice part fades out on the way.

    Parameters
    ----------
    dice_weight, cross_entropy_weight : float
        Weights of the two parts at the start.
    dice_until : float
        Fraction of the training after which the Dice part has faded away; infinity keeps it whole.
    late_cross_entropy_weight : float
        Weight of the cross-entropy then; its gradient, a mean over all pixels, is the smaller one.
    structure_weight : float
        Weight of a structure's pixels in the cross-entropy; a background pixel has 1.
    """

    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    dice_until: float = 0.6
    late_cross_entropy_weight: float = 10.0
    structure_weight: float = 1.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            _require(0 <= value <= 1000 or item.name == "dice_until", f"{item.name} is {value}; give 0 to 1000.")
        _require(self.dice_until > 0, f"dice_until is {self.dice_until}; give more than 0.")
        _require(self.late_cross_entropy_weight > 0 or self.dice_until > 1, "The whole loss would fade out.")
        _require(self.dice_weight + self.cross_entropy_weight > 0, "Both parts of the loss have weight 0.")


@dataclass(frozen=True)
class Settings:
    """All settings of a training; saved in the model file.

    Parameters
    ----------
    epochs : int, optional
        Times that every training slice is seen. None: as many as fit into `minutes`.
    minutes : float, optional
        Time budget of the learning. The learning-rate schedule is fitted to it, so it ends low in time.
    batch_size : int
        Slices seen at once.
    learning_rate : float
        AdamW's peak, reached after the warm-up.
    schedule : {"cosine", "polynomial"}
        How the learning rate falls to zero.
    warmup_fraction : float
        Part of the training in which the learning rate rises.
    weight_decay, gradient_clip : float
        AdamW's decay; largest norm of a gradient step.
    average_decay : float
        The weights that are kept are a running average; near 1 averages over more steps.
    patience : int, optional
        Stop after this many epochs without a better validation Dice. None: never.
    print_checkpoint : int
        Epochs between printed lines.
    save_checkpoint : int
        Epochs between checkpoints on disk.
    validate_every : int
        Epochs between validations; with few slices an epoch is short, and validation would take the time.
    seed : int
        Of everything random: same seed, same weights on the same machine.
    precision : {"auto", "float32", "bfloat16"}
        "auto" takes bfloat16 where the processor is fast at it.
    """

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 8
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "polynomial"] = "cosine"
    warmup_fraction: float = 0.05
    weight_decay: float = 1e-2
    gradient_clip: float = 12.0
    average_decay: float = 0.99
    patience: int | None = None
    print_checkpoint: int = 1
    save_checkpoint: int = 10
    validate_every: int = 1
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    preprocess: PreprocessSettings = field(default_factory=PreprocessSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    loss: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        if self.epochs is None and self.minutes is None:
            object.__setattr__(self, "epochs", 100)
        _require(
            self.epochs is None or self.minutes is None,
            f"epochs is {self.epochs} and minutes is {self.minutes}; give one of them, the other None.",
        )
        if self.epochs is not None:
            _require(
                isinstance(self.epochs, int) and self.epochs >= 1,
                f"epochs is {self.epochs}; give a whole number from 1.",
            )
        if self.minutes is not None:
            _require(0 < self.minutes <= 60 * 24 * 30, f"minutes is {self.minutes}; give more than 0.")
        for name in ("batch_size", "print_checkpoint", "save_checkpoint", "validate_every"):
            value = getattr(self, name)
            _require(isinstance(value, int) and value >= 1, f"{name} is {value}; give a whole number from 1.")
        _require(0 < self.learning_rate < 10, f"learning_rate is {self.learning_rate}; give 0 to 10.")
        _require(self.schedule in ("cosine", "polynomial"), f"schedule is {self.schedule!r}.")
        _require(0 <= self.warmup_fraction < 1, f"warmup_fraction is {self.warmup_fraction}; give 0 to 1.")
        _require(0 <= self.average_decay < 1, f"average_decay is {self.average_decay}; give 0 to 1.")
        _require(
            self.patience is None or self.patience >= 1, f"patience is {self.patience}; give 1 or more, or None."
        )
        _require(
            self.precision in ("auto", "float32", "bfloat16"),
            f"precision is {self.precision!r}; give auto, float32 or bfloat16.",
        )


def settings_to_dict(settings: Settings) -> dict[str, Any]:
    """Give the settings as nested plain dictionaries and lists, ready for JSON and for a model file."""
    return dataclasses.asdict(settings)


def settings_from_dict(values: dict[str, Any]) -> Settings:
    """Build settings from what `settings_to_dict` gave.

    Raises
    ------
    SettingsError
        If a name is unknown (a newer version wrote it) or a value cannot work.
    """
    return _from_dict(Settings, values)


def _from_dict(kind: type[Kind], values: dict[str, Any]) -> Kind:
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    _require(not unknown, f"Unknown setting(s) {unknown} of {kind.__name__}; update autoseg to read them.")
    arguments = {}
    for name, value in values.items():
        if is_dataclass(hints[name]) and isinstance(value, dict):
            arguments[name] = _from_dict(hints[name], value)
        else:
            arguments[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**arguments)
    except TypeError as error:
        raise SettingsError(f"A setting of {kind.__name__} has a value of the wrong type: {error}.") from error
