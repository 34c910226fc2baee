"""The light of an image in tables, pictures, figures and pages: its word, its look, and the worst of several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoseg.files.pictures.banners import Banner, with_banner
from autoseg.image.overlay import Rgb
from autoseg.measurement.areas import FROM_BEST, worst_light
from autoseg.model.trust import Light, Suitability, worst
from autoseg.words import name_some

# What a picture says above itself, the longest that fits; nothing where an image suits the model.
BANNERS = {
    Light.RED: Banner(
        ("RED: this image does not suit the model, do not use its areas", "RED: not suited to the model", "RED"),
        ground=(176, 0, 32),
        ink=(255, 255, 255),
        frame=True,
    ),
    Light.AMBER: Banner(
        ("AMBER: look twice before you use these areas", "AMBER: look twice", "AMBER"),
        ground=(255, 191, 71),
        ink=(0, 0, 0),
    ),
}


@dataclass(frozen=True)
class Look:
    """How a light is drawn: its colour, the sign in its shape with the sign's colour, and what it means.

    `corners` are those of its shape (across, down), as shares of its size from the top left; without, a circle.
    """

    colour: str
    sign: str
    ink: str
    meaning: str
    corners: tuple[tuple[float, float], ...] = ()


# A circle, a triangle and an octagon, as on the road: told apart without colours.
LOOKS = {
    Light.GREEN: Look("#00855f", "✓", "#fff", "like what the model learnt from"),
    Light.AMBER: Look("#e69f00", "!", "#000", "look twice", ((0.5, 0), (1, 1), (0, 1))),
    Light.RED: Look(
        "#c62828",
        "✕",
        "#fff",
        "not suited to the model",
        ((0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3)),
    ),
}


def light_word(light: Light) -> str:
    """Give the word that goes with numbers: "Amber: look twice"."""
    return f"{light.value.capitalize()}: {LOOKS[light].meaning}"


def light_of_run(suitability: Mapping[str, Suitability], case_ids: Iterable[str]) -> Suitability | None:
    """Give the worst light of a run's images with its reasons; None where none is known, or one might be worse."""
    known = {case_id: suitability.get(case_id) for case_id in case_ids}
    found = worst_light("" if one is None else one.light.value for one in known.values())
    return worst(one for one in known.values() if one is not None) if found else None


UNKNOWN = "Unknown: nobody compared it with what the models learnt from."


def lights_by_image(
    suitability: Mapping[str, Suitability], case_ids: Iterable[str]
) -> list[tuple[str, Suitability | None]]:
    """Give the lights of a run, the worst first, each with the names of its images; alike ones are together."""
    alike: dict[Suitability | None, list[str]] = {}
    for case_id in dict.fromkeys(case_ids):
        alike.setdefault(suitability.get(case_id), []).append(case_id)
    from_best = sorted(alike, key=lambda one: FROM_BEST.index("" if one is None else one.light.value))
    return [(name_some(alike[one], 3), one) for one in reversed(from_best)]


def say_light(one: Suitability | None) -> str:
    """Give a light with its reasons in words.

    Examples
    --------
    >>> say_light(Suitability(Light.RED, ("The pixels are twice as large as any that the model learnt from.",)))
    'RED. The pixels are twice as large as any that the model learnt from.'
    """
    return UNKNOWN if one is None else " ".join((f"{one.light.upper()}.", *one.reasons))


def plain_suitability(one: Suitability | None) -> dict[str, Any] | None:
    """Give a light and its reasons as plain values, for programs; None where nobody compared."""
    return None if one is None else {"light": one.light.value, "reasons": list(one.reasons)}


def banner_of(light: str) -> Banner | None:
    """Give what pictures say of a light; None of a green one, and where none is known."""
    return BANNERS.get(Light(light)) if light else None


def carrying_light(picture: Rgb, light: str) -> Rgb:
    """Give a picture with the word of a light above it, unless it is green or unknown; nothing of it is hidden."""
    banner = banner_of(light)
    return picture if banner is None else with_banner(picture, banner)
