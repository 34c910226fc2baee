"""The computer: what it learns on, how fast, and what to do where something is amiss."""

from __future__ import annotations

import ipywidgets as widgets

from autoseg.model.device import Computer, find_computer, measure_speed
from autoseg.panels.parts.beginning import Beginning
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text


class ComputerPanel(Panel):
    """Shows memory, device and advice at once, and the speed as soon as it is measured; `value` is the Computer.

    `next_step` says what to do after it, for a notebook's first panel.
    """

    def __init__(self, *, next_step: str = "") -> None:
        super().__init__()
        self.facts = widgets.HTML()
        self.speed = widgets.HTML()
        self.advice = widgets.HTML()
        self.again = button(
            "Measure again",
            self.measure,
            "Look at the computer again and measure its speed, best while nothing else runs",
            width="140px",
        )
        beginning = (Beginning(words=next_step),) if next_step else ()
        facts = (self.facts, self.speed, self.advice, self.again)
        self.body.children = (*beginning, widgets.HTML(heading("Computer")), *facts)
        self.measure()

    def measure(self) -> None:
        """Look at the computer, then measure its speed in the background."""
        self.facts.value = self.speed.value = self.advice.value = ""
        with self.attempt():
            computer = find_computer()
            self.facts.value = text(f"This computer: {computer.machine}\nLearning on: {computer.learner}")
            self.advice.value = notice(computer.advice, "warning") if computer.advice else ""
            self.start(_speed, lambda words: self._measured(computer, words), saying="Measuring the speed …")
            self.value = computer  # it is known already; only its speed is not

    def _measured(self, computer: Computer, words: str) -> None:
        self.speed.value = text(words)
        self.value = computer


def _speed() -> str:
    """Measure; a speed that cannot be measured takes nothing from what is known of the computer."""
    try:
        return measure_speed()
    except (RuntimeError, MemoryError) as error:
        return f"Speed: could not be measured ({str(error).partition(chr(10))[0] or 'not enough memory'})."
