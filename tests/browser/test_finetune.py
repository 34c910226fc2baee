"""Fine-tuning in JupyterLab and a real Chromium: a model, new images, scenarios, a table of patients, the best.

Pictures are kept in the folder that AUTOSEG_SCREENSHOTS names.
"""

import re
from pathlib import Path

import pytest
from bases import make_base
from discs import STRUCTURES, make_pair

from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures
from autoseg.model.model import save_model

pytestmark = pytest.mark.browser


def write_discs(place, names):
    """Write images and labels of made-up people, as a folder of NIfTI files."""
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
    for number, name in enumerate(names):
        image, labels = make_pair(number, size=(48, 48), slices=3)
        write_nifti(place / "images" / f"{name}.nii.gz", image)
        write_nifti(place / "labels" / f"{name}.nii.gz", labels)
    write_structures(place / "structures.csv", STRUCTURES)


def test_finetune_from_the_model_to_the_best_scenario(lab, opened):
    home = lab.project("finetune")
    save_model(make_base(taught_by=["ann"]), home / "trained_model")
    write_discs(home / "data" / "discs", ("ann", "bob", "cas", "dot", "eve"))
    notebook = opened(home / "notebooks/4_finetune.ipynb")
    page = notebook.page
    notebook.run_all()
    notebook.wait_for_text("slice by slice (2-D)", seconds=120)
    notebook.wait_for_text("Choose your images above; then it is seen how the model fits them")

    # The folder is chosen by the list, and what the model knows is said before anything is learnt.
    page.locator("option", has_text=re.compile("^discs")).first.wait_for(state="attached")
    page.get_by_label("Inside", exact=True).first.select_option(index=0)
    notebook.click(notebook.button("Use discs"))
    notebook.wait_for_text("How the model fits your images", seconds=60)
    notebook.wait_for_text("the model sees pixels of 3 mm")
    notebook.wait_for_text("knows patient 1")
    for scenario in ("From scratch", "Fine-tuned", "Own rates"):
        page.get_by_label(scenario, exact=True).first.uncheck()
    page.get_by_label("Folds", exact=True).first.select_option("2")
    amount = page.get_by_label("Each learns for", exact=True).first
    amount.fill("0.02")
    amount.press("Tab")
    notebook.wait_for_text("1 scenario that learns × 2 folds × 0.02 minutes: ")
    notebook.check_access()
    notebook.shot_cells("scenarios")

    notebook.click(notebook.button("Start"))
    # A table stands there from the first result on: only the one with both scenarios and the last patient is read.
    whole = page.locator("table", has_text="Dice of every patient").filter(has_text="fine-tuned faster")
    whole.filter(has_text="patient 5").first.wait_for(timeout=120_000)
    table = whole.first.text_content()
    assert re.findall("patient [0-9]", table) == [f"patient {n}" for n in (2, 3, 4, 5)]
    for words in ("original", "fine-tuned faster", "Minimum", "Maximum", "Mean", "Median"):
        assert words in table
    page.locator("img[alt*='reference and models']").first.wait_for(timeout=60_000)
    notebook.check_access()
    notebook.shot_cells("tuned")

    # The best learns from all but a few, the known patient included, and lands where 2_test looks.
    notebook.wait_for_text("Patients who validate are not learnt from: 1 patient")
    notebook.wait_for_text("Ready to start")
    notebook.click(page.locator("button:visible", has_text=re.compile("^Start$")).last)
    notebook.wait_for_text("The model is in", seconds=120)
    (model,) = (home / "trained_model").glob("new_region_*.pt")
    with page.expect_download(timeout=30_000) as saved:
        notebook.click(page.locator("button:visible", has_text=re.compile(f"^{model.name}$")))
    assert Path(saved.value.path()).read_bytes() == model.read_bytes()
    assert "Traceback" not in page.locator(".jp-Notebook").text_content()
