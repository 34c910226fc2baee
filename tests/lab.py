"""A JupyterLab on copies of the project's notebooks, driven through a real Chromium."""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from axe_playwright_python.base import AXE_SCRIPT

TOKEN = "for-this-test-only"
SCREENSHOTS = "AUTOSEG_SCREENSHOTS"  # the folder where pictures of the panels go
HOME = "AUTOSEG_HOME"  # the folder that pictures show in place of a temporary one
BROWSER_OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-gpu"]
# A viewer may stand outside a panel, and fill the screen.
AXE = """options => {
  const include = [".autoseg-panel", ".asv"].filter((name) => document.querySelector(name)).map((name) => [name]);
  return axe.run({ include }, options);
}"""
# What JupyterLab itself writes to the console in some versions, on any page.
NOT_OURS = ("favicon", "Failed to load resource: the server responded with a status of 404")


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab; `home` is the folder that it shows."""

    root: Path
    address: str
    home: Path

    def project(self, name: str, sample: Path | None = None) -> Path:
        """Make a folder with copies of the notebooks and of a `sample`, and empty ones for what is made."""
        place = self.home / ("autoseg" if HOME in os.environ else name)
        ignored = shutil.ignore_patterns(".ipynb_checkpoints")
        shutil.copytree(self.root / "notebooks", place / "notebooks", ignore=ignored)
        if sample is not None:
            shutil.copytree(sample, place / "data" / "sample")
        for folder in ("trained_model", "predictions"):
            (place / folder).mkdir(parents=True, exist_ok=True)
        return place

    def page_of(self, notebook: Path) -> str:
        """Give the address of a notebook."""
        return f"{self.address}/lab/tree/{notebook.relative_to(self.home).as_posix()}?token={TOKEN}&reset"

    def end_kernels(self) -> None:
        """End whatever still computes, so that nobody waits for its turn."""
        kernels = f"{self.address}/api/kernels"
        with urllib.request.urlopen(f"{kernels}?token={TOKEN}", timeout=30) as answer:
            running = json.load(answer)
        for kernel in running:
            end = urllib.request.Request(f"{kernels}/{kernel['id']}?token={TOKEN}", method="DELETE")
            urllib.request.urlopen(end, timeout=30).close()


@contextlib.contextmanager
def running_lab(root: Path, place: Path) -> Iterator[Lab]:
    """Start JupyterLab in `place`, without a screen and with settings of its own."""
    home = Path(os.environ.get(HOME) or place / "home")
    home.mkdir(parents=True, exist_ok=True)
    settings = os.environ | {
        **{f"JUPYTER_{name}": str(place / name) for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")},
        **{name: str(place / name) for name in ("JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR")},
        "JUPYTER_PREFER_ENV_PATH": "1",
        "TMPDIR": str(place / "tmp"),  # where trainings of other tests hold the computer's turn
    }
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
        settings.pop(name, None)
    (place / "tmp").mkdir()
    workbench = load_workbench(root)
    begun = workbench.Place(place)
    workbench.lay_out(begun)
    settings["JUPYTERLAB_WORKSPACES_DIR"] = str(begun.layout.parent)
    # Where Node is installed, each page asks first whether JupyterLab should be built anew, which takes seconds.
    page = place / "CONFIG_DIR" / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True)
    page.write_text('{"buildCheck": false}', encoding="utf-8")
    port = free_port()
    options = [
        *workbench.CLOSED_LAB,
        "--no-browser",
        "--allow-root",
        f"--LabApp.app_settings_dir={begun.page.parents[1]}",
    ]
    options += [f"--port={port}", "--ServerApp.port_retries=0"]
    options.append("--expose-app-in-browser")  # with which a test changes the theme
    options += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home}"]
    with (place / "lab.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=settings, stdout=log, stderr=log
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}")
            yield Lab(root, f"http://127.0.0.1:{port}", home)
        finally:
            process.terminate()
            process.wait(timeout=30)


def write_notebook(path: Path, cells: list[str]) -> Path:
    """Write a notebook of code cells."""
    empty = {"metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
    code = [{"cell_type": "code", "id": f"c{i}", "source": text, **empty} for i, text in enumerate(cells)]
    content = {"cells": code, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def load_workbench(root: Path) -> ModuleType:
    """Import workbench.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("workbench", root / "workbench.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(address: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


class Notebook:
    """A notebook open in the browser; what a person does with mouse and keys, and the clicks counted."""

    def __init__(self, page, lab: Lab, path: Path) -> None:
        self.page, self.path, self.clicks = page, path, 0
        # Playwright by itself asks at every frame, which takes more of the processor than the page.
        page.wait_for_function = partial(page.wait_for_function, polling=100)
        self.complaints: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(error.stack or str(error)))
        page.goto(lab.page_of(path))
        page.wait_for_selector(".jp-Notebook", timeout=60_000)
        # Earlier requests are lost without a word.
        page.wait_for_function("document.body.innerText.includes('| Idle')", timeout=60_000)
        self.opened = time.monotonic()

    def _listen(self, message) -> None:
        if message.type == "error" and not any(word in message.text for word in NOT_OURS):
            self.complaints.append(message.text)

    def click(self, target, **options) -> None:
        """Click on a locator or selector, and count it."""
        self.clicks += 1
        (self.page.locator(target).first if isinstance(target, str) else target).click(**options)

    def run_all(self) -> None:
        self.click(".lm-MenuBar-itemLabel:text-is('Run')")
        self.click(".lm-Menu-itemLabel:text-is('Run All Cells')")

    def button(self, words: str):
        """Give the first button that can be seen with these words; an icon in front does not matter."""
        return self.page.locator("button:visible", has_text=words).first

    def wait_for_text(self, words: str, seconds: float = 60) -> None:
        """Wait until the words stand in some cell's output."""
        self.page.wait_for_function(
            "words => [...document.querySelectorAll('.jp-OutputArea')].some(e => e.textContent.includes(words))",
            arg=words,
            timeout=1000 * seconds,
        )

    def seconds(self) -> float:
        """Give the seconds since the notebook was open and ready."""
        return time.monotonic() - self.opened

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme: "Light" or "Dark"."""
        command = (
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab ' + name})"
        )
        self.page.evaluate(command, name)
        # JupyterLab fails where its veil over the change is drawn again before it is gone.
        self.page.wait_for_function(
            "name => document.body.dataset.jpThemeName === 'JupyterLab ' + name && "
            "!document.getElementById('jupyterlab-splash')",
            arg=name,
        )

    def faults(self, *, rules: Sequence[str] = ()) -> list[str]:
        """Give what axe-core finds serious or critical in the panels, by `rules` or by all: rule, element, why."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found = self.page.evaluate(AXE, options)
        return [
            f"{fault['id']}: {node['html'][:300]} {node['failureSummary']}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def check_access(self) -> None:
        """Hold what axe-core knows of those who hear the page, use it by keys, or see it in the dark theme."""
        faults = self.faults()
        self.theme("Dark")
        faults += [f"dark, {fault}" for fault in self.faults(rules=("color-contrast",))]
        self.theme("Light")
        assert faults == [], "\n".join(faults)

    def shot(self, path: Path, target: str | None = None) -> Path:
        """Keep a picture of the page, or of one element, brought into view first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            self.page.screenshot(path=str(path))
        else:
            element = self.page.locator(target).first
            element.scroll_into_view_if_needed()
            element.screenshot(path=str(path))
        return path

    def shot_cells(self, prefix: str, themes: Sequence[str] = ("Light",)) -> None:
        """Keep a picture of every cell's output in the folder that AUTOSEG_SCREENSHOTS names; nothing without it.

        The window is made tall enough to show each whole.
        """
        if SCREENSHOTS not in os.environ:
            return
        size = self.page.viewport_size
        self.page.set_viewport_size({"width": size["width"], "height": 2600})
        for theme in themes:
            folder = Path(os.environ[SCREENSHOTS]) / theme.lower()
            folder.mkdir(parents=True, exist_ok=True)
            self.theme(theme)
            outputs = self.page.locator(".jp-CodeCell .jp-Cell-outputWrapper")
            for number in range(outputs.count()):
                output = outputs.nth(number)
                if not output.is_visible():  # a cell that shows nothing
                    continue
                output.scroll_into_view_if_needed()
                self.page.wait_for_timeout(500)
                output.screenshot(path=str(folder / f"{prefix}_{number + 1}.png"))
        self.page.set_viewport_size(size)
