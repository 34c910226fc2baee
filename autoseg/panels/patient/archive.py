"""Series from a hospital's archive (PACS), and what was found into it, on the page."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.data.codes import keep_without_ids
from autoseg.errors import DataError
from autoseg.files.pacs.asked import FoundSeries, Wanted
from autoseg.files.pacs.connection import Connection, read_connections
from autoseg.files.pacs.transfer import (
    Fetched,
    Sending,
    Sent,
    TransferProgress,
    get_series,
    plan_sending,
    search,
    send,
)
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text
from autoseg.panels.parts.table import html_table
from autoseg.prediction.run_dicom import DICOM, LEAVING
from autoseg.words import counted

# No field for passwords: a notebook may keep what its fields hold.
SET_UP = (
    "No archive is set up on this computer yet. In a terminal 'autoseg pacs NAME --url https://… --user YOU "
    "--check' does it once; the password goes into the system's keyring, never into a notebook. Then press Look "
    "again."
)
HOW_TO_SEARCH = "Search for a patient's ID, a name, or a day; * stands for letters that you do not know."
OBJECTS: dict[str, str] = {
    DICOM: "DICOM objects, beside the images (they name the patient)",
    LEAVING: "Copies without the patient (to the archive another patient)",
}
NOTHING_WRITTEN = (
    'Nothing is there to be sent yet. First press "Write DICOM objects" or "Copies without the patient".'
)
MOST_SHOWN = 5


class ArchivePanel(Panel):
    """What getting and sending share: a fold, the connection, and transfers that can be stopped."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.connection = field(
            widgets.Dropdown, "Archive", "One of those that are set up on this computer", label="100px"
        )
        self.again_button = button("Look again", self.look, "Look which archives are set up")
        self.stop_button = button("Stop", self.stop, "Stop before the next file")
        self.show_ids = tick("Show patient IDs", "Show IDs and names of patients in place of numbers")
        self.show_ids.observe(lambda _: self._redraw(), "value")
        self._stopped = threading.Event()
        self.inside = widgets.VBox()
        self.fold = widgets.Accordion([self.inside], titles=(title,), selected_index=None)
        self.fold.observe(lambda change: self.look() if change["new"] is not None else None, "selected_index")
        self.body.children = [self.fold]
        self.stop_button.disabled = True

    def look(self) -> None:
        """Look which connections are set up, and show what can be done with them."""
        chosen = self.connection.value
        with self.attempt():
            known = {one.name: one for one in read_connections()}
            self.connection.options = [(f"{name}: {one.place}", name) for name, one in known.items()]
            self.connection.value = chosen if chosen in known else next(iter(known), None)
            self.inside.children = self._rows() if known else [widgets.HTML(text(SET_UP)), _row(self.again_button)]

    def stop(self) -> None:
        """Stop a transfer before its next file."""
        self._stopped.set()

    def fail(self, error: BaseException) -> None:
        """Show why a search or a transfer failed."""
        self._lock_transfer(False)
        super().fail(error)

    def _rows(self) -> Sequence[widgets.Widget]:
        raise NotImplementedError

    def _redraw(self) -> None:
        """Show what was found once more, with other names."""

    def _chosen(self) -> Connection:
        for one in read_connections():
            if one.name == self.connection.value:
                return one
        raise DataError("The archive is not set up any more. Unfold this again, and choose another.")

    def _begin(self) -> None:
        self._stopped.clear()
        self._lock_transfer(True)

    def _tell(self, progress: TransferProgress) -> bool:
        self.progress(progress.share)
        self.say(f"{str(progress)[:1].upper()}{str(progress)[1:]} …")
        return self._stopped.is_set()

    def _lock_transfer(self, is_on: bool) -> None:
        """Let a transfer be stopped, and nothing be changed under it."""
        self.stop_button.disabled = not is_on
        self.connection.disabled = self.again_button.disabled = is_on


