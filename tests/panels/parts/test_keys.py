"""Keys in a panel stay in the panel: JupyterLab would move to another cell, or delete one."""

import json

import pytest
from lab import BROWSER_OPTIONS, Notebook, running_lab

from autoseg.panels.parts.panel import OwnKeys, Panel

CELLS = ["from autoseg.panels.parts.chooser import FolderChooser\nFolderChooser('../data')", "'another cell'"]


def test_every_panel_keeps_its_keys():
    panel = Panel()
    assert "autoseg-panel" in panel._dom_classes
    assert any(isinstance(child, OwnKeys) for child in panel.children)


@pytest.fixture
def notebook(tmp_path):
    """A project of nothing but a notebook with a folder chooser, and folders to choose from."""
    cells = [
        {"cell_type": "code", "id": f"cell{n}", "metadata": {}, "source": s, "outputs": [], "execution_count": None}
        for n, s in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    for name in ("notebooks", "data/first", "data/second/inner"):
        (tmp_path / "project" / name).mkdir(parents=True)
    (tmp_path / "project" / "notebooks" / "keys.ipynb").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "project"


@pytest.mark.browser
def test_a_folder_is_chosen_with_the_keyboard_alone(notebook, tmp_path, chromium):
    from playwright.sync_api import sync_playwright

    with (
        running_lab(notebook, tmp_path, folders=("notebooks", "data")) as (address, home),
        sync_playwright() as tool,
    ):
        browser = tool.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        keys = Notebook(page, address, home, "keys")
        keys.run_all()
        page.wait_for_function("document.body.innerText.replaceAll('\\u00a0', ' ').includes('second — no images')")
        page.get_by_label("Inside").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        keys.button("Use second").wait_for()
        for key in ("Tab", "Enter"):  # Open
            page.keyboard.press(key)
        page.wait_for_function("document.body.innerText.replaceAll('\\u00a0', ' ').includes('inner — empty')")
        for key in ("d", "d", "x"):  # on the button: JupyterLab would delete or cut the cell
            page.keyboard.press(key)
        for key in ("Tab", "Enter"):  # Use this folder
            page.keyboard.press(key)
        keys.wait_for_text(f"{home}/data/second — no images, 1 folder")
        assert page.locator(".jp-CodeCell").count() == len(CELLS)
        assert keys.complaints == []
        browser.close()
