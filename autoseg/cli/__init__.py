"""The command line: the same functions as the notebooks, for servers and scripts."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from autoseg.cli import comparing, finetuning, learning
from autoseg.cli.options import hidden_output, keep_voxel_sizes, keep_without_ids
from autoseg.cli.parser import build_parser
from autoseg.errors import FEWER, LEARN_SMALLER, AutosegError, enough_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 if it went well, 1 with one sentence on the error stream if not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that the window cannot show ends no command
            stream.reconfigure(errors="replace")
    chosen = build_parser().parse_args(arguments)
    try:
        keep_without_ids(chosen)
    except AutosegError as error:
        print(f"autoseg: {error}", file=sys.stderr)
        return 1
    with hidden_output(chosen):
        return _run(chosen)


def _run_together(chosen: argparse.Namespace) -> None:
    """Run a command in the first of the processes that torchrun started; the others learn whatever it learns."""
    from autoseg.training.processes import join_processes
    from autoseg.training.training import follow

    with join_processes() as processes:
        if processes.is_first:
            keep_voxel_sizes(chosen)
            chosen.run(chosen)
        else:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one decides when to stop
            follow(processes)


def _run(chosen: argparse.Namespace) -> int:
    is_learning = chosen.run.__module__ in {part.__name__ for part in (learning, finetuning, comparing)}
    try:
        with enough_memory(f"for autoseg {chosen.command}", LEARN_SMALLER if is_learning else FEWER):
            if "TORCHELASTIC_RUN_ID" in os.environ:  # without torchrun torch need not be loaded yet
                _run_together(chosen)
            else:
                keep_voxel_sizes(chosen)
                chosen.run(chosen)
    except AutosegError as error:
        print(f"autoseg: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("autoseg: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, as in "| head", has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(
            f"autoseg: {error.filename or 'A file'} cannot be used: {error.strerror or error}. Check that it is "
            "there and that you may open it.",
            file=sys.stderr,
        )
        return 1
    return 0
