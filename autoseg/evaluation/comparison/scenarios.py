"""Named ways to bring a trained model to other images, to be put side by side on the same folds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.evaluation.crossvalidation.scenario import as_it_is
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import FineTuneSettings, Settings
from autoseg.training.finetuning import settings_from_base
from autoseg.training.plan import change_settings

ORIGINAL, SCRATCH = "original", "from scratch"


@dataclass(frozen=True)
class Way:
    """A way to fine-tune: what it is in a sentence, and how it changes the settings that a base gives."""

    words: str
    change: Callable[[Settings], Settings]


def _tuned(words: str, *, learning_rate: float = 1e-5, **finetune: object) -> Way:
    changes = {f"finetune.{name}": value for name, value in finetune.items()}
    return Way(words, lambda settings: change_settings(settings, {"learning_rate": learning_rate, **changes}))


WAYS: dict[str, Way] = {
    "fine-tuned": _tuned("The contraction rests, the others learn at 0.00001."),
    "fine-tuned faster": _tuned("The contraction rests, the others learn at 0.001.", learning_rate=1e-3),
    "all parts": _tuned("All parts learn at 0.001.", learning_rate=1e-3, frozen=()),
    "own rates": _tuned(
        "All parts learn, the nearer to the answer the faster: the tail at 0.001, the contraction at a tenth.",
        learning_rate=1e-3,
        frozen=(),
        rates=(("contraction", 0.1), ("bottleneck", 0.3), ("expansion", 0.6)),
    ),
    "in phases": _tuned(
        "First only expansion and tail learn, at 0.001, then all parts at 0.0003.",
        phases=(("contraction+bottleneck", 1e-3, 1.0), ("none", 3e-4, 2.0)),
    ),
    "new tail": _tuned("The answer begins anew, the contraction rests.", replaced=("tail",)),
    "new expansion": _tuned(
        "Expansion and tail begin anew, the contraction rests.", replaced=("expansion", "tail")
    ),
}
USUAL = (ORIGINAL, SCRATCH, "fine-tuned", "fine-tuned faster", "own rates")


def scenarios_of(
    base: TrainedModel,
    structures: Sequence[Structure],
    *,
    names: Collection[str] = (),
    minutes: float | None = None,
    epochs: int | None = None,
    seed: int = 0,
    changes: dict[str, object] | None = None,
    subjects: Collection[int] = (),
) -> dict[str, Scenario]:
    """Give scenarios by name: the model as it is, learnt from scratch, and fine-tuned in several ways.

    All prepare images as the model does and have its network, so that they differ in what they begin from alone.
    From scratch has the learning rate, batch size and schedule with which the model itself was trained.
    """
    known = (ORIGINAL, SCRATCH, *WAYS)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"There is no scenario {name!r}.{hint} Known: {', '.join(known)}.")
    time: dict[str, object] = {"seed": seed, "minutes": minutes, "epochs": epochs}
    if minutes is None and epochs is None:
        time["minutes"] = 3.0
    found: dict[str, Scenario] = {}
    for name in names or USUAL:
        if name == ORIGINAL:
            if names or _knows(base, structures):
                as_it_is(base, structures, name=base.name)
                found[name] = Scenario.original(base, seed=seed)
            continue
        start = base.settings if name == SCRATCH else WAYS[name].change(settings_from_base(base))
        if name == SCRATCH:
            start = replace(start, finetune=FineTuneSettings())
        settings = change_settings(start, time | (changes or {}))
        learning = Scenario(settings, None if name == SCRATCH else base)
        if not subjects:
            found[name] = learning
        for count in sorted(set(subjects)):
            found[f"{name} with {count} subject{'s' * (count != 1)}"] = replace(learning, subjects=count)
    return found


def _knows(base: TrainedModel, structures: Sequence[Structure]) -> bool:
    try:
        as_it_is(base, structures, name=base.name)
    except DataError:
        return False
    return True
