"""Which networks are compared: a tick for each, and the settings that all share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.data.split import subjects_of
from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison import ComparisonRequest, earlier_base
from autoseg.evaluation.comparison.own_entries import EXAMPLE, read_entries
from autoseg.evaluation.crossvalidation import Material, Scenario, describe_material
from autoseg.model.networks import NETWORKS, USUAL_NETWORKS
from autoseg.panels.comparison.entries import LABEL, EntriesPanel, PreviousComparison, with_words
from autoseg.panels.parts.fields import field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, text
from autoseg.panels.parts.values import Data
from autoseg.panels.training.settings import plan_table
from autoseg.training.plan import Plan, plan_comparison, set_aside
from autoseg.training.recipes import RECIPES, recipe

DATA_FIRST = "Choose your images above first; then there is something to compare on."

OWN_WORDS = (
    "Batch sizes, learning rates, losses or anything else side by side: each begins with the settings that all "
    "share, or with recipe=NAME, and changes what its line says. Their names, such as "
    "loss.overlap, are told where the pointer rests on a setting under More in 1_train."
)


class NetworksPanel(EntriesPanel):
    """Choose which networks and recipes are compared.

    Parameters
    ----------
    data : Panel
        Its value is a `panels.parts.values.Data`.
    chosen : collection of str, optional
        Names of networks and recipes; by default all networks.
    own : sequence of str
        Entries of your own, a line each, as `autoseg.evaluation.comparison.own_entries.read_entries` reads them.
    together, try_copies : bool
        Score the mean of all networks as well; score each with mirrored copies of the images as well.
    **asked
        `name`, `folder`, `minutes` or `epochs`, `folds`: as for `EntriesPanel`; by default 2 minutes and 3 folds.
    """

    def __init__(
        self,
        data: Panel,
        *,
        chosen: Collection[str] | None = None,
        own: Sequence[str] = (),
        together: bool = False,
        try_copies: bool = False,
        **asked: Any,
    ) -> None:
        super().__init__(**asked)
        self._source = data
        self._plan: Plan | None = None
        self._material: Material | None = None
        self.boxes = {one: tick(kind.title, _words(one), width="210px") for one, kind in RECIPES.items()}
        self.together = tick(
            "the mean of all of them together",
            "Their probabilities are averaged: often a little better, and as slow as all of them",
            value=together,
        )
        self.copies = tick(
            "each with mirrored copies of the images",
            "Each slice is segmented four times, mirrored, and the mean counts: takes four times as long",
            value=try_copies,
        )
        rows: list[widgets.Widget] = []
        for published, title in ((False, "Networks"), (True, "Published ways to learn")):
            rows.append(widgets.HTML(heading(title)))
            rows += [
                with_words(self.boxes[one], widgets.HTML(text(_words(one))))
                for one, known in RECIPES.items()
                if known.published == published
            ]
        self.own = field(
            widgets.Textarea,
            "One in each line",
            "A name, a colon, and the settings in which it differs; their names are told under More in 1_train",
            width="640px",
            label=LABEL,
            value="\n".join(own),
            placeholder=f"{EXAMPLE}\nby IoU: recipe=unext, loss.overlap=iou",
            rows=3,
            continuous_update=False,
        )
        self.own.layout.max_width = "calc(100% - 4px)"  # beside an open side bar; 2 px around it are the page's
        rows += [widgets.HTML(heading("Settings of your own")), widgets.HTML(text(OWN_WORDS)), self.own]
        self.table = widgets.HTML()
        why = ("The settings that all share, and why",)
        self.reasons = widgets.Accordion([self.table], titles=why, selected_index=None)
        also = (widgets.HTML(heading("Also")), self.together, self.copies)
        self.body.children = [*rows, *also, self.asked, self.reasons, self.time]
        with self.attempt():
            self._tick(USUAL_NETWORKS if chosen is None else chosen)
        for one in (*self.boxes.values(), self.own, self.together, self.copies):
            one.observe(lambda _: self._changed(), "value")
        self.follow(data, self._take_data)

    def people(self) -> tuple[str, ...]:
        """Give the patients who are not set aside."""
        if self._data is None:
            return ()
        cases = self._data.cases
        return tuple(subject for subject in subjects_of(cases.cases) if subject not in set_aside(cases))

    def tick_previous(self, previous: PreviousComparison) -> None:
        """Tick which means were scored, and type the entries of a person's own."""
        self.own.value = "\n".join(previous.own)
        self.together.value, self.copies.value = previous.together, previous.with_copies

    def _take_data(self, data: Data | None) -> None:
        self.give_up()
        self._data, self._plan = data, None
        self.hide_ids_of(data.cases.cases if data is not None else ())
        self.table.value = self.time.value = self.note.value = ""
        self.reasons.layout.display = "none"
        if data is None:
            self.give_up(DATA_FIRST)
            return
        self._offer_folds()
        self.prepare()

    def prepare(self) -> None:
        """Plan the settings that all share."""
        data = self._data
        if data is None:
            return
        with self.attempt():
            time = self.typed_time()
            self.start(lambda: plan_comparison(data.cases, **time), self._show_plan, saying="Planning …")

    def _show_plan(self, plan: Plan) -> None:
        # Who validates is drawn anew in each fold.
        self._plan = replace(plan, choices=tuple(c for c in plan.choices if c.name != "validation_subjects"))
        data = self._data
        self._material = None if data is None else describe_material(data.cases, data.findings, self._plan)
        self.table.value = plan_table(self._plan, plan.settings, "")
        self.reasons.layout.display = ""
        self.hand_on()

    def request(self, folder: Path) -> ComparisonRequest | None:
        """Give the networks that are ticked, with the plan's settings, or those of the previous comparison."""
        data, plan, chosen = self._data, self._plan, self.ticked()
        if data is None or plan is None or self._source.value is not data:
            return None
        if len(self.people()) < 2:
            raise DataError(
                "These are images of one patient. A comparison learns from some patients and is scored on others: "
                "add images of at least one other."
            )
        base = earlier_base(folder, plan.settings) or plan.settings
        own = read_entries(self.own.value.splitlines(), base)
        if len(chosen) + len(own) < 2:
            count = len(chosen) + len(own)
            raise SettingsError(f"Tick at least two; {count or 'nothing'} is ticked or typed.")
        return ComparisonRequest(
            data.cases.cases,
            data.cases.structures,
            {one: Scenario(recipe(one, base=base)) for one in chosen}
            | {name: Scenario(settings) for name, settings in own.items()},
            folder,
            folds=self.folds.value,
            test_subjects=set_aside(data.cases),
            together=self.together.value,
            try_copies="mirrored" if self.copies.value else None,
            base=base,
            material=self._material,
        )


def _words(name: str) -> str:
    return NETWORKS[name].words if name in NETWORKS else RECIPES[name].words
