"""The notebooks are thin, clean and run from top to bottom on the sample data."""

import ast
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize(
    "path",
    NOTEBOOKS or [pytest.param(None, marks=pytest.mark.skip(reason="no notebooks are written yet"))],
    ids=[path.name for path in NOTEBOOKS] or ["none"],
)
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
SMALL = (8, 16)  # filters of a network that must only be gone through
# What a person clicks, as code: run at the end of the notebook, and whether it came to something.
CLICKS = {
    "1_train.ipynb": (
        "for panel in (data, preview, settings):\n    panel.wait(120)",
        f"settings.choose(**{{'epochs': 2, 'preprocess.spacing_mm': 9.0, 'network.filters': {SMALL}}})",
        "training.learn()\ntraining.wait(300)",
        "assert training.value is not None, training.message.value",
    ),
    "2_test.ipynb": (
        "for panel in (model, patient):\n    panel.wait(120)",
        "prediction.segment()\nprediction.wait(300)",
        "assert prediction.value is not None, prediction.message.value",
    ),
    "3_compare.ipynb": (
        "for panel in (data, networks):\n    panel.wait(120)",
        "networks.choose(['unet', 'unext'], minutes=0.02, folds=2)\nnetworks.wait(60)",
        "comparison.compare()\ncomparison.wait(300)",
        "assert comparison.value is not None, comparison.message.value",
        "assert comparison.value.comparison.is_finished, comparison.value.comparison.notes",
        "training.learn()\ntraining.wait(300)",
        "assert training.value is not None, training.message.value",
    ),
    "4_finetune.ipynb": (
        # A model that knows one of the patients, so that there are others to bring it to.
        "import autoseg\nfound = autoseg.find_cases('../data/sample/train')\none = found.cases[0].subject_id\n"
        "cases = [case for case in found.cases if case.subject_id == one]\n"
        "split = autoseg.split_cases(cases, validation_subjects=())\n"
        "preprocess = autoseg.PreprocessSettings(spacing_mm=9.0)\n"
        f"network = autoseg.NetworkSettings(filters={SMALL})\n"
        "settings = autoseg.Settings(epochs=1, preprocess=preprocess, network=network)",
        "autoseg.train_and_save(\n"
        "    split, settings, structures=found.structures, name='neck', folder='../trained_model'\n)",
        "base.look()\nbase.wait(60)\nassert base.value.model.name == 'neck', base.message.value",
        "data.choose('../data/sample/train')\nfor panel in (data, scenarios):\n    panel.wait(120)",
        "scenarios.choose(['original', 'all parts'], minutes=0.02, folds=2)\nassert scenarios.value.known == {one}",
        "comparison.compare()\ncomparison.wait(300)",
        "assert comparison.value is not None, comparison.message.value",
        "assert comparison.value.comparison.is_finished, comparison.value.comparison.notes",
        "assert best.value.base.name == 'neck', best.message.value",
        "training.learn()\ntraining.wait(300)",
        "assert training.value is not None, training.message.value",
    ),
}
TOO_MUCH = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.For, ast.AsyncFor, ast.While, ast.If, ast.Match, ast.Try, ast.TryStar),
)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def read_notebook(path):
    return nbformat.read(path, as_version=4)


