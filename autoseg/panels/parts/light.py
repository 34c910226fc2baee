"""How the light of a run looks on a page: a shape, a colour and a word that say the same, and its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autoseg.model.trust import Light, Suitability
from autoseg.report.lights import UNKNOWN, lights_by_image
from autoseg.words import escaped


@dataclass(frozen=True)
class Look:
    """How a light is drawn: its colour, the sign in its shape with the sign's colour, and what it means."""

    colour: str
    sign: str
    ink: str
    shape: str  # CSS
    meaning: str


# A circle, a triangle and an octagon, as on the road: told apart without colours.
LOOKS = {
    Light.GREEN: Look("#00855f", "✓", "#fff", "border-radius:50%", "like what the model learnt from"),
    Light.AMBER: Look(
        "#e69f00", "!", "#000", "clip-path:polygon(50% 0,100% 100%,0 100%);padding-top:4px", "look twice"
    ),
    Light.RED: Look(
        "#c62828",
        "✕",
        "#fff",
        "clip-path:polygon(30% 0,70% 0,100% 30%,100% 70%,70% 100%,30% 100%,0 70%,0 30%)",
        "not suited to the model",
    ),
}


def light_word(light: Light) -> str:
    """Give the word that goes with numbers: "Amber: look twice"."""
    return f"{light.value.capitalize()}: {LOOKS[light].meaning}"


def light_icon(light: Light, size: int = 22) -> str:
    """Give the shape of a light as HTML; the word has to stand beside it."""
    look = LOOKS[light]
    return (
        f'<span aria-hidden="true" style="display:inline-block;box-sizing:border-box;flex:none;width:{size}px;'
        f"height:{size}px;line-height:{size}px;font-size:{round(0.62 * size)}px;font-weight:700;text-align:center;"
        f'background:{look.colour};color:{look.ink};{look.shape}">{look.sign}</span>'
    )


def light_values(light: Light) -> dict[str, str]:
    """Give a light as plain values for a page's own code, with its shape as HTML."""
    return {"light": light.value, "words": light_word(light), "icon": light_icon(light, 16)}


def light_line(suitability: Suitability) -> str:
    """Give a light in one line, to stand beside numbers; its reasons unfold at a click."""
    reasons = "".join(f"<li>{escaped(reason)}</li>" for reason in suitability.reasons)
    summary = f"{light_icon(suitability.light, 16)} {escaped(light_word(suitability.light))}"
    return (
        '<details style="color:var(--jp-ui-font-color1,inherit);line-height:1.45;margin:4px 0">'
        f'<summary style="cursor:pointer">{summary}</summary><ul style="margin:2px 0 4px">{reasons}</ul></details>'
    )


def light_box(
    whole: Suitability,
    suitability: Mapping[str, Suitability],
    case_ids: Iterable[str],
    more: str = "",
    *,
    named: bool = False,
) -> str:
    """Give the light of a run, and those of its images with their reasons, as a box to stand above the result.

    Images with the same light and reasons stand together, the worst first; they are named where they differ, or
    `named` asks for it. `more` is a sentence below the reasons.
    """
    groups = lights_by_image(suitability, case_ids)
    parts = []
    for names, one in groups:
        said = (UNKNOWN,) if one is None else one.reasons
        if named or len(groups) > 1:
            word = "" if one is None else f"{one.light.value.capitalize()}, "
            said = (f"{word}{names}: {' '.join(said)}",)
        parts += [f"<li>{escaped(words)}</li>" for words in said]
    light = whole.light
    colour = LOOKS[light].colour
    last = f'<div style="margin-top:4px">{escaped(more)}</div>' if more else ""
    return (
        f'<div role="{"alert" if light is Light.RED else "status"}" style="border:2px solid {colour};'
        "border-radius:6px;padding:8px 12px;margin:6px 0;line-height:1.45;color:var(--jp-ui-font-color1,inherit);"
        f'background:color-mix(in srgb,{colour} 9%,var(--jp-layout-color1,#fff))">'
        f'<div style="display:flex;gap:10px;align-items:center">{light_icon(light)}'
        f'<strong style="font-size:15px">{escaped(light_word(light))}</strong></div>'
        f'<ul style="margin:4px 0 0 32px;padding:0">{"".join(parts)}</ul>{last}</div>'
    )
