"""What every panel shares: a value, a line that says what happens, and work that leaves the page usable."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anywidget
import ipywidgets as widgets
import traitlets

from autoseg.errors import AutosegError, in_words, let_go
from autoseg.panels.parts.notebook import OF_ANOTHER_DAY
from autoseg.panels.parts.style import Kind, notice

if TYPE_CHECKING:
    from autoseg.data.cases import Case, Pseudonyms

HERE = Path(__file__).parent


class OwnKeys(anywidget.AnyWidget):
    """Lets the keys that are pressed in the panel around it (class `autoseg-panel`) do what they do elsewhere.

    While any panel is `busy`, those that follow it are empty; so that nothing moves under the hands, none gets
    lower meanwhile. It shows nothing, and brings the style that all panels share.
    """

    _esm = HERE / "panel.js"
    _css = HERE / "panel.css"
    busy = traitlets.Bool(False).tag(sync=True)


Result = TypeVar("Result")


class Panel(widgets.VBox):
    """A part of the page with a `value` that other panels follow.

    `value` is a frozen dataclass (`parts.values`), or None as long as there is none; it is set last, when the
    panel shows it already. Whatever fails stands in the panel as a sentence, and the value is None then:
    what is shown or handed on is never that of an earlier try. What a click does, a method or an argument of
    the panel does too.

    Subclasses build their widgets, put them into `body.children`, and use `attempt`, `start` and `say`. One that
    shows patients calls `hide_ids_of` with their cases, and may have a box `show_ids` to tick: what fails is then
    told without IDs, and `hidden` does the same for other words.
    """

    value = traitlets.Any(None, allow_none=True)

    def __init__(self) -> None:
        self.body = widgets.VBox()
        self.message = widgets.HTML()
        self.bar = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="60%", display="none"))
        self._work: threading.Thread | None = None
        self._number = 0
        self._lock = threading.RLock()
        self._pseudonyms: Pseudonyms | None = None
        self._keys = OwnKeys()
        super().__init__()
        self.stack(self.body, self.bar, self.message)
        self.add_class("autoseg-panel")

    def stack(self, *parts: widgets.Widget) -> None:
        """Put the parts of the panel one below the other."""
        self.children = [*parts, self._keys]

    def _ipython_display_(self) -> None:
        """Show the panel in a notebook, and beside it what stands there when the notebook is opened another day."""
        from IPython.display import HTML, display

        display(HTML(OF_ANOTHER_DAY))
        display(self._repr_mimebundle_(), raw=True)

    # --- what the panel says

    def say(self, words: str, kind: Kind = "note", *, details: str = "") -> None:
        """Show a sentence below the panel, in place of the last one; "" takes it away."""
        self.message.value = notice(words, kind, details=details) if words else ""

    def fail(self, error: BaseException) -> None:
        """Show why something failed, with the remedy, and take back the value."""
        self.say_failed(error)
        self.value = None

    def say_failed(self, error: BaseException) -> None:
        """Show why something failed, with the remedy."""
        self.progress(None)
        told = in_words(error, "for this")
        words, details = str(told or error), ""
        if told is not None:
            let_go(error)
        elif not isinstance(error, AutosegError):
            # A fault of ours, or of the computer: the sentence alone may not be enough to mend it.
            words = f"This did not work: {error or type(error).__name__}. The details may help whoever helps you."
            details = "".join(traceback.format_exception(error))
        self.say(self.hidden(words), "error", details=self.hidden(details))

    def progress(self, share: float | None) -> None:
        """Show a bar filled to `share` (0 to 1); None hides it."""
        self.bar.layout.display = "none" if share is None else ""
        self.bar.value = share or 0.0

    # --- who may be named

    show_ids: Any = None  # a box to tick, where there is one

    def hide_ids_of(self, cases: Sequence[Case], root: Path | None = None) -> None:
        """Name the patients of these cases by numbers from now on; of neither cases nor folder nothing is hidden.

        Of the folder `root` no other file is named either.
        """
        # Here, because it brings torch.
        from autoseg.training.plan import hide_ids

        self._pseudonyms = hide_ids(cases, root) if cases or root else None

    @property
    def pseudonyms(self) -> Pseudonyms | None:
        """What stands in place of IDs; None where they may be seen."""
        return None if self.show_ids is not None and self.show_ids.value else self._pseudonyms

    def hidden(self, words: str) -> str:
        """Give words with numbers in place of patients' IDs, unless those may be seen."""
        return words if self.pseudonyms is None else self.pseudonyms.hide(words)

    # --- what the panel does

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Show what fails inside as a sentence in the panel, never as a traceback on the page."""
        try:
            yield
        except Exception as error:
            self.fail(error)

    def start(
        self,
        work: Callable[[], Result],
        then: Callable[[Result], None],
        *,
        saying: str = "One moment …",
        keep: bool = False,
    ) -> None:
        """Do `work` in the background, then show its result; the page stays usable.

        The value is taken back first, unless the work has nothing to do with it (`keep`). Where `start` is called
        again before the work is done, the older work's result is dropped. `then` runs in the same thread; what
        either raises is shown in the panel.
        """
        with self._lock:
            self._number += 1
            number = self._number
            self._keys.busy = True
            if not keep:
                self.value = None
            self.say(saying)

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                with self._lock:  # else a result that came since would be taken back
                    if number == self._number:
                        (self.say_failed if keep else self.fail)(error)
                        self._keys.busy = False
                return
            with self._lock:
                if number == self._number:
                    self.progress(None)
                    self.say("")
                    with self.attempt():
                        then(result)
                    if number == self._number:  # else `then` has started the next work
                        self._keys.busy = False

        work_thread = threading.Thread(target=run, daemon=True, name=f"{type(self).__name__} {number}")
        with self._lock:  # `wait` must not meet a thread that has not begun, nor miss one begun by this one
            work_thread.start()
            self._work = work_thread

    def give_up(self, saying: str = "") -> None:
        """Take back the value; what is being done in the background is no longer wanted and will not be shown."""
        with self._lock:
            self.value = None
            self.drop_work(saying)

    def drop_work(self, saying: str = "") -> None:
        """Show nothing of what is being done in the background; the value stays."""
        with self._lock:
            self._number += 1
            self._keys.busy = False
            self.progress(None)
            self.say(saying)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the work in the background is done, for scripts and tests."""
        while (work := self._work) is not None and work is not threading.current_thread() and work.is_alive():
            work.join(timeout_s)
            if work.is_alive():
                raise TimeoutError(f"{type(self).__name__} was not done after {timeout_s} s.")

    def follow(self, other: Panel, update: Callable[[Any], None]) -> None:
        """Call `update` with another panel's value now and whenever it changes (None: there is none).

        `update` and the `then` of `start` never run at once, so what is shown is never of two values. Panels that
        follow each other must form no circle, nor may one that works change one that it follows.
        """

        def changed(change: Any) -> None:
            with self._lock, self.attempt():
                update(change["new"])

        other.observe(changed, "value")
        with self._lock, self.attempt():
            update(other.value)
