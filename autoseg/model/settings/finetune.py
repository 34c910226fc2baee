"""A group of settings: what of a trained model goes on learning when it is fine-tuned, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.model.settings.rules import require

# The parts that every network has (`autoseg.model.networks.parts_of`), from the image to the answer.
PARTS = ("contraction", "bottleneck", "expansion", "tail")
NOTHING = ("", "none")


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: the parts that rest, the peak learning rate, where it begins and ends (0 to 1)."""

    frozen: tuple[str, ...]
    learning_rate: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class FineTuneSettings:
    """What of a trained model goes on learning when it is fine-tuned; without effect in other trainings.

    The parts of a network are "contraction" (from the image downward), "bottleneck" (its deepest level),
    "expansion" (upward again) and "tail" (the answer). The learning rate is `learning_rate` of all settings, for
    which 0.00001 was found good, with the contraction frozen and nothing replaced.

    Parameters
    ----------
    frozen : tuple of str
        Parts that stay as they are, to the last bit; empty or "none": all learn. What had to begin anew in them
        learns nevertheless. Without effect where there are `phases`, which have their own.
    replaced : tuple of str
        Parts that begin anew instead of going on from the trained ones ("network surgery").
    rates : tuple of (str, float)
        Parts that learn more slowly or faster than the others: the part, and what its learning rate is multiplied
        by. Written as "contraction, 0.1; tail, 10".
    new_learning_rate : float
        The learning rate's peak where a layer begins anew, because it was replaced or did not fit; that of the
        others where it is higher. What was learnt already wants small steps, what is new the usual ones. `rates` do
        not count there.
    phases : tuple of (str, float, float)
        Stretches of the training one after the other, each with the parts that are frozen in it ("none", or
        several with + between), its own learning rate, and how long it is in proportion to the others. With 40
        epochs, "contraction+bottleneck, 0.0001, 10; none, 0.00001, 30" frees all parts after 10 of them. The
        schedule of the learning rate runs anew in each, and `patience` counts in the last one only. A phase begins
        with an epoch, and each has one at least where there is time.
    """

    frozen: tuple[str, ...] = ("contraction",)
    replaced: tuple[str, ...] = ()
    rates: tuple[tuple[str, float], ...] = ()
    new_learning_rate: float = 1e-3
    phases: tuple[tuple[str, float, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("frozen", "replaced"):
            value = getattr(self, name)
            parts = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, name, _known(name, parts))
        for name in ("rates", "phases"):
            object.__setattr__(self, name, tuple(tuple(row) for row in getattr(self, name)))  # JSON gives lists
        _require_some_learn("frozen", self.frozen)
        rate = self.new_learning_rate
        require(0 < rate < 10, f"new_learning_rate is {rate}; give more than 0, and less than 10.")
        self._check_rates()
        self._check_phases()

    def _check_rates(self) -> None:
        require(all(len(row) == 2 for row in self.rates), f"rates is {self.rates}; give pairs of part and factor.")
        parts = _known("rates", tuple(part for part, _ in self.rates))
        require(len(set(parts)) == len(parts), f"rates is {self.rates}; give each part once.")
        for part, factor in self.rates:
            require(
                0 < factor <= 10000,
                f"rates is {self.rates}; {part} has {factor}. Give more than 0, at most 10000; a part that is not "
                "to learn is one of frozen.",
            )

    def _check_phases(self) -> None:
        for row in self.phases:
            require(
                len(row) == 3,
                f"phases is {self.phases}; give each three values: frozen parts, learning rate and length.",
            )
            parts, rate, length = row
            _require_some_learn("phases", _known("phases", tuple(parts.split("+"))))
            require(0 < rate < 10, f"phases is {self.phases}; the learning rate {rate} is not between 0 and 10.")
            require(0 < length < 1e6, f"phases is {self.phases}; the length {length} is not more than 0.")


def phases_of(settings: FineTuneSettings, learning_rate: float) -> tuple[Phase, ...]:
    """Give the phases of a fine-tuning; one where the settings have none.

    Examples
    --------
    >>> phases_of(FineTuneSettings(phases=(("contraction", 1e-4, 10), ("none", 1e-5, 30))), 1e-5)[1]
    Phase(frozen=(), learning_rate=1e-05, start=0.25, end=1.0)
    """
    if not settings.phases:
        return (Phase(settings.frozen, learning_rate),)
    total, done, found = sum(length for _, _, length in settings.phases), 0.0, []
    for parts, rate, length in settings.phases:
        frozen = _known("phases", tuple(parts.split("+")))
        found.append(Phase(frozen, rate, done / total, (done + length) / total))
        done += length
    return tuple(found)


def _known(name: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Give the parts, once each was found to be one; "none" is no part."""
    parts = tuple(part.strip() for part in parts)
    kept = tuple(part for part in parts if part.lower() not in NOTHING)
    unknown = [part for part in kept if part not in PARTS]
    require(not unknown, f"{name} names the part(s) {', '.join(unknown)}; a network has {', '.join(PARTS)}.")
    return kept


def _require_some_learn(name: str, frozen: tuple[str, ...]) -> None:
    require(set(frozen) != set(PARTS), f"{name} names all parts, so nothing would be learnt; leave one out.")
