"""Keys in a panel stay in the panel: JupyterLab would move to another cell, or delete one."""

import pytest
from lab import write_notebook

pytestmark = pytest.mark.browser
CELLS = ["from autoseg.panels.parts.chooser import FolderChooser\nFolderChooser('../data')", "'another cell'"]


def test_a_folder_is_chosen_with_the_keyboard_alone(lab, opened):
    home = lab.project("keys")
    for name in ("data/first", "data/second/inner"):
        (home / name).mkdir(parents=True)
    keys = opened(write_notebook(home / "notebooks" / "keys.ipynb", CELLS))
    page = keys.page
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
