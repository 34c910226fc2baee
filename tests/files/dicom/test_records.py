"""What pydicom complains of while files are read is not shown, also not where several threads read."""

import warnings

import pytest

from autoseg.files.dicom.records import quiet


def test_the_first_to_end_does_not_let_the_others_be_heard():
    before = warnings.filters[:]
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()  # as another thread does
    first.__exit__(None, None, None)
    warnings.warn("Invalid value for VR UI", UserWarning, stacklevel=1)  # an error here, if it were heard
    second.__exit__(None, None, None)
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
