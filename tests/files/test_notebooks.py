"""A notebook is saved without its panels, and with all else."""

from autoseg.files.notebooks import BESIDE_PANEL, IN_PLACE_OF_PANEL, PANEL, keep_no_panels


def shown(mime, words):
    return {"output_type": "display_data", "data": {mime: words}, "metadata": {}}


def test_a_panel_is_taken_out_and_what_is_said_of_it_stays():
    beside = [f'<div class="{BESIDE_PANEL}">', "of another day</div>"]
    printed = {"output_type": "stream", "name": "stdout", "text": "printed"}
    another = shown(PANEL, {"model_id": "of somebody else"})
    outputs = [printed, shown("text/html", beside), shown(PANEL, {"model_id": "1"}), another, printed]
    cells = [{"cell_type": "markdown", "source": "words"}, {"cell_type": "code", "outputs": outputs}]
    keep_no_panels(model={"type": "notebook", "content": {"cells": cells}}, path="1.ipynb", contents_manager=None)
    words = f'<div class="{IN_PLACE_OF_PANEL}">of another day</div>'
    assert cells[1]["outputs"] == [printed, shown("text/html", words), another, printed]
    assert cells[0] == {"cell_type": "markdown", "source": "words"}


def test_what_is_no_notebook_stays():
    for model in ({"type": "file", "content": PANEL}, {"type": "notebook"}, {"type": "directory"}):
        before = dict(model)
        keep_no_panels(model=model, path="notes.txt")
        assert model == before
