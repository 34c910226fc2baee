"""What the tests of all commands share."""

import pytest


@pytest.fixture(autouse=True)
def no_pictures_of_comparisons(monkeypatch):
    """Pictures take longer than these trainings; tests/evaluation/comparison looks at them."""
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)
