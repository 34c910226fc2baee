"""Numbers that follow what a person draws: measured in a pause after a stroke, and told where they are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from autoseg.data.corrections.drawing import Drawing
from autoseg.image.image import LabelMap
from autoseg.panels.parts.style import notice
from autoseg.prediction.corrected import RunAsDrawn
from autoseg.prediction.run import Run

# Measuring takes the processor from strokes, so it waits until a hand rests.
PAUSE_S = 1.0
FOLLOWING = "Outlines are being corrected. What stands below is of those before; it follows as soon as you pause."
FOLLOWED = "All below is of the outlines as they are drawn now. “Measure what was corrected” writes the files."
FAILED = (
    "What stands below is of the outlines before, because those that are drawn now could not be measured; they are "
    "saved. Draw on, or press “Measure what was corrected”. What went wrong:"
)
BEHIND = (
    "Outlines were corrected since: what stands here is of those before. “Measure what was corrected”, below the "
    "viewer, brings it up to date."
)


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Outlines that are other than those of the run that is shown.

    `run` is measured with them: None until that is done, and where it `failed`.
    """

    run: Run | None = None
    failed: str = ""

    @property
    def words(self) -> str:
        """What is told above numbers that follow, as HTML."""
        if self.failed:
            return notice(f"{FAILED} {self.failed}", "warning")
        if self.run is None:
            return notice(FOLLOWING, "warning", announced=False)
        return notice(FOLLOWED, "done", announced=False)


class FollowsDrawing(traitlets.HasTraits):
    """Measures a run again whenever nobody has drawn for a moment.

    `redrawn` is None as long as outlines are those of the run that is shown. `behind` is to stand above whatever
    does not follow: it is empty, or says so.
    """

    redrawn: Any = traitlets.Any(None, allow_none=True)

    def __init__(self) -> None:
        super().__init__()
        self.behind = widgets.HTML()
        self._guard = threading.RLock()  # what is shown is never of fewer strokes than were told of
        self._making: RunAsDrawn | None = None
        self._shown: Run | None = None
        self._strokes, self._last = 0, 0.0
        self._work: threading.Thread | None = None

    def begin(self, run: Run, drawing: Drawing) -> None:
        """Follow a drawing from now on, while `run` is shown; what was drawn on other days is followed at once."""
        with self._guard:
            self._shown, self._making = run, RunAsDrawn(run, drawing)
        if not self._is_shown([drawing.label_map(number) for number in range(len(run.results))]):
            self.follow()

    def end(self) -> None:
        """Follow no longer."""
        with self._guard:
            self._making = None
            self._strokes += 1
            self._tell(None)

    def follow(self) -> None:
        """Measure in the next pause, because something was drawn."""
        with self._guard:
            if self._making is None:
                return
            self._strokes, self._last = self._strokes + 1, time.monotonic()
            if self.redrawn is None or self.redrawn.run is not None or self.redrawn.failed:
                self._tell(Redrawn())
            if self._work is None:
                self._work = threading.Thread(target=self._measure, daemon=True, name="follows drawing")
                self._work.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all that was drawn is measured."""
        work = self._work
        if work is not None:
            work.join(timeout_s)
            if work.is_alive():
                raise TimeoutError(f"What was drawn was not measured after {timeout_s} s.")

    def _measure(self) -> None:
        while True:
            with self._guard:
                strokes, rest, making = self._strokes, self._last + PAUSE_S - time.monotonic(), self._making
                if making is None:
                    self._work = None
                    return
            if rest > 0:
                time.sleep(rest)
                continue
            try:
                run = making.measure()
                found = None if self._is_shown([label_map for _, label_map in run.results]) else Redrawn(run)
            except Exception as error:  # the drawing goes on, and the files can be measured
                found = Redrawn(failed=str(error))
            with self._guard:
                if strokes == self._strokes:
                    self._work = None
                    self._tell(found)
                    return

    def _is_shown(self, drawn: Sequence[LabelMap]) -> bool:
        return self._shown is not None and all(
            np.array_equal(now.voxels, shown.voxels)
            for now, (_, shown) in zip(drawn, self._shown.results, strict=True)
        )

    def _tell(self, redrawn: Redrawn | None) -> None:
        self.behind.value = "" if redrawn is None else notice(BEHIND, "warning", announced=False)
        self.redrawn = redrawn
