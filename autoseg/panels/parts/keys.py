"""Keys that belong to a panel: without this, JupyterLab takes them for itself."""

from __future__ import annotations

import anywidget

# In a notebook's output an arrow key moves to the next cell, and "d d" deletes it, even while a list or a button
# has the focus. The attribute is JupyterLab's own word for "leave these keys alone". It has to stand on the very
# element that has the focus before JupyterLab looks, and only for keys without Ctrl, Alt or Cmd, so that Ctrl+S
# still saves; Escape still leaves the panel.
ESM = """
export default {
  render({ el }) {
    el.style.display = "none";
    const name = "data-lm-suppress-shortcuts";
    const claim = (event) => {
      const target = event.target;
      const panel = el.closest(".autoseg-panel");
      if (!panel || !panel.contains(target)) return;
      const theirs = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
      target.toggleAttribute(name, !theirs);
    };
    window.addEventListener("keydown", claim, true);
    return () => window.removeEventListener("keydown", claim, true);
  },
};
"""


class OwnKeys(anywidget.AnyWidget):
    """Lets the keys that are pressed in the panel around it (class `autoseg-panel`) do what they do elsewhere.

    It shows nothing.
    """

    _esm = ESM
