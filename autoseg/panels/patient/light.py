"""The light above the numbers of a run, and the click without which those of a red one are not shown."""

from __future__ import annotations

from dataclasses import dataclass

import ipywidgets as widgets

from autoseg.model.trust import Light, Suitability, worst
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.light import light_box, light_line
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import notice
from autoseg.panels.patient.redrawn import FollowsDrawing
from autoseg.prediction.run import Run, RunProgress
from autoseg.report.lights import light_of_run

NO_RUN = "First segment a patient above."
WITHHELD = "The light is red, so no numbers are shown."
ASKED_FOR = "The numbers are shown because that was asked for. Tables, pictures and files carry the word red."
GOES_ON = "The segmentation goes on. Stop ends it, and nothing is written then."
SHOW = "Show the numbers all the same"


@dataclass(frozen=True, eq=False)
class Lit:
    """A run whose light was looked at: whether its numbers may be seen."""

    run: Run
    is_open: bool

    @property
    def suitability(self) -> Suitability | None:
        """The worst light of the run's images; None where nobody compared them."""
        return light_of_run(self.run.suitability, case_ids_of(self.run))


class LightPanel(Panel):
    """The lights of the images of a Run, which is the value of `prediction`, before any number; `value` is a `Lit`.

    Its numbers may be seen at once, but those of a run with a red light only after a click, or `show_numbers`,
    which counts for this run alone. A panel that shows numbers follows a LightPanel, by `light_above`. While
    outlines are corrected its `drawing` tells what numbers they give.
    """

    def __init__(self, prediction: Panel) -> None:
        super().__init__()
        self.drawing = FollowsDrawing()
        self.box, self.sure = widgets.HTML(), widgets.HTML()
        self.button = button(
            SHOW,
            self.show_numbers,
            "Show areas, table, plots and patients of this run, though the model is not made for its images",
            icon="warning",
            width="300px",
        )
        self.body.children = [self.box, self.button, self.sure]
        self.follow(prediction, self._update)

    def show_numbers(self) -> None:
        """Let the numbers of this run be seen although its light is red, as the button does."""
        with self._lock, self.attempt():
            lit = self.value
            if lit is not None and not lit.is_open:
                self._show(lit.run, is_open=True)

    def show_so_far(self, progress: RunProgress | None) -> None:
        """Show which images of a run that is under way are red already (None: there is none such).

        Other lights may become worse, and are not shown before the end.
        """
        lights = {} if progress is None else progress.suitability
        red = {case_id: one for case_id, one in lights.items() if one.light is Light.RED}
        named = progress is not None and progress.series_count > 1
        self.box.value = light_box(worst(red.values()), red, red, GOES_ON, named=named) if red else ""

    def _update(self, run: Run | None) -> None:
        if run is None:
            self.value, self.box.value, self.sure.value = None, "", ""
            self.button.layout.display = "none"
        else:
            self._show(run, is_open=all(one.light is not Light.RED for one in run.suitability.values()))

    def _show(self, run: Run, *, is_open: bool) -> None:
        lit = Lit(run, is_open)
        self.button.layout.display = "none" if is_open else ""
        whole, self.box.value = lit.suitability, ""
        if whole is not None:
            more = "" if whole.light is not Light.RED else ASKED_FOR if is_open else WITHHELD
            self.box.value = light_box(whole, run.suitability, case_ids_of(run), more)
        self.sure.value = notice(f"How sure: {run.about_intervals}", announced=False) if run.about_intervals else ""
        self.value = lit


def case_ids_of(run: Run) -> list[str]:
    """Give the names of a run's images."""
    return [image.source.case_id for image, _ in run.results]


def light_above(prediction: Panel) -> LightPanel:
    """Give the light that stands above the result of `prediction`, or one of its own where it shows none."""
    found = getattr(prediction, "light", None)
    return found if isinstance(found, LightPanel) else LightPanel(prediction)


def run_to_show(lit: Lit | None) -> Run | None:
    """Give the run whose numbers may be seen; None: there is none, or its light is red and nobody asked."""
    return lit.run if lit is not None and lit.is_open else None


def why_no_numbers(lit: Lit | None) -> str:
    """Say why there are no numbers to see, and what shows them."""
    return NO_RUN if lit is None else f'{WITHHELD} The button "{SHOW}" above shows them.'


def line_of(lit: Lit | None) -> str:
    """Give the light of a run as a line to stand above its numbers; "" where there is none."""
    suitability = lit.suitability if lit is not None else None
    return "" if suitability is None else light_line(suitability)