def faults(source: str) -> list[str]:
    """What a cell holds that belongs into the package."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ["not plain Python (a magic or a shell command?)"]
    found = [type(node).__name__ for node in ast.walk(tree) if isinstance(node, TOO_MUCH)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(name.name == "*" for name in node.names):
            found.append("import *")
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            found.append("sys.path")
        if isinstance(node, ast.Name | ast.Import) and "warnings" in ast.unparse(node):
            found.append("silenced warnings")
    if len(source.splitlines()) > 8:
        found.append(f"{len(source.splitlines())} lines")
    return found


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("%pip install x", "plain Python"),
        ("!ls", "plain Python"),
        ("for x in y:\n    x()", "For"),
        ("if x:\n    y()", "If"),
        ("def f():\n    pass", "FunctionDef"),
        ("import sys\nsys.path.append('..')", "sys.path"),
        ("from autoseg import *", "import *"),
        ("import warnings", "warnings"),
        ("x = 1\n" * 9, "9 lines"),
    ],
)
def test_a_fault_in_a_cell_is_found(source, fault):
    assert fault in " ".join(faults(source))


@EVERY_NOTEBOOK
def test_cells_are_few_and_thin(path):
    cells = code_cells(read_notebook(path))
    assert 5 <= len(cells) <= 8
    assert {cell.source: faults(cell.source) for cell in cells if faults(cell.source)} == {}


@EVERY_NOTEBOOK
def test_words_stand_before_every_code_cell(path):
    cells = read_notebook(path).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    for before, cell in pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown", f"no words before: {cell.source}"
            assert before.source.lstrip().startswith("#"), f"no heading before: {cell.source}"


@EVERY_NOTEBOOK
def test_each_panel_has_a_link_to_its_section_of_the_manual(path):
    manual = (ROOT / "docs" / "manual.md").read_text(encoding="utf-8")
    # As JupyterLab makes anchors: the heading's own letters, and - for each space.
    anchors = [line.lstrip("#").strip().replace(" ", "-") for line in manual.splitlines() if line.startswith("#")]
    for words, code in pairwise(nbformat.read(path, as_version=4).cells):
        if code.cell_type == "code":
            (anchor,) = re.findall(r"\[Help\]\(\.\./docs/manual\.md#([^)]+)\)", words.source)
            assert anchors.count(anchor) == 1, anchor


@EVERY_NOTEBOOK
def test_no_outputs_are_committed_code_is_folded_and_the_kernel_is_ours(path):
    notebook = read_notebook(path)
    nbformat.validate(notebook)
    assert [cell.source for cell in code_cells(notebook) if cell.outputs or cell.execution_count] == []
    assert [cell.source for cell in code_cells(notebook) if not cell.metadata.jupyter.source_hidden] == []
    assert notebook.metadata.kernelspec == KERNEL


@EVERY_NOTEBOOK
def test_one_cell_holds_the_parameters(path):
    cells = code_cells(read_notebook(path))
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1


@pytest.fixture
def own_jupyter(tmp_path, monkeypatch):
    """Keep the tester's own Jupyter and IPython settings out, and this environment's kernel in."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        folder = tmp_path / ".settings" / name.lower()
        folder.mkdir(parents=True)
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    # The notebooks choose the inline backend, as they do for a person.
    monkeypatch.delenv("MPLBACKEND", raising=False)


def test_every_notebook_has_its_clicks():
    assert set(CLICKS) == {path.name for path in NOTEBOOKS}


@pytest.mark.usefixtures("own_jupyter")
def test_the_notebooks_run_one_after_the_other_on_the_sample(tmp_path, small_sample, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    shutil.copytree(small_sample, tmp_path / "data" / "sample")
    for name in ("notebooks", "trained_model", "predictions", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # a training elsewhere must not hold the turn
    for path in NOTEBOOKS:
        notebook = read_notebook(path)
        notebook.cells += [nbformat.v4.new_code_cell(source) for source in CLICKS[path.name]]
        place = {"metadata": {"path": str(tmp_path / "notebooks")}}
        nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
        outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
        complaints = [output.text for output in outputs if output.get("name") == "stderr"]
        assert [text for text in complaints if "Warning" in text] == [], path.name
    models = sorted(path.name for path in (tmp_path / "trained_model").glob("*.pt"))
    assert [name.rpartition("_")[0] for name in models] == ["heart", "heart_best", "neck", "new_region"]
    assert models[0] == "heart_2.pt"
    assert (tmp_path / "trained_model" / "heart_comparison" / "results.csv").stat().st_size > 500
    table = (tmp_path / "trained_model" / "finetuned_comparison" / "per_subject.csv").read_text()
    assert table.startswith("subject_id,original,all parts,outlier")
    (run,) = (tmp_path / "predictions").iterdir()
    assert (run / "areas.csv").stat().st_size > 500
