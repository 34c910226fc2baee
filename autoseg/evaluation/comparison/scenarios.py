"""Named ways to bring a trained model to other images, to be put side by side on the same folds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison.entries import EntryName
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.evaluation.crossvalidation.scenario import as_it_is
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import FineTuneSettings, Settings
from autoseg.training.finetuning import settings_from_base
from autoseg.training.plan import change_settings

ORIGINAL, SCRATCH, OWN = "original", "from scratch", "own way"


@dataclass(frozen=True)
class NamedScenario:
    """What a scenario is in a sentence or two, and how it changes the settings that a base gives, if at all."""

    words: str
    change: Callable[[Settings], Settings] = lambda settings: settings


def _tuned(words: str, *, learning_rate: float = 1e-5, **finetune: object) -> NamedScenario:
    changes = {f"finetune.{name}": value for name, value in finetune.items()}
    return NamedScenario(
        words, lambda settings: change_settings(settings, {"learning_rate": learning_rate, **changes})
    )


SCENARIOS: dict[str, NamedScenario] = {
    ORIGINAL: NamedScenario("The model as it is. It learns nothing here: how much is there to gain?"),
    SCRATCH: NamedScenario("The same network, learnt from these images alone: is the model a help at all?"),
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
    names: Collection[str] = (),
    *,
    changes: Mapping[str, object] | None = None,
    subjects: Collection[int] = (),
    own: Mapping[str, object] | None = None,
) -> dict[str, Scenario]:
    """Give scenarios by name: the model as it is, learnt from scratch, and fine-tuned in several ways.

    All prepare images as the model does and have its network, so that they differ in what they begin from alone.
    From scratch has the learning rate, batch size and schedule with which the model itself was trained. `changes`
    are settings of all that learn, with their `minutes` or `epochs` (3 minutes) and their seed (0); each learns
    once from each number of `subjects`, otherwise from all. `own` are the settings of the scenario OWN.
    """
    for name in names:
        known = (*SCENARIOS, *([OWN] if own is not None else []))
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"There is no scenario {name!r}.{hint} Known: {', '.join(known)}.")
    shared: dict[str, object] = {"seed": 0, "minutes": None, "epochs": None, **(changes or {})}
    if shared["minutes"] is None and shared["epochs"] is None:
        shared["minutes"] = 3.0
    found: dict[str, Scenario] = {}
    for name in names or USUAL:
        if name == ORIGINAL:
            if names or _knows(base, structures):
                as_it_is(base, structures, name=base.name)
                found[name] = Scenario.original(base, seed=int(str(shared["seed"])))
            continue
        if name == SCRATCH:
            start = replace(base.settings, finetune=FineTuneSettings())
        else:
            start = settings_from_base(base)
            start = start if name == OWN else SCENARIOS[name].change(start)
        settings = change_settings(start, {**shared, **(own or {})} if name == OWN else shared)
        learning = Scenario(settings, None if name == SCRATCH else base)
        counts: list[int | None] = [*sorted(set(subjects))]
        for count in counts or [None]:
            found[str(EntryName(name, count))] = replace(learning, subjects=count)
    return found


def _knows(base: TrainedModel, structures: Sequence[Structure]) -> bool:
    try:
        as_it_is(base, structures, name=base.name)
    except DataError:
        return False
    return True
