"""A chooser for folders that says what each holds, on the disk of the computer that runs the notebook."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anywidget
import ipywidgets as widgets

from autoseg.data.pairing.contents import (
    folder_contents,
    nearest_folder,
    roots,
    sub_folders,
    typed_folder,
    typed_path,
)
from autoseg.errors import DataError
from autoseg.panels.parts.fields import button, field
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.remembered import Chosen, remember, remembered
from autoseg.panels.parts.style import heading, text

# --- the system's own dialog for folders, where the notebook's computer has a screen to show it on

# tkinter wants the main thread, and takes the kernel with it when it fails: hence a process of its own.
DIALOG = """
import sys, tkinter
from tkinter import filedialog
window = tkinter.Tk()
window.withdraw()
window.attributes("-topmost", True)
chosen = filedialog.askdirectory(title=sys.argv[1], initialdir=sys.argv[2], mustexist=True)
sys.stdout.buffer.write((chosen or "").encode("utf-8", "surrogateescape"))
"""
LONGEST_S = 600


def why_no_dialog(
    environment: Mapping[str, str] | None = None, system: str = sys.platform, *, has_tkinter: bool | None = None
) -> str:
    """Say why the system's dialog cannot be shown, or "" where it can."""
    environment = os.environ if environment is None else environment
    if any(name.startswith("JUPYTERHUB_") for name in environment):
        return "This notebook runs on a hub: the dialog would open on a computer that nobody sits at."
    if system in ("win32", "darwin"):
        far = "SSH_CONNECTION" in environment
    else:
        far = not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    if far:
        return "The computer that runs this notebook has no screen for the dialog. Use the list."
    if has_tkinter is None:
        has_tkinter = importlib.util.find_spec("tkinter") is not None
    return "" if has_tkinter else "This Python has no tkinter, which draws the dialog. Use the list."


def ask_for_folder(start: Path, title: str) -> Path | None:
    """Show the dialog and wait; give the folder, or None where it was closed without one."""
    command = [sys.executable, "-c", DIALOG, title, str(start)]
    no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows: no black console beside the dialog
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST_S, creationflags=no_window)
    except subprocess.TimeoutExpired:
        raise DataError("The system's dialog was not answered. Open it again, or use the list.") from None
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise DataError(f"The system's dialog could not be shown ({last}). Use the list instead.")
    chosen = done.stdout.decode("utf-8", "surrogateescape")
    return Path(chosen) if chosen else None


# How long to count what one folder holds; the list shows at once and fills up.
SECONDS_EACH = 1.0
SECONDS_BETWEEN_UPDATES = 1.5


# A list of the page tells nobody of a double click.
DOUBLE_CLICK = """
function render({ model, el }) {
  el.style.display = "none";
  const enter = (event) => {
    const list = event.target.closest("select");
    const ours = list && list.closest(".autoseg-folders");
    if (ours && ours.parentElement.contains(el)) model.send({ line: list.selectedIndex });
  };
  window.addEventListener("dblclick", enter);
  return () => window.removeEventListener("dblclick", enter);
}
export default { render };
"""


class DoubleClick(anywidget.AnyWidget):
    """Calls `enter` with the line that is clicked twice, in the list beside it (class `autoseg-folders`)."""

    _esm = DOUBLE_CLICK

    def __init__(self, enter: Callable[[int], None]) -> None:
        super().__init__()
        self.on_msg(lambda _, message, buffers: enter(int(message["line"])))


@dataclass(frozen=True)
class _Place:
    """A folder that is shown, its sub-folders, and why another one that was asked for is not."""

    folder: Path
    inside: tuple[Path, ...]
    holds: str
    trouble: str = ""


