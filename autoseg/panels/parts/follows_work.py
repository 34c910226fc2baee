"""The panel that follows work of the kernel: start, stop, how far it is, its lines, and what came out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import ipywidgets as widgets

from autoseg.errors import AutosegError, DataError, in_words
from autoseg.panels.parts.background import Background, Budget, State
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.words import escaped

# The page is told something new at most so often; curves, and all that is slow to draw, more seldom.
GLANCE_S, SLOWLY_EVERY_S, SLOWLY_SHARE = 0.5, 2.0, 0.03
# So many of the printed lines are kept on the page; the work has them all.
MOST_LINES = 200

Asked = TypeVar("Asked")
Work = TypeVar("Work", bound=Background)


class FollowsWork(Panel, Generic[Asked, Work]):
    """Starts, stops and shows work that belongs to the kernel, not to the panel (`Background`).

    `asked` is what the panel above asks for, `running` the work that is shown; either may be None. A panel that is
    made anew finds the work of what is asked for, running or done, and starts no second one; the panel that was
    made last draws, older ones wait for the end. Errors are sentences in the panel.

    A subclass names itself in `noun` and says in `first` what is to be done before anything can start. It puts its
    pictures between the state and the lines with `build`, lets `ask` follow the panel above, and fills in `find`,
    `describe`, `draw_slowly`, `conclude`, and where they are needed `draw`, `describe_changes`, `describe_ready`
    and `arrange`. Its Start button calls `begin` with a function that starts the work.
    """

    noun = "work"
    first = "Choose above what is to be done."

    def __init__(self) -> None:
        super().__init__()
        self.asked: Asked | None = None
        self.running: Work | None = None
        self._news = threading.Event()

    def build(
        self,
        title: str,
        start: Callable[[], object],
        pictures: Sequence[widgets.HTML],
        *,
        start_tooltip: str,
        stop_words: str,
        stop_tooltip: str,
        more_buttons: Sequence[widgets.DOMWidget] = (),
    ) -> None:
        """Lay out buttons, state, bar, what is said, pictures and lines."""
        self.start_button = button("Start", start, start_tooltip, style="primary")
        self.stop_button = button(stop_words, self.stop, stop_tooltip)
        self.buttons = widgets.HBox(
            [self.start_button, self.stop_button, *more_buttons], layout=widgets.Layout(flex_flow="row wrap")
        )
        self.pictures, self.lines = tuple(pictures), widgets.HTML()
        self.state_line, self.note = widgets.HTML(), widgets.HTML()
        self.files = widgets.VBox()  # those that the message tells of
        self.share_bar = widgets.FloatProgress(
            min=0,
            max=1,
            tooltip=f"How much of the {self.noun} is done",
            layout=widgets.Layout(width="100%", max_width="900px", display="none"),
        )
        # Its lowest end is its beginning, so that it stays at the newest line unless somebody scrolls up.
        self.lines_box = widgets.Box(
            [self.lines],
            layout=widgets.Layout(
                display="none", flex_flow="column-reverse", max_height="150px", overflow="auto", flex="0 0 auto"
            ),
        )
        self.lines_box.add_class("autoseg-scrolls")
        self.body.children = (*self.pictures, self.lines_box)
        # What is said stands above the pictures, where it is seen without scrolling.
        top = (widgets.HTML(heading(title)), self.buttons, self.state_line, self.share_bar)
        self.stack(*top, self.bar, self.message, self.files, self.note, self.body)

    # --- what a subclass fills in

    def find(self, asked: Asked) -> Work | None:
        """Give the work of this kernel that does, or did, what is asked for."""
        raise NotImplementedError

    def describe(self, running: Work) -> str:
        """Say how far the work is."""
        raise NotImplementedError

    def draw(self, running: Work) -> None:
        """Draw what is drawn twice a second, beside the state."""

    def draw_slowly(self, running: Work) -> None:
        """Draw what takes longer; it gets a small share of the time."""
        raise NotImplementedError

    def conclude(self, running: Work) -> None:
        """Say how the work ended, and set the value."""
        raise NotImplementedError

    def describe_changes(self, running: Work, asked: Asked) -> str:
        """Say what was chosen since has to do with what is shown."""
        return ""

    def describe_ready(self) -> str:
        """Say whether something can be started, as long as nothing is shown."""
        return "Ready to start." if self.asked is not None else self.first

    # --- following, starting, stopping

    @property
    def is_active(self) -> bool:
        """Whether the work that is shown is not done yet."""
        return self.running is not None and self.running.is_active

    def ask(self, asked: Asked | None) -> None:
        """Take what is asked for now, and show the work of this kernel that does it, or did."""
        self.asked = asked
        if asked is not None and not self.is_active:
            found = self.find(asked)
            if found is not self.running:
                self.show(found)
        self.arrange()

    def begin(self, start: Callable[[Asked], Work]) -> None:
        """Start the work and show it, or say why it cannot be started."""
        try:
            if self.asked is None:
                raise DataError(f"There is nothing to start yet. {self.first}")
            self.show(start(self.asked))
        except (AutosegError, MemoryError, RuntimeError) as error:  # it did not start; what is shown stays
            told = in_words(error, f"for this {self.noun}")
            if told is None and not isinstance(error, AutosegError):
                raise
            self.arrange()
            self.say(str(told or error), "error")

    def stop(self) -> None:
        """Ask the work to stop; what is finished of it is kept."""
        if self.running is not None:
            self.running.stop()

    # --- showing

    def show(self, running: Work | None) -> None:
        """Show some work, running or done, or none."""
        with self._lock:
            self.value, self.running = None, running
            self.say("")
            self.files.children = ()
            for part in (*self.pictures, self.lines, self.state_line):
                part.value = ""
            self.arrange()
        if running is None:
            return
        running.viewer = self
        end = running.listen(self._news.set)
        self._work = threading.Thread(
            target=self._look_on, args=(running, end), daemon=True, name=f"panel of {running.name}"
        )
        self._work.start()

    def _look_on(self, running: Work, end: Callable[[], None]) -> None:
        """Draw what changes until the work is done, then hand on what came out."""
        slowly, is_told = Budget(SLOWLY_EVERY_S, SLOWLY_SHARE), False
        while running.is_active and self.running is running:
            if running.viewer is self:
                try:
                    self._draw(running, slowly)
                except Exception as error:  # looking on must not end
                    self.say(f"This cannot be drawn at the moment: {error} The {self.noun} goes on.", "warning")
            elif not is_told:
                self.say(f"This {self.noun} is shown by the panel that was made last.")
                is_told = True
            self._news.wait(1.0)
            self._news.clear()
            time.sleep(GLANCE_S)
        end()
        with self._lock:
            if self.running is running:
                with self.attempt():
                    self._draw(running, Budget(0, 1))
                    self.conclude(running)

    def _draw(self, running: Work, slowly: Budget) -> None:
        self.arrange()
        self.state_line.value = text(self.describe(running))
        self.share_bar.value = running.share()
        self.draw(running)
        if slowly.is_due():
            slowly.do(lambda: self._draw_slowly(running))

    def _draw_slowly(self, running: Work) -> None:
        self.draw_slowly(running)
        self.lines.value = lines_as_html(running.lines)

    def arrange(self) -> None:
        """Show the buttons that can be clicked now, and what has to be said of them."""
        running, asked = self.running, self.asked
        self.start_button.disabled = self.is_active or asked is None
        self.stop_button.disabled = not self.is_active or (running is not None and running.state is State.STOPPING)
        self.share_bar.layout.display = "" if self.is_active else "none"
        self.lines_box.layout.display = "flex" if running is not None and running.lines else "none"
        changes = self.describe_changes(running, asked) if running is not None and asked is not None else ""
        self.note.value = notice(changes, "warning") if changes else ""
        if running is None:
            self.state_line.value = text(self.describe_ready())


def describe_time(seconds: float) -> str:
    """Give a time in words, as roughly as it is known.

    Examples
    --------
    >>> [describe_time(s) for s in (3, 50, 200, 3500, 5400, 200000)]
    ['a few seconds', 'about a minute', 'about 3 minutes', 'about 58 minutes', 'about 1 h 30 min', 'about 56 hours']
    """
    minutes = round(seconds / 60)
    if seconds < 20:
        return "a few seconds"
    if minutes < 2:
        return "about a minute"
    if minutes < 60:
        return f"about {minutes} minutes"
    if minutes < 10 * 60:
        return f"about {minutes // 60} h {minutes % 60} min"
    return f"about {round(minutes / 60)} hours"


def lines_as_html(lines: Sequence[str]) -> str:
    """Give the latest lines that were printed."""
    left_out = len(lines) - MOST_LINES
    shown = [f"… {left_out} earlier lines"] if left_out > 0 else []
    shown += lines[-MOST_LINES:]
    return (
        '<pre role="log" aria-label="Printed lines" style="margin:0;font-size:11px;line-height:1.4;'
        "white-space:pre-wrap;word-break:normal;"
        f'color:var(--jp-ui-font-color1,inherit)">{escaped(chr(10).join(shown))}</pre>'
    )
