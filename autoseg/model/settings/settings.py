"""Every choice that a training can be given, with its default, its unit and its limits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from autoseg.errors import SettingsError
from autoseg.model.settings.groups import (
    AugmentationSettings,
    FineTuneSettings,
    LossSettings,
    NetworkSettings,
    PreprocessSettings,
    VolumeSettings,
)
from autoseg.model.settings.groups import require as _require

__all__ = [
    "AugmentationSettings",
    "FineTuneSettings",
    "LossSettings",
    "NetworkSettings",
    "PreprocessSettings",
    "Settings",
    "VolumeSettings",
    "settings_from_dict",
    "settings_to_dict",
]

Kind = TypeVar("Kind")
MOST_MINUTES = 30 * 24 * 60
# What settings were called in the model files of earlier versions.
FORMER_NAMES = {
    "dice_weight": "overlap_weight",
    "cross_entropy_weight": "pixel_weight",
    "dice_until": "overlap_until",
    "late_cross_entropy_weight": "late_pixel_weight",
}


@dataclass(frozen=True)
class Settings:
    """All settings of a training; saved in the model file.

    Parameters
    ----------
    epochs : int, optional
        Times that every training slice is seen. None: as many as fit into `minutes`.
    minutes : float, optional
        Time budget of the learning. The learning-rate schedule is fitted to it, so that "cosine" and "polynomial"
        end low in time.
    batch_size : int
        Slices seen at once. Halved, and said so, where the memory is not enough.
    oversampling : float
        At least this part of each batch are slices with a structure on them; empty ones give way. 0: as they come.
    optimizer : {"adamw", "adam", "sgd"}
        What turns gradients into steps; "sgd" has Nesterov's momentum, and wants a learning rate of about 0.01.
    learning_rate : float
        The peak, reached after the warm-up.
    schedule : {"cosine", "polynomial", "multistep", "plateau", "constant"}
        How the learning rate falls: smoothly to zero ("cosine", "polynomial"), in steps at the `milestones`, after
        `plateau_epochs` validated epochs without improvement, or not at all.
    milestones : tuple of float
        Of "multistep": the parts of the training after which the rate drops.
    plateau_epochs : int
        Of "plateau": validated epochs without improvement by `best_by` (without validation subjects: epochs
        without a lower training loss) after which it drops.
    drop_factor : float
        By which it is multiplied at each drop.
    warmup_fraction : float
        Part of the training in which the learning rate rises.
    momentum : float
        Of "sgd": how much of the last step the next one keeps.
    weight_decay : float
        The optimiser's decay of weights; "adam" and "sgd" want far less than "adamw", about 0.00003.
    gradient_clip : float
        Largest norm of a step's gradient; infinity: any.
    average_decay : float
        The weights that are kept are a running average; near 1 averages over more steps, 0 takes them as they are.
    best_by : {"dice", "iou", "loss"}
        The kept epoch has the best of these on the validation subjects (Dice and IoU are means over structures).
    patience : int, optional
        Stop after this many validated epochs in which `best_by` did not improve. None: never.
    print_checkpoint : int
        Epochs between printed lines.
    save_checkpoint : int
        Epochs between checkpoints on disk.
    validate_every : int
        Epochs between validations; with few slices an epoch is short, and validation would take the time.
    watch_erosion : bool
        Also validate with each structure eroded by one, two and three pixels of the network's grid.
    seed : int
        Of everything random: same seed, same weights on the same machine.
    precision : {"auto", "float32", "bfloat16"}
        "auto" takes bfloat16 where the processor is fast at it.
    spatial_dims : {2, 3}
        2: slices are learnt from; 3: volumes, as `volume` says.
    """

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 8
    oversampling: float = 0.0
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "polynomial", "multistep", "plateau", "constant"] = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    plateau_epochs: int = 10
    drop_factor: float = 0.5
    warmup_fraction: float = 0.05
    momentum: float = 0.99
    weight_decay: float = 1e-2
    gradient_clip: float = 12.0
    average_decay: float = 0.99
    best_by: Literal["dice", "iou", "loss"] = "dice"
    patience: int | None = None
    print_checkpoint: int = 1
    save_checkpoint: int = 10
    validate_every: int = 1
    watch_erosion: bool = False
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    spatial_dims: Literal[2, 3] = 2
    preprocess: PreprocessSettings = field(default_factory=PreprocessSettings)
    volume: VolumeSettings = field(default_factory=VolumeSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    finetune: FineTuneSettings = field(default_factory=FineTuneSettings)

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
            _require(
                0 < self.minutes <= MOST_MINUTES,
                f"minutes is {self.minutes}; give more than 0, and at most {MOST_MINUTES} (30 days).",
            )
        for name in ("batch_size", "plateau_epochs", "print_checkpoint", "save_checkpoint", "validate_every"):
            value = getattr(self, name)
            _require(isinstance(value, int) and value >= 1, f"{name} is {value}; give a whole number from 1.")
        _require(0 < self.learning_rate < 10, f"learning_rate is {self.learning_rate}; give 0 to 10.")
        self._check_learning_rate()
        self._check_dimensions()
        _require(0 <= self.warmup_fraction < 1, f"warmup_fraction is {self.warmup_fraction}; give 0 to 1.")
        _require(0 <= self.weight_decay <= 10, f"weight_decay is {self.weight_decay}; give 0 to 10.")
        _require(self.gradient_clip > 0, f"gradient_clip is {self.gradient_clip}; give more than 0.")
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}; give a whole number from 0, of at most 18 digits.")
        _require(0 <= self.average_decay < 1, f"average_decay is {self.average_decay}; give 0 to 1.")
        _require(self.best_by in ("dice", "iou", "loss"), f"best_by is {self.best_by!r}; give dice, iou or loss.")
        _require(
            self.patience is None or self.patience >= 1, f"patience is {self.patience}; give 1 or more, or None."
        )
        _require(
            self.precision in ("auto", "float32", "bfloat16"),
            f"precision is {self.precision!r}; give auto, float32 or bfloat16.",
        )

    def _check_dimensions(self) -> None:
        _require(self.spatial_dims in (2, 3), f"spatial_dims is {self.spatial_dims}; give 2 or 3.")
        sliced = self.preprocess
        for name, value in (
            ("neighbours", sliced.neighbours),
            ("crop_mm", sliced.crop_mm),
            ("crop_shape", sliced.crop_shape),
            ("input_shape", sliced.input_shape),
        ):
            _require(
                self.spatial_dims == 2 or not value,
                f"preprocess.{name} is {value} and spatial_dims is 3; it is of slices. Take it away, or give 2.",
            )

    def _check_learning_rate(self) -> None:
        known = get_type_hints(Settings)
        for name in ("optimizer", "schedule"):
            words = get_args(known[name])
            _require(getattr(self, name) in words, f"{name} is {getattr(self, name)!r}; give {', '.join(words)}.")
        _require(
            all(0 < part < 1 for part in self.milestones),
            f"milestones is {self.milestones}; give parts of the training between 0 and 1.",
        )
        _require(0 < self.drop_factor < 1, f"drop_factor is {self.drop_factor}; give 0 to 1.")
        _require(0 <= self.momentum < 1, f"momentum is {self.momentum}; give 0 to 1.")
        _require(0 <= self.oversampling <= 1, f"oversampling is {self.oversampling}; it is a part, 0 to 1.")


def settings_to_dict(settings: Settings) -> dict[str, Any]:
    """Give the settings as nested plain dictionaries and lists, ready for JSON and for a model file."""
    return dataclasses.asdict(settings)


def settings_from_dict(values: dict[str, Any]) -> Settings:
    """Build settings from what `settings_to_dict` gave."""
    return _from_dict(Settings, values)


def _from_dict(kind: type[Kind], values: dict[str, Any]) -> Kind:
    hints = get_type_hints(kind)
    values = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
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
