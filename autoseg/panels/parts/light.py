"""How the light of a run looks on a page: a shape, a colour and a word that say the same, and its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autoseg.model.trust import Light, Suitability
from autoseg.report.lights import LOOKS, UNKNOWN, Look, light_word, lights_by_image
from autoseg.words import escaped


def light_icon(light: Light, size: int = 22) -> str:
    """Give the shape of a light as HTML; the word has to stand beside it."""
    look = LOOKS[light]
    return (
        f'<span aria-hidden="true" style="display:inline-block;box-sizing:border-box;flex:none;width:{size}px;'
        f"height:{size}px;line-height:{size}px;font-size:{round(0.62 * size)}px;font-weight:700;text-align:center;"
        f'background:{look.colour};color:{look.ink};{light_shape(look)}">{look.sign}</span>'
    )


def light_shape(look: Look) -> str:
    """Give the shape of a light as CSS; a sign in a triangle stands lower."""
    corners = ",".join(f"{100 * across:g}% {100 * down:g}%" for across, down in look.corners)
    lower = ";padding-top:4px" if len(look.corners) == 3 else ""
    return f"clip-path:polygon({corners}){lower}" if corners else "border-radius:50%"


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
