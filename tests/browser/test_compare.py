"""The comparison in JupyterLab and a real Chromium: tick, start, stop, go on, read the result, use the best.

Pictures are kept in the folder that AUTOSEG_SCREENSHOTS names; AUTOSEG_MINUTES lets each training learn longer.
"""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


def test_compare_from_the_ticks_to_the_best(lab, opened, small_sample):
    home = lab.project("compare", small_sample)
    notebook = opened(home / "notebooks/3_compare.ipynb")
    page = notebook.page
    minutes = os.environ.get("AUTOSEG_MINUTES", "0.05")
    notebook.run_all()
    notebook.wait_for_text("6 networks × 3 folds × 2 minutes: about 40 minutes", seconds=120)
    keep = ("U-Net", "UNeXt") if "AUTOSEG_MINUTES" not in os.environ else ("U-Net", "ResUNet", "UNeXt")
    for title in ("U-Net", "ResUNet", "UNeXt", "EfficientNet U-Net", "Multi-scale pyramid", "Mask DINO"):
        if title not in keep:
            page.get_by_label(title, exact=True).first.uncheck()
    page.get_by_label("Folds", exact=True).first.select_option("2")
    amount = page.get_by_label("Each learns for", exact=True).first
    amount.fill(minutes)
    amount.press("Tab")
    notebook.wait_for_text(f"{len(keep)} networks × 2 folds × {minutes} minute{'s' * (minutes != '1')}: ")

    # Stop keeps what is finished, and the next start goes on.
    notebook.click(notebook.button("Start"))
    notebook.wait_for_text("fold 1 of 2, U-Net, epoch", seconds=120)
    page.wait_for_function(
        "() => [...document.querySelectorAll('td')].some(e => /^0[.][0-9]{3}$/.test(e.textContent))",
        timeout=180_000,
    )
    notebook.check_access()
    notebook.shot_cells("comparison", ("Dark", "Light"))
    notebook.click(notebook.button("Stop"))
    notebook.wait_for_text("and kept. Go on does the rest", seconds=60)
    folder = home / "trained_model" / "heart_comparison"
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*/fold_*/fold.json")}
    assert kept
    notebook.click(notebook.button("Go on"))
    notebook.wait_for_text("is best: mean Dice", seconds=600)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept

    # The slices, one after the other.
    picture = page.locator("img[alt*='reference and networks']").first
    picture.wait_for(timeout=60_000)
    before = picture.get_attribute("src")
    notebook.click(notebook.button("Next"))
    page.wait_for_function(
        "old => ![undefined, old].includes(document.querySelector(\"img[alt*='reference and networks']\")?.src)",
        arg=before,
    )
    notebook.check_access()
    # What is folded, too: each fold's header is clicked, and what unfolds in it, until none is closed.
    closed = ".jupyter-widget-Collapse:not(.jupyter-widget-Collapse-open) > .jupyter-widget-Collapse-header"
    folds = page.locator(f":is({closed}, details:not([open]) > summary):visible")
    opened_folds = 0
    while folds.count():
        notebook.click(folds.first)
        opened_folds += 1
        assert opened_folds < 40
    assert opened_folds
    notebook.check_access()
    notebook.shot_cells("compared", ("Dark", "Light"))

    # What the browser saves is what lies in the folder.
    with page.expect_download(timeout=30_000) as saved:
        notebook.click(notebook.button("Download results.csv"))
    assert Path(saved.value.path()).read_bytes() == (folder / "results.csv").read_bytes()

    # The winner learns from all patients, with the panel of 1_train.
    shown = page.locator(".jp-OutputArea", has_text="Use the best").first.text_content()
    assert "heart_best: a new model" in shown
    notebook.wait_for_text("Ready to start")
    notebook.click(page.locator("button:visible", has_text=re.compile("^Start$")).last)
    notebook.wait_for_text("The model is in", seconds=60 * float(minutes) + 120)
    assert list((home / "trained_model").glob("heart_best_*.pt"))
    assert "Traceback" not in page.locator(".jp-Notebook").text_content()
