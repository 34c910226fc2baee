"""What JupyterLab writes of a notebook; read by its server, hence light."""

from __future__ import annotations

from typing import Any

# Classes of what stands beside a panel for another day: out of sight, and in the panel's place.
BESIDE_PANEL, IN_PLACE_OF_PANEL = "autoseg-another-day", "autoseg-of-another-day"
PANEL = "application/vnd.jupyter.widget-view+json"


def keep_no_panels(model: dict[str, Any], **_: Any) -> None:
    """Take each panel out of a notebook that is about to be saved; what stands beside it for another day stays.

    A file keeps only where a panel stood, which no kernel of another day knows. The page is as it was.

    Parameters
    ----------
    model
        What is saved, in the words of Jupyter's contents service; its outputs are changed.
    """
    if model.get("type") != "notebook" or not model.get("content"):
        return
    for cell in model["content"]["cells"]:
        kept: list[dict[str, Any]] = []
        for output in cell.get("outputs", ()):
            beside = kept[-1].get("data", {}) if kept else {}
            words = "".join(beside.get("text/html", ()))
            if PANEL in output.get("data", {}) and f'"{BESIDE_PANEL}"' in words:
                beside["text/html"] = words.replace(f'"{BESIDE_PANEL}"', f'"{IN_PLACE_OF_PANEL}"')
            else:
                kept.append(output)
        if "outputs" in cell:
            cell["outputs"] = kept
