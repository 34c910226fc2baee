"""What is kept of a training: every column filled, read back from the file."""

from dataclasses import replace

import pandas as pd
import pytest
from discs import STRUCTURES, make_split, patch_reading, quick_settings

from autoseg.model.model import EpochResult
from autoseg.model.settings.settings import Settings
from autoseg.report.figures import show_erosions, show_history
from autoseg.training.history import format_epoch, history_rows, write_history
from autoseg.training.recipes import recipe
from autoseg.training.training import train


@pytest.fixture
def model(monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=5, validate_every=2, watch_erosion=True)
    return train(make_split(range(4), [8]), settings, structures=STRUCTURES)


def test_the_file_has_losses_dice_and_iou_of_every_structure(model, tmp_path):
    table = pd.read_csv(write_history(model, tmp_path / "history.csv"))
    assert table["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert table["validation_iou"].notna().tolist() == [False, True, False, True, True]
    for what in ("core", "ring"):
        assert table[f"training_dice_{what}"].between(0, 1).all()
        dice, iou = table[f"dice_{what}"].dropna(), table[f"iou_{what}"].dropna()
        assert iou.tolist() == pytest.approx((dice / (2 - dice)).tolist())
        assert table[f"iou_{what}_eroded_0"].dropna().tolist() == pytest.approx(iou.tolist())
    assert table["validation_iou"].dropna().iloc[-1] == pytest.approx(
        table[["iou_core", "iou_ring"]].iloc[-1].mean()
    )
    assert table["is_best"].sum() == 1
    # It learns, and the training's own curve shows it.
    assert table["training_dice_core"].iloc[-1] > table["training_dice_core"].iloc[0]
    assert len(show_history(table).axes) == 2
    erosions = show_erosions(table)
    assert [ax.get_title() for ax in erosions.axes] == ["core", "ring"]


def test_the_printed_line(model):
    assert format_epoch(model.history[0]).startswith("Epoch 1, training loss")
    first, last = (format_epoch(model.history[n], model.structures, settings=model.settings) for n in (0, -1))
    assert first.startswith("Epoch 1 of 5, training loss")
    # It was not validated: the Dice is that of the batches.
    dice = model.history[0].training_dice
    assert f"mean training Dice {sum(dice) / 2:.3f} (core {dice[0]:.3f}, ring {dice[1]:.3f})" in first
    row = model.history[-1]
    told = f"mean Dice {row.validation_dice:.3f} (core {row.dice[0]:.3f}, ring {row.dice[1]:.3f})"
    assert last.startswith("Epoch 5 of 5, training loss")
    assert told in last
    assert "IoU" not in last
    assert "(best so far)" in format_epoch(replace(row, is_best=True), model.structures, settings=model.settings)
    keeps_last = replace(model.settings, best_by="last")
    assert "best" not in format_epoch(replace(row, is_best=True), model.structures, settings=keeps_last)
    by_iou = format_epoch(row, model.structures, settings=replace(model.settings, best_by="iou"))
    assert f"{told}, mean IoU {row.validation_iou:.3f} (core {row.iou[0]:.3f}, ring " in by_iou

    assert [row["epoch"] for row in history_rows(model)] == [1, 2, 3, 4, 5]


def test_the_published_pyramid_shows_its_loss_with_the_mean_dice_beside_it():
    row = EpochResult(1, 0.5, 1e-4, 1.0, 2.0, validation_loss=1.2, validation_dice=0.4, dice=(0.4,))
    line = format_epoch(row, (), settings=recipe("pyramid-published", epochs=3))
    assert "training loss 0.500 (mean Dice 0.750), validation loss 1.200 (mean Dice 0.400)" in line
    assert "training loss 0.500, validation loss 1.200, mean Dice 0.400," in format_epoch(
        row, (), settings=recipe("pyramid", epochs=3)
    )


def test_the_line_tells_what_is_done_and_what_is_to_go():
    row = EpochResult(4, 0.5, 1e-4, 80.0, 125.4)
    assert format_epoch(row, settings=Settings(epochs=10)) == (
        "Epoch 4 of 10, training loss 0.500, 1:20 min gone, 2:05 min left"
    )
    # As many as fit into the time if they go on as fast: 4 in 80 s are 6.27 in 125.4 s.
    assert format_epoch(row, settings=Settings(minutes=3)).startswith("Epoch 4 of about 10, ")
    # An epoch that was cut short is made up for by one more.
    assert format_epoch(row, settings=Settings(epochs=3)).startswith("Epoch 4 of 4, ")
