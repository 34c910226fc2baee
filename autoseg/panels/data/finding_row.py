"""One finding on the page: words, buttons, and a picture that is drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from autoseg.data.checks import Finding
from autoseg.data.repairs import Repair
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Kind, notice

KINDS: dict[str, Kind] = {"error": "error", "warning": "warning", "note": "note"}
# What several findings of one kind have in common.
TITLES = {
    "blank": "images that are empty",
    "broken": "images with broken pixels",
    "empty": "labels that are empty",
    "gap": "structures missing in between",
    "grid": "labels that lie elsewhere than their image",
    "levels": "levels that do not fit",
    "never": "structures that are drawn nowhere",
    "order": "slices in another order",
    "permuted": "structures with each other's numbers",
    "rare": "structures of hardly any pixel",
    "rims": "labels with smoothed edges",
    "shape": "labels of another size than their image",
    "sides": "left and right exchanged",
    "small": "very small structures",
    "subjects": "patients who may be one",
    "twins": "images that are alike",
    "undrawn": "drawn, though said not to be",
    "unreadable": "files that cannot be read",
    "unrelated": "labels that do not fit their image",
    "values": "values without a name",
}
ASKED = "Answer once; the answer is kept beside your data."


class FindingRow(widgets.VBox):
    """One finding: words, buttons, and a picture that is drawn when it is asked for.

    Parameters
    ----------
    finding : Finding
    hide : callable
        Takes IDs out of a text.
    controls : sequence of Widget
    draw : callable, optional
        Gives the picture as HTML; None where there is none.
    """

    def __init__(
        self,
        finding: Finding,
        hide: Callable[[str], str],
        controls: Sequence[widgets.Widget],
        draw: Callable[[], str] | None = None,
    ) -> None:
        self.finding, self.controls, self._draw = finding, tuple(controls), draw
        self.words, self.picture = widgets.HTML(_words(finding, hide)), widgets.HTML()
        self.picture.layout.display = "none"
        self.unfold = widgets.ToggleButton(
            description="Picture", icon="image", tooltip="Show the picture of this finding, or hide it"
        )
        self.unfold.layout.width = "auto"
        self.unfold.observe(lambda _: self._show(), "value")
        line = widgets.HBox(
            [*([self.unfold] if draw else []), *controls],
            layout=widgets.Layout(flex_flow="row wrap", margin="0 0 4px 14px"),
        )
        super().__init__([self.words, line, self.picture])

    @property
    def can_be_drawn(self) -> bool:
        """Whether there is a picture of it."""
        return self._draw is not None

    def press(self, words: str) -> None:
        """Click the button whose text begins with these words.

        Raises
        ------
        KeyError
            If there is no such button.
        """
        for control in self.controls:
            if isinstance(control, widgets.Button) and control.description.startswith(words):
                control.click()
                return
        raise KeyError(words)

    def _show(self) -> None:
        if self.unfold.value and self._draw is not None and not self.picture.value:
            try:
                self.picture.value = self._draw()
            except Exception as error:  # of one picture; the finding and its buttons stay usable
                self.picture.value = notice(f"The picture could not be drawn: {error}", "warning")
        self.picture.layout.display = "" if self.unfold.value else "none"


def offers(finding: Finding) -> list[tuple[str, tuple[Repair, ...]]]:
    """Give what a finding offers to mend: words, and the repairs that belong together."""
    by_case: dict[str, list[Repair]] = {}
    for repair in finding.repairs:
        by_case.setdefault(repair.case_id, []).append(repair)
    alike: dict[str, list[list[Repair]]] = {}
    for repairs in by_case.values():
        alike.setdefault(", then ".join(repair.words for repair in repairs), []).append(repairs)
    return [
        (words + (f" (on {len(cases)} images)" if len(cases) > 1 else ""), tuple(r for case in cases for r in case))
        for words, cases in alike.items()
    ]


def button(words: str, do: Callable[[], None], panel: Panel, tooltip: str = "") -> widgets.Button:
    """Give a button as wide as its words; what fails is said in the panel."""
    layout = widgets.Layout(width="auto", max_width="100%", margin="0 4px 2px 0", align_self="flex-start")
    made = widgets.Button(description=words, tooltip=tooltip or words, layout=layout)

    def clicked(_: widgets.Button) -> None:
        with panel.attempt():
            do()

    made.on_click(clicked)
    return made


def _words(finding: Finding, hide: Callable[[str], str]) -> str:
    lines = [finding.problem]
    lines += [f"Why: {finding.cause}"] if finding.cause else []
    remedy = ASKED if finding.kind == "absent" else finding.remedy.removeprefix("Or ").strip()
    remedy = remedy[:1].upper() + remedy[1:]
    lines += [f"What to do: {remedy}"] if remedy else []
    return notice(hide("\n".join(lines)), KINDS[finding.severity], announced=False)