class FolderChooser(Panel):
    """Lets a person choose a folder by typing, pasting or walking; `value` is its absolute Path, or None.

    Once a folder is chosen the panel folds to one line, from which it can be changed. Walking changes nothing: the
    folder stays chosen until another one is.

    Parameters
    ----------
    start : Path or str, optional
        Where to begin; by default the folder of the notebook. If it does not exist, the nearest above it.
    title : str
        What the folder is for.
    chosen : Path or str, optional
        Choose this folder at once; if it does not exist, the panel says so.
    describe : callable, optional
        Gives what a folder holds in words; by default its images and labels.
    remembers : str, optional
        What folders chosen here are remembered as; they are offered on other days.
    """

    def __init__(
        self,
        start: Path | str | None = None,
        *,
        title: str = "Choose a folder",
        chosen: Path | str | None = None,
        describe: Callable[[Path], str] | None = None,
        remembers: str = "",
    ) -> None:
        super().__init__()
        self.title, self.remembers = title, remembers
        self._given = None if chosen is None else Path(chosen).absolute().resolve()
        self.folder = Path.cwd()
        self._describe = describe or _holds
        self._inside: tuple[Path, ...] = ()
        self._former: Path | None = None
        self._filling = False
        self._build()
        if chosen is not None:
            self.body.children = (widgets.HTML(heading(title)),)
            self.choose(chosen)
        else:
            self.show(start if start is not None else Path.cwd())

    # --- what a click does, for scripts as well

    def show(self, folder: Path | str) -> None:
        """Show a folder and what its sub-folders hold, without choosing it."""
        self._unfold()
        self.start(lambda: self._look(str(folder)), self._list, saying="Looking …", keep=True)

    def choose(self, folder: Path | str) -> None:
        """Choose a folder; where it does not exist, say which is the nearest and show that."""
        self.start(lambda: self._look(str(folder), choosing=True), self._take, saying="Looking …")

    def cancel(self) -> None:
        """Leave it at the folder that was chosen before."""
        with self._lock:
            if self.value is not None:
                self.drop_work()
                self.folder = self.value
                self._fold()
            elif self._former is not None:  # another one was tried, and could not be had
                self.choose(self._former)

    def ask_system(self) -> None:
        """Show the system's own dialog and choose what is chosen there."""
        asking, folder = "The system's dialog is open; it may be behind this window.", self.folder
        self.start(lambda: ask_for_folder(folder, self.title), self._answered, saying=asking, keep=True)

    # --- the widgets

    def _build(self) -> None:
        self.path = field(
            widgets.Text,
            "Folder",
            "The folder that is shown. Type or paste another path and press Enter.",
            width="auto",
            label="80px",
            placeholder="Type or paste a path, then Enter",
        )
        (_, home), *self._disks = roots()
        self.up = button(
            "Up", lambda: self.show(self.folder.parent), "Show the folder above", icon="arrow-up", width="90px"
        )
        self.home = button(
            "Home", lambda: self.show(home), "Show your own folder on this computer", icon="home", width="90px"
        )
        self.places = field(
            widgets.Dropdown,
            "Go to",
            "Show a folder that was chosen before, or a drive or a disk of this computer",
            width="260px",
            label="initial",
            options=[("…", "")],
        )
        self.dialog = button("System dialog…", self.ask_system, "Choose in the system's own dialog", width="140px")
        self.why_no_dialog = why_no_dialog()
        if self.why_no_dialog:
            self.dialog.disabled, self.dialog.tooltip = True, self.why_no_dialog
        self.list = field(
            widgets.Select,
            "Inside",
            "Folders inside this one, and what they hold. Arrow keys choose one, a double click opens it.",
            width="auto",
            label="80px",
            rows=8,
        )
        self.holds = widgets.HTML(layout=widgets.Layout(margin="0 0 0 90px"))
        self.open = button(
            "Open", self._open, "Show the folder that is selected in the list", icon="folder-open", width="90px"
        )
        self.use = button("Use this folder", lambda: self.choose(self._pointed_at()), style="primary", icon="check")
        self.list.add_class("autoseg-folders")
        self.double_click = DoubleClick(self._enter)
        self.keep = button("Cancel", self.cancel)
        self.last = button("Last time", lambda: self.choose(self._last or self.folder))
        self._last: Path | None = None
        self.change = button(
            "Change…", lambda: self.show(self.value or self.folder), "Choose another folder", width="100px"
        )
        self.last.layout.flex = self.change.layout.flex = "0 0 auto"
        self.line = widgets.HTML(layout=widgets.Layout(flex="1 1 auto", min_width="0"))
        self.path.observe(lambda _: self._typed(), "value")
        self.places.observe(lambda _: self._go(), "index")
        self.list.observe(lambda _: self._selected(), "index")
        indented = widgets.Layout(margin="0 0 0 90px", flex_flow="row wrap")
        self._unfolded = (
            widgets.HTML(heading(self.title)),
            self.path,
            widgets.HBox([self.up, self.home, self.places, self.dialog], layout=indented),
            widgets.VBox([self.list, self.double_click]),
            self.holds,
            widgets.HBox([self.open, self.use, self.keep, self.last], layout=indented),
        )
        self._unfold()

    def _unfold(self) -> None:
        self.keep.layout.display = "" if self._former else "none"
        if self._former:
            self.keep.tooltip = f"Keep {self._former}"
        before = [(f"{_short(one.path)} ({one.day})", str(one.path)) for one in self._chosen_before()]
        self.places.options = [("…", ""), *before, *self._disks]
        self._offer_last(is_first=self._former is None)
        if self.body.children != self._unfolded:  # drawn anew, the page would lose the focus
            self.body.children = self._unfolded

    def _chosen_before(self) -> Sequence[Chosen]:
        return remembered(self.remembers) if self.remembers else ()

    def _offer_last(self, *, is_first: bool) -> None:
        """Offer the folder of last time, as long as nothing was chosen here."""
        last = next((one for one in self._chosen_before() if one.path != self.folder), None) if is_first else None
        self._last = None if last is None else last.path
        self.last.layout.display = "none" if last is None else ""
        if last is not None:
            self.last.description = f"As last time: {_short(last.path)}"
            self.last.tooltip = f"Choose {last.path}, as on {last.day}"

    # --- looking, in the background

    def _look(self, words: str, *, choosing: bool = False) -> _Place:
        """Find the folder, or the nearest that exists; runs in the background, because a drive may hang."""
        trouble = ""
        try:
            folder = typed_folder(words)
            inside = () if choosing else sub_folders(folder)
        except DataError as error:
            trouble, folder = str(error), self._nearest(words)
            inside = _sub_folders_or_none(folder)
        return _Place(folder, inside, self._describe(folder), trouble)

    def _nearest(self, words: str) -> Path:
        try:
            return nearest_folder(typed_path(words)) or Path.home()
        except DataError:
            return self.folder

    def _take(self, place: _Place) -> None:
        """Fold to one line and hand on the folder; or say why not."""
        if place.trouble:
            self._unfold()
            self._list(place)
            return
        self.folder, self._former = place.folder, place.folder
        if self.remembers and not self._is_given:
            remember(self.remembers, place.folder)
        self.line.value = text(f"Folder: {place.folder} — {place.holds}")
        self._fold()
        self.value = place.folder

    @property
    def _is_given(self) -> bool:
        """Whether the folder that was chosen last is the one of the panel's argument."""
        return self._former is not None and self._former.resolve() == self._given

    def _fold(self) -> None:
        """Show the one line of the folder that is chosen."""
        self._offer_last(is_first=self._is_given)
        self.body.children = (
            widgets.HTML(heading(self.title)),
            widgets.HBox([self.line, self.last, self.change], layout=widgets.Layout(align_items="center")),
        )

    def _list(self, place: _Place) -> None:
        """Show the folder's sub-folders by name; what they hold follows from the background."""
        self.folder, self._inside = place.folder, place.inside
        self.path.value = str(place.folder)
        self.up.disabled = place.folder.parent == place.folder
        self.holds.value = text(f"{_short(place.folder)} holds: {place.holds}")
        lines = [path.name for path in place.inside]
        self._fill(lines, keep=False)
        self.start(
            lambda: self._count(place.inside, lines), lambda _: self._counted(lines, place.trouble), keep=True
        )
        self._say_trouble(place.trouble, otherwise="Counting what the folders hold …" if place.inside else "")

    def _count(self, inside: tuple[Path, ...], lines: list[str]) -> None:
        """Say what each folder holds, and show it from time to time where that takes long."""
        shown = time.monotonic()
        mine = self._number
        for number, path in enumerate(inside):
            lines[number] = f"{path.name} — {self._describe(path)}"
            if mine != self._number:
                return  # something else is going on by now
            if time.monotonic() - shown > SECONDS_BETWEEN_UPDATES:
                self._fill(lines)
                shown = time.monotonic()

    def _counted(self, lines: list[str], trouble: str) -> None:
        self._fill(lines)
        self._say_trouble(trouble)

    def _say_trouble(self, trouble: str, *, otherwise: str = "") -> None:
        self.say(trouble or otherwise, "error" if trouble else "note")

    def _answered(self, chosen: Path | None) -> None:
        if chosen is not None:
            self.choose(chosen)

    # --- the list

    def _fill(self, lines: list[str], *, keep: bool = True) -> None:
        index = self.list.index if keep else None
        with self.list.hold_sync():
            self._filling = True
            self.list.options = [(line, number) for number, line in enumerate(lines)]  # selects the first
            self.list.index = index
            self._filling = False
        self._selected()

    def _selected(self) -> None:
        if self._filling:
            return
        index = self.list.index
        name = "" if index is None else _short(self._inside[index])
        self.use.description = f"Use {name}" if name else "Use this folder"
        self.use.tooltip = f"Choose {self._pointed_at()}"

    def _pointed_at(self) -> Path | str:
        """Give the folder selected in the list, or else what stands in the field: it may just have been typed."""
        return self.path.value if self.list.index is None else self._inside[self.list.index]

    def _open(self) -> None:
        if self.list.index is None:
            self.say("Choose a folder in the list first; Open then shows what is in it.", "warning")
        else:
            self.show(self._pointed_at())

    def _enter(self, line: int) -> None:
        if 0 <= line < len(self._inside):
            self.show(self._inside[line])

    def _typed(self) -> None:
        if self.path.value.strip() != str(self.folder):
            self.list.index = None
            self.show(self.path.value)

    def _go(self) -> None:
        if self.places.value:
            place, self.places.index = self.places.value, 0  # so that the same place can be gone to again
            self.show(place)


def _holds(folder: Path) -> str:
    return folder_contents(folder, seconds=SECONDS_EACH).words


def _sub_folders_or_none(folder: Path) -> tuple[Path, ...]:
    try:
        return sub_folders(folder)
    except DataError:
        return ()


def _short(folder: Path) -> str:
    """Give a folder's name, cut where it is too long for a button."""
    name = folder.name or str(folder)
    return name if len(name) <= 30 else f"{name[:29]}…"
