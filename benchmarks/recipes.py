"""What another way of learning is worth beside today's plan: optimisers, batches, losses, on the same folds.

    python benchmarks/recipes.py FOLDER [--cpu-minutes 1 3] [--seeds 5] [--ways today adamw]

Seed s learns on fold s + 1 of `k_folds`, so that with five seeds every subject is scored once. Each way begins with
the plan's settings for the folder and changes one thing. A step of it is timed in seconds of one processor thread,
and it learns for as many steps as the minutes suffice for (as `pretrained.py --cpu-minutes`, which does the
work), so that a busy machine changes the duration and hardly the result. Lines are JSON in `--output`, to which a
later run adds; the table has differences from `today`, seed by seed.

One way lives here and not in autoseg, because it has to show first that it pays. "schedule-free": AdamW without a
falling rate, whose weights are the average of all steps (Defazio et al., 2024).
"""

import argparse
import json
import math
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch
from pretrained import measure
from torch import nn

from autoseg.data.cases import find_cases
from autoseg.data.split import k_folds
from autoseg.model.settings.settings import Settings
from autoseg.training import step as training_step
from autoseg.training.plan import change_settings, plan_settings


class ScheduleFree(torch.optim.Optimizer):
    """AdamW at points between its own path and the path's average, which is what is kept."""

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__(network.parameters(), {"lr": settings.learning_rate})
        self.decay, self.count, self.weight = settings.weight_decay, 0, 0.0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step by the gradients."""
        rate = self.param_groups[0]["lr"]
        self.count += 1
        self.weight += rate**2
        share = rate**2 / self.weight if self.weight else 1.0
        for weight in self.param_groups[0]["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state |= {"path": weight.clone(), "average": weight.clone(), "square": torch.zeros_like(weight)}
            state["square"].lerp_(weight.grad.square(), 0.001)
            scale = (state["square"] / (1 - 0.999**self.count)).sqrt_().add_(1e-8)
            state["path"].sub_(rate * (weight.grad / scale + self.decay * weight))
            state["average"].lerp_(state["path"], share)
            weight.copy_(state["path"].lerp(state["average"], 0.9))


Make = Callable[[nn.Module, Settings], torch.optim.Optimizer]


@dataclass(frozen=True)
class Way:
    """One way of learning: what is changed of the plan's settings, given today's, and another optimiser.

    `pixels` is the factor of the pixels' size, in millimetres or, where none are known, of the image's.
    """

    changes: Mapping[str, object] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    pixels: float = 1.0
    make: Make | None = None

    def settings(self, plan: Settings) -> Settings:
        """Give the plan's settings with this way's changes."""
        factors = {name: type(old := getattr(plan, name))(old * factor) for name, factor in self.factors.items()}
        shape, spacing = plan.preprocess.input_shape, plan.preprocess.spacing_mm
        if self.pixels != 1.0 and spacing is not None:
            factors["preprocess.spacing_mm"] = spacing * self.pixels
        if self.pixels != 1.0 and shape is not None:
            factors["preprocess.input_shape"] = tuple(round(size / self.pixels) for size in shape)
        return change_settings(plan, {**self.changes, **factors})


WAYS = {
    "today": Way(),
    "adamw": Way({"optimizer": "adamw"}),
    "schedule-free": Way({"schedule": "constant"}, make=ScheduleFree),
    "batch x 2": Way(factors={"batch_size": 2, "learning_rate": 1.41}),
    "batch / 2": Way(factors={"batch_size": 0.5, "learning_rate": 0.71}),
    "rate x 2": Way(factors={"learning_rate": 2}),
    "rate / 2": Way(factors={"learning_rate": 0.5}),
    "focal": Way({"loss.pixel": "focal"}),
    "Tversky": Way({"loss.overlap": "tversky"}),
    "turns of 20": Way({"augmentation.rotation_deg": 20.0}),
    "pixels x 1.5": Way(pixels=1.5),
    "pixels / 1.33": Way(pixels=0.75),
    "Dice stays": Way({"loss.overlap_until": math.inf}),
}


@contextmanager
def optimiser(make: Make | None) -> Iterator[None]:
    """Let trainings use another optimiser; where it keeps an average of its own, that is what they keep."""
    build, update = training_step.build_optimizer, training_step.Step.update
    if make is not None:

        def changed(step: training_step.Step, learning_rate: float) -> None:
            update(step, learning_rate)
            if isinstance(step.optimizer, ScheduleFree):
                weights = zip(step.network.parameters(), step.averaged.module.parameters(), strict=True)
                with torch.no_grad():
                    for weight, kept in weights:
                        kept.copy_(step.optimizer.state[weight].get("average", weight))

        training_step.build_optimizer = lambda network, settings, device, groups=None: make(network, settings)
        training_step.Step.update = changed
    try:
        yield
    finally:
        training_step.build_optimizer, training_step.Step.update = build, update


def learn_all(chosen: argparse.Namespace, rows: list[dict]) -> None:
    """Measure every time, seed and way that is not there yet, the ways side by side; keep each as it is done."""
    found = find_cases(chosen.folder, unlabelled="skip")
    typed = {"preprocess.spacing_mm": chosen.spacing_mm} if chosen.spacing_mm else {}
    for minutes in chosen.cpu_minutes:
        for seed in range(chosen.seeds):
            splits = k_folds(found.cases, folds=chosen.folds, seed=1)
            split = splits[seed % len(splits)]
            plan = plan_settings(
                found,
                minutes=minutes,
                seed=seed,
                test_subjects={case.subject_id for case in split.test},
                spatial_dims=chosen.dims,
                given=change_settings(Settings(), typed),
                typed=typed,
            )
            for name in chosen.ways:
                key = {"folder": chosen.folder.name + " 3-D" * (chosen.dims == 3), "minutes": minutes, "seed": seed}
                key["way"] = name
                if any(key.items() <= row.items() for row in rows):
                    continue
                way = WAYS[name]
                with optimiser(way.make):
                    row = key | measure(name, found, split, way.settings(plan.settings), minutes)
                with chosen.output.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                rows.append(row)
                dice = {one: scores["dice"] for one, scores in row["structures"].items()}
                print(f"{key} {row['steps']} steps, {dice}", flush=True)


def show(rows: list[dict]) -> None:
    """Print a line for each set, time and way: the mean Dice, and its differences from `today`, seed by seed."""

    def mean(row: dict, key: str, of: Callable[[float], float] = float) -> float:
        known = [of(one[key]) for one in row["structures"].values() if not math.isnan(one[key])]
        return statistics.mean(known) if known else math.nan

    heads = f"{'seeds':>6}{'steps':>7}{'Dice':>7}{'- today':>9}{'better':>9}{'|area|':>8}"
    print(f"\n{'':22}{'minutes':>8} {'way':16}{heads}")
    groups: dict[tuple, dict[int, dict]] = {}
    for row in rows:
        groups.setdefault((row["folder"], row["minutes"], row["way"]), {})[row["seed"]] = row
    for (folder, minutes, way), own in sorted(groups.items()):
        today = groups.get((folder, minutes, "today"), {})
        differences = [mean(own[seed], "dice") - mean(today[seed], "dice") for seed in own.keys() & today.keys()]
        gain = statistics.mean(differences) if differences else math.nan
        better = f"{sum(one > 0 for one in differences)} of {len(differences)}"
        dice = statistics.mean(mean(row, "dice") for row in own.values())
        area = statistics.mean(mean(row, "total_area_error_percent", abs) for row in own.values())
        steps = statistics.median(row["steps"] for row in own.values())
        numbers = f"{len(own):6}{steps:7.0f}{dice:7.3f}{gain:+9.3f}{better:>9}{area:7.1f}%"
        print(f"{folder[:21]:22}{minutes:8g} {way:16}{numbers}")


def main() -> None:
    """Measure whatever the output does not have yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cpu-minutes", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--spacing-mm", type=float)
    parser.add_argument("--dims", type=int, choices=(2, 3), default=2, help="learn from slices or from volumes")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--output", type=Path, default=Path("recipes.jsonl"))
    chosen = parser.parse_args()
    rows = [json.loads(line) for line in chosen.output.read_text().splitlines()] if chosen.output.exists() else []
    if chosen.folder is not None:
        learn_all(chosen, rows)
    show(rows)


if __name__ == "__main__":
    main()