class FetchPanel(ArchivePanel):
    """Searches an archive for series and gets them; `value` is the folder that they are in, of one patient.

    `root` is where a folder for each patient is proposed.
    """

    def __init__(self, root: Path | str = "../data/from_pacs") -> None:
        super().__init__("From your archive, PACS (optional)")
        self.search_button = button("Search", self.search, style="primary", icon="search")
        self.get_button = button("Get", self.get, "Get the chosen series into the folder", style="primary")
        self._root = Path(root).resolve()
        self._found: tuple[FoundSeries, ...] = ()
        self.asked = {
            "patient_id": _typed("Patient's ID", "As the archive has it", "1234567"),
            "patient_name": _typed("or name", "As the archive writes it", "Doe^J*"),
            "study_date": _typed("or day", "Of the study: one day, or from-to", "20240131-20240229"),
            "modality": _typed("Only", "Of this modality", "MR"),
            "series_description": _typed("Described as", "Of the series", "*T2*"),
        }
        self.series = field(
            widgets.SelectMultiple,
            "Series",
            "Those to get, of one patient; Ctrl or Shift for several",
            width="100%",
        )
        self.series.rows = 8
        words = "The patient's folder; a new one, or the one with earlier series"
        self.into = field(widgets.Text, "Into", words, width="auto", label="100px")
        self.is_coded = tick("Without patient IDs", "Codes stand for the patient in all that is made of the folder")
        self.result = widgets.VBox()

    def search(self) -> None:
        """Search for series with what is typed."""
        self._found = ()
        self.result.children = ()
        with self.attempt():
            connection = self._chosen()
            wanted = Wanted(**{name: one.value.strip() for name, one in self.asked.items()})
            self.start(lambda: search(connection, wanted), self._show, saying="Searching …")

    def get(self) -> None:
        """Get the chosen series into the folder that is typed."""
        with self.attempt():
            connection, series, is_coded = self._chosen(), self.series.value, self.is_coded.value
            if not series:
                raise DataError("No series is chosen. Click on those that you want.")
            if not self.into.value.strip():
                raise DataError("Type the folder into which the series shall go.")
            into = Path(self.into.value.strip()).expanduser().resolve()

            def work() -> Fetched:
                if is_coded:
                    into.mkdir(parents=True, exist_ok=True)
                    keep_without_ids(into)
                return get_series(connection, series, into, named=not is_coded, on_progress=self._tell)

            self._begin()
            self.start(work, self._got, saying="Asking the archive …")

    def _rows(self) -> Sequence[widgets.Widget]:
        return [
            widgets.HTML(text(HOW_TO_SEARCH)),
            _row(self.connection),
            _row(*self.asked.values()),
            _row(self.search_button, self.show_ids),
            self.result,
        ]

    def _lock_transfer(self, is_on: bool) -> None:
        super()._lock_transfer(is_on)
        self.search_button.disabled = self.get_button.disabled = is_on

    def _show(self, found: tuple[FoundSeries, ...]) -> None:
        self._found = found
        if not found:
            self.say("The archive has no series that matches. Check the spelling, or use * for unknown letters.")
            return
        self._redraw()
        self.into.value = str(_new_folder(self._root))
        get = _row(self.get_button, self.stop_button, self.is_coded)
        self.result.children = [self.series, self.into, get]

    def _redraw(self) -> None:
        chosen, names = set(self.series.index), _patients([one.patient_id for one in self._found])
        shown = [(self._words(one, names[one.patient_id]), one) for one in self._found]
        self.series.options = shown
        self.series.index = tuple(place for place in sorted(chosen) if place < len(shown))

    def _words(self, one: FoundSeries, name: str) -> str:
        who = f"{one.patient_id} {one.patient_name}".strip() if self.show_ids.value else name
        count = "" if one.instances is None else counted(one.instances, "file")
        parts = (who, one.study_date, one.modality, f"{one.number} {one.description}".strip(), count)
        return ", ".join(filter(None, parts))

    def _got(self, fetched: Fetched) -> None:
        self._lock_transfer(False)
        there = [*fetched.folders, *fetched.earlier]
        lines = [f"{len(there)} series in {fetched.folder}."] if there else []
        lines += [f"Series {one.number} did not come: {why}" for one, why in fetched.failed]
        lines += ["Stopped; what is whole is kept. Get again for the rest."] if fetched.is_stopped else []
        self.say("\n".join(lines), "warning" if fetched.failed else "note" if fetched.is_stopped else "done")
        if there:
            self.value = fetched.folder


