"""The system's own dialog for folders, where the notebook's computer has a screen to show it on."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from autoseg.errors import DataError

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
    """Say why the system's dialog cannot be shown, or "" where it can.

    Parameters
    ----------
    environment : mapping, optional
        The environment variables; by default this process's.
    system : str
        As `sys.platform`.
    has_tkinter : bool, optional
        Whether Python has its window package; by default looked up.
    """
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
    """Show the dialog and wait; give the folder, or None where it was closed without one.

    Raises
    ------
    DataError
        If the dialog cannot be shown, or is not answered in ten minutes.
    """
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
