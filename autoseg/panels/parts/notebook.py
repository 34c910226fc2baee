"""Plain words for what goes wrong in a notebook's cell, in place of a traceback."""

from __future__ import annotations

import re
import sys
import traceback
from types import TracebackType
from typing import Any

from autoseg.errors import AutosegError
from autoseg.files.notebooks import BESIDE_PANEL
from autoseg.panels.parts.style import notice

# A notebook keeps where a panel stood, and not the panel; JupyterLab then says "model not found". In its place
# stands what to do. As long as the panel is there (`autoseg-panel`), or is being loaded, nothing is shown. This is
# for a JupyterLab that `workbench.py` did not start; from the other's notebooks `keep_no_panels` takes panels out.
BEFORE, AFTER = f".jp-OutputArea-child:has(.{BESIDE_PANEL})", ".jp-OutputArea-child"
STYLE = f"""<style>
.{BESIDE_PANEL} {{ display: none; }}
.jp-OutputArea .{BESIDE_PANEL} {{ display: block; }}
{BEFORE}:not(:has(+ {AFTER} .jupyter-widgets)), {BEFORE}:has(+ {AFTER} .autoseg-panel),
{BEFORE} + {AFTER}:has(.jupyter-widgets):not(:has(.autoseg-panel)) {{ display: none; }}
</style>"""
ANOTHER_DAY = (
    "This panel is of another day, and what it showed is not kept in the page. Run ▸ Run All Cells brings it back."
)
OF_ANOTHER_DAY = f'{STYLE}<div class="{BESIDE_PANEL}">{notice(ANOTHER_DAY, announced=False)}</div>'


def speak_plainly() -> None:
    """Let this notebook show errors of autoseg, and names that no cell has made yet, as a sentence.

    The details unfold at a click. Other errors keep their traceback. Outside a notebook this does nothing.
    """
    if "IPython" not in sys.modules:  # loading it would take longer than the panels
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((AutosegError, NameError), _show)


def sentence_for(error: BaseException) -> str:
    """Give what a person should read of an error."""
    missing = re.match(r"name '(\w+)' is not defined", str(error)) if isinstance(error, NameError) else None
    if missing:
        return (
            f"This cell needs {missing[1]!r}, which a cell above makes. Click into this cell and choose "
            "Run ▸ Run All Above Selected Cell, then run it again."
        )
    return str(error)


def _show(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> list[str]:
    from IPython.display import HTML, display

    details = traceback.format_exception(kind, error, trace)
    # An unknown name deeper down is a fault of ours, and its place matters.
    in_cell = not (isinstance(error, NameError) and trace is not None and _depth(trace) > 2)
    if in_cell:
        display(HTML(notice(sentence_for(error), "error", details="".join(details))))
    else:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    return details


def _depth(trace: TracebackType) -> int:
    count, step = 0, trace
    while step is not None:
        count, step = count + 1, step.tb_next  # type: ignore[assignment]
    return count
