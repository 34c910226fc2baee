"""Both notebooks in JupyterLab and a real Chromium, as a user runs them: open, Run All, read."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = pytest.mark.browser
TOKEN = "for-this-test-only"


@pytest.fixture
def lab(root, tmp_path):
    """A JupyterLab of its own, on a copy of the notebooks and the sample; gives its address and its folder."""
    home = tmp_path / "home"
    for name in ("notebooks", "data/sample"):
        shutil.copytree(root / name, home / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    _shorten(home / "notebooks" / "1_train.ipynb")
    environment = dict(os.environ)
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        environment[f"JUPYTER_{name}"] = str(tmp_path / name)
    for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR"):
        environment[name] = str(tmp_path / name)
    quiet = tmp_path / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    port = _free_port()
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root"]
    options += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home}"]
    with (tmp_path / "lab.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}")
            yield f"http://127.0.0.1:{port}", home
        finally:
            process.terminate()
            process.wait(timeout=30)


def _free_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _shorten(notebook):
    """Let the notebook learn for a few epochs on coarse pixels: the way is tested here, not the result."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    (cell,) = [cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    cell["source"] = [*cell["source"], "\nepochs, minutes, spacing_mm = 3, None, 9.0"]
    notebook.write_text(json.dumps(content), encoding="utf-8")


def _wait_for(address, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _run_all(page, address, home, name, seconds=240):
    """Open a notebook, run all its cells and give its saved content."""
    path = home / "notebooks" / f"{name}.ipynb"
    page.goto(f"{address}/lab/tree/notebooks/{name}.ipynb?token={TOKEN}&reset")
    page.wait_for_selector(".jp-Notebook", timeout=60_000)
    # Earlier requests are lost without a word.
    page.wait_for_function("document.body.innerText.includes('| Idle')", timeout=60_000)
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells >> nth=0")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        code = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
        failed = [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
        assert not failed, failed[0]["evalue"]
        if all(cell["execution_count"] for cell in code):
            return code
    pytest.fail(f"{name} was not done after {seconds} s")


def test_train_and_test_in_a_real_browser(lab, chromium, tmp_path):
    from playwright.sync_api import sync_playwright

    address, home = lab
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        complaints = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        _run_all(page, address, home, "1_train")
        assert [path.name for path in (home / "trained_model").glob("*.pt")] == ["heart_3.pt"]
        code = _run_all(page, address, home, "2_test")
        kinds = [set().union(*(out.get("data", {}) for out in cell["outputs"])) for cell in code]
        assert sum("image/png" in kind for kind in kinds) == 2  # the series, and the areas along the body
        player = page.locator("input[aria-label=slice]").first
        player.scroll_into_view_if_needed()
        player.evaluate("e => { e.value = 7; e.dispatchEvent(new Event('input', {bubbles: true})); }")
        page.wait_for_function("document.body.innerText.includes('slice 8 of 10')", timeout=10_000)
        page.screenshot(path=str(tmp_path / "2_test.png"))
        browser.close()
    assert complaints == []
    (run,) = (home / "predictions").iterdir()
    assert (run / "areas.csv").stat().st_size > 500
