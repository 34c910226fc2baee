"""What goes wrong in a cell is a sentence; what is a fault of ours keeps its traceback."""

import pytest

from autoseg.panels.parts.notebook import speak_plainly

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")

BEGIN = "from autoseg.panels.parts.notebook import speak_plainly; speak_plainly()"


@pytest.fixture(scope="module")
def outputs():
    """Each cell's outputs as text, in one kernel."""
    sources = [
        BEGIN,
        "preview = later",
        "import autoseg; autoseg.find_cases('nowhere')",
        "1 / 0",
        "def f():\n    return unknown_deep_down\nf()",
        "print('goes on')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, allow_errors=True, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


def shown(outputs):
    return "".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)


def test_a_name_that_no_cell_has_made_says_what_to_run_first(outputs):
    assert "Run All Above Selected Cell" in shown(outputs[1])
    assert "later" in shown(outputs[1])
    assert not [output for output in outputs[1] if output.output_type == "error"]


def test_an_error_of_autoseg_is_its_sentence(outputs):
    words = shown(outputs[2])
    assert words.index("does not exist") < words.index("<details")


@pytest.mark.parametrize("cell", [3, 4])
def test_other_faults_keep_their_traceback(outputs, cell):
    assert [output.output_type for output in outputs[cell]] == ["error"]


def test_the_kernel_goes_on(outputs):
    assert outputs[5][0].text == "goes on\n"


def test_outside_a_notebook_nothing_happens():
    speak_plainly()
