"""What values of settings are checked with."""

from __future__ import annotations

from autoseg.errors import SettingsError

Range = tuple[float, float]


def require(condition: bool, message: str) -> None:
    """Raise SettingsError with this message unless the condition holds."""
    if not condition:
        raise SettingsError(message)


def require_range(name: str, value: Range, *, low: float, high: float) -> None:
    """Raise SettingsError unless the value is two numbers in order and within the limits."""
    require(
        len(value) == 2 and low <= value[0] <= value[1] <= high,
        f"{name} is {value}; give two numbers, the smaller first, between {low:g} and {high:g}.",
    )


def require_probability(name: str, value: float) -> None:
    """Raise SettingsError unless the value lies between 0 and 1."""
    require(0 <= value <= 1, f"{name} is {value}; a probability lies between 0 and 1.")
