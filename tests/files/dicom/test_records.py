"""What pydicom complains of while files are read is not shown, also not where several threads read."""

import warnings

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from autoseg.files.dicom.records import quiet, text_of

STUDY, ODD_UID = Tag("StudyInstanceUID"), "2.16.124.113543.6006.99.0780998305206278241"  # a leading zero


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


def test_an_odd_uid_is_not_heard_though_another_thread_puts_its_filters_back():
    raw = ODD_UID.encode() + b"\0"
    header = Dataset({STUDY: RawDataElement(STUDY, "UI", len(raw), raw, 0, False, True)})
    elsewhere = warnings.catch_warnings()
    elsewhere.__enter__()
    with quiet():
        elsewhere.__exit__(None, None, None)  # an error, where heard
        assert text_of(header, "StudyInstanceUID") == ODD_UID