class SendPanel(ArchivePanel):
    """Sends what was written of a run to an archive, after showing what and where; `value` is a `Sent`."""

    def __init__(self) -> None:
        super().__init__("Into your archive, PACS (optional)")
        self.plan_button = button("Show what would be sent", self.plan, "Nothing is sent yet")
        self.send_button = button("Send", self.send, "Send these files", style="primary", icon="upload")
        self._folder: Path | None = None
        self._sending: Sending | None = None
        self.what = field(
            widgets.Dropdown, "Send", "What was written into the run's folder", width="500px", label="100px"
        )
        self.planned, self.actions = widgets.HTML(), widgets.VBox()
        for one in (self.what, self.connection):
            one.observe(lambda _: self._forget(), "value")

    def show(self, folder: Path | None) -> None:
        """Show what can be sent of a run's folder; what is being sent of another one stops."""
        self.stop()
        self._lock_transfer(False)
        self._folder = folder
        self._forget()
        if self.fold.selected_index is not None:
            self.look()

    def plan(self) -> None:
        """Show which files would go where."""
        self._forget()
        with self.attempt():
            connection, places = self._chosen(), [self._place()]
            self.start(lambda: plan_sending(connection, places), self._planned, saying="Reading the files …")

    def send(self) -> None:
        """Send the files that are shown."""
        sending = self._sending
        if sending is not None:
            self._begin()
            self.start(partial(send, sending, on_progress=self._tell), self._sent, saying="Sending …")

    def _place(self) -> Path:
        if self._folder is None or not self.what.value:
            raise DataError(NOTHING_WRITTEN)
        return self._folder / self.what.value

    def _rows(self) -> Sequence[widgets.Widget]:
        there = [name for name in OBJECTS if self._folder is not None and (self._folder / name).is_dir()]
        if not there:
            return [widgets.HTML(text(NOTHING_WRITTEN)), _row(self.again_button)]
        if list(there) != [name for _, name in self.what.options]:
            self.what.options = [(OBJECTS[name], name) for name in there]
            self.what.value = there[0]
        return [_row(self.what, self.connection), _row(self.plan_button, self.show_ids), self.planned, self.actions]

    def _lock_transfer(self, is_on: bool) -> None:
        super()._lock_transfer(is_on)
        self.what.disabled = self.plan_button.disabled = self.send_button.disabled = is_on

    def _forget(self) -> None:
        self._sending = None
        self.planned.value, self.actions.children = "", ()
        self.give_up()

    def _planned(self, sending: Sending) -> None:
        self._sending = sending
        self._redraw()
        self.actions.children = [_row(self.send_button, self.stop_button)]

    def _redraw(self) -> None:
        sending = self._sending
        if sending is None:
            return
        names = _patients([str(row["patient"]) for row in sending.rows])
        rows = [
            [str(row["patient"]) if self.show_ids.value else names[str(row["patient"])]]
            + [str(row[name]) for name in ("modality", "description", "files")]
            for row in sending.rows
        ]
        left = [f"Left out: {counted(count, 'file')}: {why}." for why, count in sending.left_out]
        head = ["Patient", "Kind", "Description", "Files"]
        self.planned.value = html_table(head, rows, label="What would be sent", align="lllr") + text(
            "\n".join([f"{sending.words}.", *left])
        )

    def _sent(self, sent: Sent) -> None:
        self._lock_transfer(False)
        done, bad = sent.of("sent"), sent.of("failed", "not sent")
        lines = [f"{counted(len(done), 'file')} of {len(sent.outcomes)} sent."]
        lines += [f"{one.file.path.name}: {one.why}" for one in done if one.why][:MOST_SHOWN]
        lines += [f"{one.state.capitalize()}: {one.file.path.name} {one.why}".strip() for one in bad[:MOST_SHOWN]]
        lines += [f"… and {len(bad) - MOST_SHOWN} more."] if len(bad) > MOST_SHOWN else []
        lines += ["Send again for the rest; what is sent twice is there once."] if bad else []
        self.say("\n".join(lines), "warning" if bad else "done")
        self.value = sent


def _patients(ids: Sequence[str]) -> dict[str, str]:
    """Give each patient a number, in the order in which they come."""
    return {one: f"patient {number}" for number, one in enumerate(dict.fromkeys(ids), start=1)}


def _new_folder(root: Path) -> Path:
    number = 1
    while (root / f"patient_{number}").exists():
        number += 1
    return root / f"patient_{number}"


def _typed(words: str, tooltip: str, example: str) -> widgets.Text:
    made: Any = field(widgets.Text, words, tooltip, width="300px", label="100px", placeholder=f"such as {example}")
    return made


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(parts, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
