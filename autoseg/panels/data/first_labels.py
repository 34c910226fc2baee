"""The panel for images without labels: draw a few slices, learn for a minute, correct what is proposed, again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import ipywidgets as widgets

from autoseg.data.cases import Pseudonyms
from autoseg.data.corrections.drawing import Drawing
from autoseg.data.corrections.keep import reading_of
from autoseg.data.corrections.kit import pictures_apart
from autoseg.image.structures import Structure
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.panels.parts.background import Turn
from autoseg.panels.parts.fields import button, field
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Kind, heading, text
from autoseg.panels.parts.viewer import SliceViewer
from autoseg.prediction.next_slices import NextSlice, Reason
from autoseg.training.rounds import (
    MINUTES,
    Agreement,
    Round,
    begin_rounds,
    find_agreement,
    keep_round,
    learn_round,
    next_round,
    read_names,
)
from autoseg.words import counted

WORDS = (
    "No labels yet? Draw them here. Name what you want to measure, draw it on three to five slices, best of two "
    "patients or more, and press Learn: a minute later a model proposes the outlines of all other slices. Correct "
    "the worst ones and learn again; it goes on from what it knows."
)
ON_A_SLICE = (
    "On a slice that you draw on, draw every structure that is there: what has no outline counts as absent. Where "
    "nothing is to be seen, or the proposed outlines are right, say so by the button below: nothing else tells "
    "such a slice from one that nobody looked at. Those are never learnt from, and what was filled between two "
    "slices is not either, until you draw on it or call it right."
)
BEGUN = "Draw on the slices that are listed above; each stroke is saved at once. Then press Learn."
NOBODY = "Say who draws (Drawn by): initials are enough."
POOR = 0.5  # a Dice below which a proposal is more work than an empty slice
ROW = {"align_items": "center", "flex_flow": "row wrap"}


class FirstLabelsPanel(Panel):
    """Lets the images of a folder without labels be drawn on, and learns from that; `value` is the last `Round`.

    All lies in a folder beside the images, called after it with `_drawn`, and is gone on with on another day.
    `use` gets the folder of cases from which a longer training can learn, and the ends of the names of its files of
    one image's channels, where there are several.
    """

    def __init__(self, use: Callable[[Path, Sequence[str]], None]) -> None:
        super().__init__()
        self._use = use
        self.source: Path | None = None
        self.round: Round | None = None
        self.drawing: Drawing | None = None
        self.viewer: SliceViewer | None = None
        self._is_learning = False
        self._stopping = threading.Event()  # of the learning that runs; each has its own
        self.names = field(
            widgets.Text,
            "Structures",
            "What you want to draw, with commas between; left and right are told by these words",
            width="520px",
            placeholder="psoas left, psoas right",
        )
        self.by = field(widgets.Text, "Drawn by", "Initials or a name; kept with the outlines", width="350px")
        self.begin_button = button(
            "Draw on these images",
            self.begin,
            "Open the images to draw on; nothing is written to their folder",
            style="primary",
            icon="pencil",
        )
        self.next = widgets.VBox()
        self._whys: list[tuple[NextSlice, widgets.HTML]] = []
        self.right_button = button(
            "This slice is right as it is",
            self.call_right,
            "You looked at the slice that is shown: its outlines are right, or nothing is on it",
            icon="check",
        )
        self.learn_button = button(
            "Learn (one minute)",
            self.learn,
            "Learn from the slices that you drew or called right, then propose the outlines of all others",
            style="primary",
            icon="play",
        )
        self.stop_button = button(
            "Stop and keep the best", lambda: self._stopping.set(), "End learning now", icon="stop"
        )
        self.use_button = button(
            "Use these labels",
            self.use,
            "Check what was drawn and learnt from as a folder with labels, for a longer training below",
            icon="arrow-down",
        )
        self.shown = widgets.VBox()
        fields = [self.names, self.by, widgets.HBox([self.begin_button])]
        self.asked = widgets.VBox([widgets.HTML(text(WORDS)), *fields])
        self.tools = widgets.VBox(
            [
                widgets.HTML(text(ON_A_SLICE)),
                widgets.HBox([self.right_button, self.learn_button, self.stop_button, self.use_button], layout=ROW),
            ]
        )
        self.stack(self.asked, self.next, self.shown, self.tools, self.bar, self.message)
        self._place()

    # --- what a click does, for scripts as well

    def offer(self, source: Path) -> None:
        """Offer to draw on the images of a folder."""
        if source != self.source:
            self._stopping.set()
            self._is_learning = False
            self.source, self.round, self.drawing, self.viewer = source, None, None, None
            self.hide_ids_of((), source)
            self.give_up()
        self._place()

    def begin(self) -> None:
        """Open the images to draw on, as the button does; what was drawn before is gone on with."""
        source, names = self.source, self.names.value
        if source is None:
            return
        if not self.by.value.strip():
            self.say(NOBODY, "error")
            return

        def work() -> tuple[Round, Drawing, tuple[str, ...]]:
            typed = read_names(names) if names.strip() else ()
            now = begin_rounds(source, source.parent / f"{source.name}_drawn", typed)
            return now, self._drawing_of(now), (*now.notes, *_say_others(typed, now.kit.structures))

        def then(found: tuple[Round, Drawing, tuple[str, ...]]) -> None:
            now, drawing, notes = found
            self._show(now, drawing)
            lines = [BEGUN, _say_whose(now), *map(self.hidden, notes)]
            self.say("\n".join(lines), "warning" if notes else "note")

        self.start(work, then, saying="Reading the images …")

    def call_right(self) -> None:
        """Say of the slice that is shown that it was looked at and is right, as the button does."""
        drawing, viewer = self.drawing, self.viewer
        if drawing is None or viewer is None:
            return
        with self.attempt():
            drawing.call_right((viewer.image_index, viewer.slice_index))
            drawing.save()
            self._list_next()
            where = f"Image {viewer.image_index + 1}, slice {viewer.slice_index + 1}"
            self.say(f"{where} is right. {self._so_far()}", "done")

    def learn(self) -> None:
        """Keep what was drawn, learn from it, and propose the outlines of all other slices, as the button does."""
        now, drawing, viewer = self.round, self.drawing, self.viewer
        if now is None or drawing is None or viewer is None or self._is_learning:
            return
        self._is_learning, self._stopping = True, threading.Event()
        stopping = self._stopping

        def work() -> tuple[Round, Drawing, Agreement | None]:
            keep_round(now, drawing)
            agreement = find_agreement(now, drawing)
            turn = Turn(f"first labels of {now.folder.name}")
            try:
                model, _ = learn_round(now, on_epoch=self._tell_epoch(), should_stop=stopping.is_set)
            finally:
                turn.give_back()
            # Who chose another folder meanwhile goes on another day with the round that was drawn in.
            after = next_round(now, drawing, model, on_image=self._tell_image) if self.round is now else now
            return after, self._drawing_of(after), agreement

        def then(found: tuple[Round, Drawing, Agreement | None]) -> None:
            self._is_learning = False
            after, again, agreement = found
            self._show(after, again)
            words, kind = _say_agreement(agreement)
            self.say(f"{words} Now correct the slices that are listed first, and learn again.", kind)

        viewer.end_drawing()
        self._place()
        self.start(work, then, saying="Keeping what was drawn …")

    def use(self) -> None:
        """Hand on the folder of what was drawn and learnt from, as the button does."""
        if self.round is not None:
            reading = reading_of(self.round.kit.cases[0])
            self._use(self.round.cases_folder, reading.channels if reading else ())

    def fail(self, error: BaseException) -> None:
        """Show why something failed; what was drawn is not lost, and can be gone on with."""
        self._is_learning = False
        super().fail(error)
        if self.drawing is not None and self.viewer is not None:
            self.viewer.draw(self.drawing, self.hidden)
        self._place()
        self.value = self.round

    # --- showing

    def _drawing_of(self, now: Round) -> Drawing:
        # Images may be called after patients.
        results = [
            (replace(image, source=replace(image.source, case_id=f"image {number}")), label_map)
            for number, (image, label_map) in enumerate(now.results, start=1)
        ]
        return Drawing(now.kit, results, by=self.by.value, before=now.before)

    def _show(self, now: Round, drawing: Drawing) -> None:
        self.round, self.drawing = now, drawing
        self._pseudonyms = Pseudonyms(_numbers_of(now), root=self.source)
        results = [(image, drawing.label_map(number)) for number, image in enumerate(drawing.images)]
        self.viewer = SliceViewer(results)
        self.viewer.draw(drawing, self.hidden)
        self.viewer.observe(self._tell_drawn, "_corrected")
        chosen = self._list_next()
        if chosen:
            self._go(chosen[0])
        self._place()
        self.value = now

    def _list_next(self) -> tuple[NextSlice, ...]:
        """List the slices that are worth drawing next, each with its reason."""
        now, drawing = self.round, self.drawing
        if now is None or drawing is None:
            return ()
        chosen = now.next_slices(drawing.looked_at)
        self._whys = [(one, widgets.HTML(text(say_why(one)))) for one in chosen]
        rows = [
            widgets.HBox(
                [
                    button(
                        f"Image {one.place[0] + 1}, slice {one.place[1] + 1}",
                        partial(self._go, one),
                        "Show this slice",
                        width="180px",
                    ),
                    why,
                ],
                layout=ROW,
            )
            for one, why in self._whys
        ]
        self.next.children = [widgets.HTML(heading("Slices to draw next")), *rows]
        return chosen

    def _tell_drawn(self, _: object) -> None:
        """Say of listed slices that they are drawn; their order stays, so that nothing moves under the hands."""
        looked_at = self.drawing.looked_at if self.drawing is not None else frozenset()
        for one, why in self._whys:
            why.value = text("drawn" if one.place in looked_at else say_why(one))

    def _go(self, chosen: NextSlice) -> None:
        if self.viewer is not None:
            image, index = chosen.place
            self.viewer.show(f"image {image + 1}", index)

    def _place(self) -> None:
        """Show what there is something to do with."""
        is_drawing = self.drawing is not None
        self.shown.children = [self.viewer] if self.viewer is not None else []
        self.asked.layout.display = "none" if is_drawing else ""
        for part in (self.next, self.tools):
            part.layout.display = "" if is_drawing else "none"
        for one in (self.right_button, self.learn_button, self.use_button):
            one.disabled = self._is_learning
        self.stop_button.layout.display = "" if self._is_learning else "none"
        is_kept = self.round is not None and self.round.cases_folder.is_dir()
        self.use_button.layout.display = "" if is_kept and not self._is_learning else "none"

    def _so_far(self) -> str:
        count = 0 if self.drawing is None or self.round is None else len(self.drawing.looked_at | self.round.before)
        return f"{counted(count, 'slice')} can be learnt from."

    def _tell_epoch(self) -> Callable[[EpochResult, TrainedModel, TrainedModel], None]:
        start = time.monotonic()

        def tell(result: EpochResult, best: TrainedModel, last: TrainedModel) -> None:
            self.progress(min(1.0, (time.monotonic() - start) / (60 * MINUTES)))
            self.say(f"Learning: epoch {result.epoch} …")

        return tell

    def _tell_image(self, number: int, count: int) -> None:
        self.progress(number / count)
        self.say(f"Proposing outlines: image {number} of {count} …")


def say_why(chosen: NextSlice) -> str:
    """Say why a slice is worth drawing.

    Examples
    --------
    >>> say_why(NextSlice((0, 4), Reason.UNLIKE, 12))
    '12 slices look more like it than like any that is drawn'
    """
    if chosen.reason == Reason.PATIENT:
        return "nothing is drawn of this patient yet"
    if chosen.reason == Reason.DOUBT and chosen.doubt is not None:
        return f"the model is in doubt about {chosen.doubt:.0%} of a usual area"
    slices = counted(chosen.stands_for, "slice")
    return f"{slices} {'looks' if chosen.stands_for == 1 else 'look'} more like it than like any that is drawn"


def _numbers_of(now: Round) -> dict[str, str]:
    """Give what stands for images and patients, by each of their names."""
    numbers: dict[str, str] = {}
    for number, (image, label_map) in enumerate(now.results, start=1):
        parts = [part.source.case_id for _, part, _ in pictures_apart(image, label_map)]
        for name in (image.source.case_id, image.source.subject_id, *parts):
            numbers.setdefault(name, f"image {number}")
    return numbers


def _say_others(typed: Sequence[Structure], begun: Sequence[Structure]) -> tuple[str, ...]:
    """Say with which structures it goes on, where others were typed."""
    names = [one.name for one in begun]
    if not typed or {one.name for one in typed} == set(names):
        return ()
    return (f"It goes on with the structures that the drawing began with: {', '.join(names)}.",)


def _say_whose(now: Round) -> str:
    """Say of how many patients the images are, and what to do where nobody but the files' names tells it."""
    count = len({image.source.subject_id for image in now.images})
    words = f"These are {counted(len(now.images), 'image')} of {counted(count, 'patient')}."
    if count == 1 or any(one.sop_uid for image in now.images for one in image.source.slices):
        return words
    return (
        f"{words} That is taken from names of files and folders. If several images are of one person, say so "
        f"before you draw, in subjects.csv beside them (case_id, subject_id), delete {now.folder.name} and begin "
        "again: else the score below is of people whom the model knows."
    )


def _say_agreement(agreement: Agreement | None) -> tuple[str, Kind]:
    """Say how good the outlines before were, and how that is to be taken; those of now nobody has compared yet."""
    if agreement is None:
        words = "Outlines are proposed. How good they are your corrections tell: you read it here after the next."
        return words, "note"
    dice, slices = agreement.dice, counted(agreement.slices, "slice")
    if agreement.are_strangers:
        whose = f"On {slices} of patients of whom nothing was learnt"
    else:
        whose = f"On {slices} of patients whom the model knew, which is easier than new ones,"
    words = f"New outlines are proposed. {whose} the ones before agreed with yours by a Dice of {dice:.2f}."
    if dice < POOR:
        return f"{words} That is poor: most outlines were wrong. Draw a few more slices.", "warning"
    return words, "done" if agreement.are_strangers else "note"
