"""Several processes that train one network, each on its share of every batch; one alone is the usual case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from autoseg.errors import DataError, SettingsError
from autoseg.model.dataset import Batch
from autoseg.model.settings.settings import Settings
from autoseg.training.batches import has_batch_norm

# How long the others wait for the first one, which alone saves, and measures at the end. That a process has ended
# is noticed at once, by torchrun.
LONGEST_WAIT = timedelta(hours=12)

Add = Callable[[Tensor], Tensor]
Result = TypeVar("Result")


def alone(values: Tensor) -> Tensor:
    """Give what one process has, which is all there is."""
    return values


class _Sum(torch.autograd.Function):
    """Sums over all processes.

    Every process takes the same loss of these sums, so that its gradient by its own terms is the loss's by the
    sum: nothing is exchanged on the way back, and the weights' gradients add up to those of the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class GoneError(DataError):
    """Another process has ended, and says itself why."""


@dataclass(frozen=True)
class Processes:
    """The `count` processes of one training, of which this one is `rank`, from 0; the first one decides."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Tell whether this one decides, writes and speaks."""
        return self.rank == 0

    def share(self, batch: Batch) -> tuple[Batch, Add]:
        """Give this process's part of a batch that all have, and what adds up over the parts, for the losses.

        Where there are fewer images than processes, one without an image takes the first, and counts for nothing.
        """
        if self.count == 1:
            return batch, alone
        own = torch.arange(len(batch.images)).tensor_split(self.count)[self.rank]
        counts = len(own) > 0
        own = (own if counts else torch.zeros(1, dtype=torch.int64)).to(batch.images.device)
        targets = None if batch.targets is None else batch.targets[own]
        part = replace(
            batch, images=batch.images[own], labels=batch.labels[own], drawn=batch.drawn[own], targets=targets
        ).laid_out()
        return part, partial(self.add, counts=counts)

    def add(self, values: Tensor, *, counts: bool = True) -> Tensor:
        """Add up over all processes, known to autograd; what does not count is taken as 0."""
        if self.count == 1:
            return values
        with _in_words():
            return _Sum.apply(values if counts else values * 0)

    def add_gradients(self, network: nn.Module) -> None:
        """Add up the gradients of the network's weights, all in one piece."""
        gradients = [weights.grad for weights in network.parameters() if weights.grad is not None]
        if self.count == 1 or not gradients:
            return
        total = self.add(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        for gradient, values in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))

    def deal(self, pieces: Sequence[Result]) -> Sequence[Result]:
        """Give the pieces of work that are this process's: they go round."""
        return pieces[self.rank :: self.count]

    def gather(self, done: list[Result]) -> list[Result]:
        """Give what came of all pieces that were dealt, in their order, to every process; on the processor."""
        if self.count == 1:
            return done
        of_all: list[list[Result]] = [[] for _ in range(self.count)]
        with _in_words():
            dist.all_gather_object(of_all, done)
        return [of_all[k % self.count][k // self.count] for k in range(sum(map(len, of_all)))]

    def tell(self, *values: float) -> tuple[float, ...]:
        """Give the numbers that the first process has, whatever the others say."""
        if self.count == 1:
            return values
        told = torch.tensor(values, dtype=torch.float64)
        with _in_words():
            dist.broadcast(told, 0)
        return tuple(told.tolist())

    def hand_out(self, work: object) -> None:
        """Give the others what they shall do; the first one does. None: there is nothing more to do."""
        if self.count > 1:
            with _in_words():
                dist.broadcast_object_list([work], 0, device=torch.device("cpu"))

    def receive(self) -> Any:
        """Wait for what the first one hands out; never asked of a process that is alone."""
        work = [None]
        with _in_words():
            dist.broadcast_object_list(work, 0, device=torch.device("cpu"))
        return work[0]

    def check_same(self, network: nn.Module, facts: Iterable[object]) -> None:
        """Raise DataError on all processes where one has read other images, or has other weights to begin with."""
        if self.count == 1:
            return
        digest = sha256("\n".join(map(repr, facts)).encode())
        for values in network.state_dict().values():
            digest.update(values.detach().cpu().contiguous().numpy().tobytes())
        number = float(int.from_bytes(digest.digest()[:6], "big"))  # exact as a number
        same = self.add(torch.tensor(float(self.tell(number)[0] == number)))
        if int(same) != self.count:
            raise DataError(
                "The processes of this training did not read the same images, or do not begin with the same "
                "weights. Let no file change while they start, and use the same versions on every computer; then "
                "start again."
            )


ALONE = Processes()


def current_processes() -> Processes:
    """Give the processes that this one has joined; it is alone where it has not."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Processes(dist.get_rank(), dist.get_world_size())


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Meet the processes that torchrun started with this one; without torchrun it is alone.

    The first one then does what it would do alone; the others must `follow` (`autoseg.training.training`) until it
    leaves. Whatever training the first one begins in between, all of them learn.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo"
    with _in_words():
        dist.init_process_group(backend, timeout=LONGEST_WAIT)
    processes = current_processes()
    # Where it fails nothing is told: torchrun ends the others, and a goodbye would wait for one that is gone.
    yield processes
    if processes.is_first:
        processes.hand_out(None)
    dist.destroy_process_group()


def why_not_shared(settings: Settings, network: nn.Module) -> str:
    """Say what a network does that cannot be learnt by several processes at once; "" if nothing."""
    if has_batch_norm(network):
        return "normalises over the slices of a batch"
    return "matches its queries within a batch" if settings.network.name == "maskdino" else ""


def check_shareable(settings: Settings, network: nn.Module) -> None:
    """Raise SettingsError for what cannot be learnt by several processes at once."""
    if reason := why_not_shared(settings, network):
        raise SettingsError(
            f"The network {settings.network.name!r} {reason}, so it is trained by one process only. Start it "
            "without torchrun, or choose another network."
        )


@contextmanager
def _in_words() -> Iterator[None]:
    """Say in words that another process is gone."""
    try:
        yield
    except RuntimeError as error:  # a DistError is one
        if isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error):
            raise _gone(error) from error
        raise


def _gone(error: RuntimeError) -> GoneError:
    return GoneError(
        "Another process of this training has ended or does not answer; its own words tell why. What was "
        "saved can be gone on with (1_train offers it; on the command line --resume). "
        f"({str(error).splitlines()[0][:200]})"
    )
