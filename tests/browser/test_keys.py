"""Keys in a panel stay in the panel: JupyterLab would move to another cell, or delete one."""

import shutil

import pytest
from lab import write_notebook

pytestmark = pytest.mark.browser
WORKS = """
import time
import ipywidgets as widgets
from autoseg.panels.parts.fields import field
from autoseg.panels.parts.panel import Panel

class Works(Panel):
    def __init__(self):
        super().__init__()
        self.typed = field(widgets.Text, "Typed")
        self.stack(self.bar, self.message, widgets.HTML("<div style='height:300px'></div>"), self.typed)
        self.typed.observe(lambda _: self.start(lambda: time.sleep(0.5), self.take, saying="a\\nb\\nc"), "value")
        self.take()

    def take(self, _=None):
        self.value = self.typed.value or "none"

class Follows(Panel):
    def __init__(self, other):
        super().__init__()
        self.follow(other, lambda v: self.body.set_trait("children", [] if v is None else [tall(v)]))

def tall(words):
    return widgets.HTML(f"<div style='height:900px' class='tall'>{words}</div>")

works = Works()
widgets.VBox([works, Follows(works)])
"""
# The least height of the page and the farthest way of what is typed into, as they are painted: sizes are told after
# all else of a frame is done, so one that changes with each frame is a clock that strikes just before the paint.
# Safari does not keep the place of what is seen when something above it grows; the others are told not to, either.
WATCH = """() => {
  document.head.appendChild(document.createElement("style")).textContent = "* { overflow-anchor: none }";
  const typed = document.activeElement;
  const page = document.querySelector(".jp-Notebook .autoseg-panel").parentElement;
  const top = typed.getBoundingClientRect().top;
  const seen = (window.seen = { tall: page.offsetHeight, least: 1e9, moved: 0, frames: 0 });
  const clock = document.body.appendChild(document.createElement("div"));
  clock.style.cssText = "position: fixed; height: 1px; width: 1px";
  const tick = () => {
    clock.style.width = clock.style.width === "1px" ? "2px" : "1px";
    requestAnimationFrame(tick);
  };
  new ResizeObserver(() => {
    seen.frames += 1;
    seen.least = Math.min(seen.least, page.offsetHeight);
    seen.moved = Math.max(seen.moved, Math.abs(typed.getBoundingClientRect().top - top));
  }).observe(clock);
  tick();
}"""
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


def test_while_a_panel_works_what_is_typed_into_stays_in_its_place(lab, opened):
    home = lab.project("still")
    book = opened(
        write_notebook(home / "notebooks" / "still.ipynb", [WORKS]), viewport={"width": 1280, "height": 700}
    )
    page = book.page
    book.run_all()
    typed = page.get_by_label("Typed")
    typed.focus()
    page.evaluate(WATCH)
    page.keyboard.type("new")
    page.keyboard.press("Enter")
    page.wait_for_selector(".tall:text-is('new')")
    page.wait_for_function("() => !document.querySelector('.autoseg-panel[style*=min-height]')")
    seen = page.evaluate("window.seen")
    assert seen["frames"] > 5
    assert seen["least"] >= seen["tall"]
    assert seen["moved"] <= 1
    assert typed.evaluate("e => e === document.activeElement")


def test_help_opens_the_manual_at_the_panels_section(lab, opened):
    home = lab.project("help")
    (home / "docs").mkdir()
    shutil.copy(lab.root / "docs" / "manual.md", home / "docs")
    book = opened(home / "notebooks" / "2_test.ipynb")
    for number, heading in ((1, "The patient"), (5, "Is the model as good as a second reader?")):
        book.page.locator(".jp-Notebook a", has_text="Help").nth(number).click()
        book.page.wait_for_function(
            """heading => [...document.querySelectorAll(".jp-MarkdownViewer :is(h2, h3)")].some(
                (e) => e.textContent.startsWith(heading) && Math.abs(e.getBoundingClientRect().top - 80) < 80)""",
            arg=heading,
        )
        book.page.locator(".lm-TabBar-tabLabel", has_text="2_test.ipynb").click()
