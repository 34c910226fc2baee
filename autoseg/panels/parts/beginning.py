"""The line in a notebook's first panel that says what to do next, and holds the page there after Run All."""

from __future__ import annotations

import anywidget
import traitlets

# After "Run All" JupyterLab shows the last cell, where every panel waits for those above. Whoever ran single cells
# stays where they are: then the last cell is not the chosen one.
ESM = """
function render({ model, el }) {
  const line = document.createElement("div");
  line.setAttribute("role", "status");
  line.style.cssText =
    "border-left:4px solid var(--jp-brand-color1,#0072b2);padding:4px 10px;margin:4px 0;" +
    "line-height:1.45;color:var(--jp-ui-font-color1,inherit)";
  const draw = () => (line.textContent = "→ Next: " + model.get("words"));
  draw();
  model.on("change:words", draw);
  el.append(line);

  const toTheTop = () => {
    const notebook = el.closest(".jp-Notebook");
    const cells = notebook ? [...notebook.querySelectorAll(".jp-Notebook-cell")] : [];
    const last = cells[cells.length - 1];
    if (!last || !last.classList.contains("jp-mod-active") || last.contains(el)) return;
    let part = el.parentElement;
    while (part && !/auto|scroll/.test(getComputedStyle(part).overflowY)) part = part.parentElement;
    while (part && part.scrollTop === 0) part = part.parentElement;
    if (part) part.scrollTop = 0;
  };
  const waiting = setTimeout(toTheTop, 100); // it is on the page by then
  return () => {
    clearTimeout(waiting);
    model.off("change:words", draw);
  };
}

export default { render };
"""


class Beginning(anywidget.AnyWidget):
    """Says what to do next; shown by "Run All", it keeps JupyterLab's page at the top."""

    _esm = ESM
    words = traitlets.Unicode().tag(sync=True)
