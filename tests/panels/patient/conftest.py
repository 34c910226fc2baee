"""One run of the sample's patient, which all panels show."""

import pytest
from untrained import untrained_model

from autoseg.prediction.run import segment_folder


@pytest.fixture(scope="session")
def run(sample, tmp_path_factory):
    return segment_folder(untrained_model(), sample / "test" / "dicoms", output=tmp_path_factory.mktemp("out"))
