"""One series as a row of the page."""

from autoseg.data.patients import Candidate
from autoseg.panels.patient.patient import HEADINGS, describe_candidate, lay_row


def test_a_row_tells_the_header_in_words_and_units():
    row = describe_candidate(
        Candidate(
            "series-2", "T1 <axial>", "MR", 256, 192, (0.5, 0.75), 4.0, 20, 3, "axial", "2024-02-29", png=b"x"
        )
    )
    for words in ("T1 &lt;axial&gt;", "256 × 192, 0.5 × 0.75 mm", "20 × 3 times, every 4 mm", "2024-02-29"):
        assert words in row
    assert 'alt="Middle slice of series-2"' in row


def test_unknown_millimetres_and_doubts_are_said():
    row = describe_candidate(Candidate("s", rows=9, columns=9, slices=1, doubt="A screenshot.", notes="Odd."))
    assert "mm unknown" in row
    assert "A screenshot. Odd." in row
    assert "every" not in row
    assert describe_candidate(Candidate("s", doubt="A scout.", notes="A scout. Odd.")).count("A scout.") == 1


def test_a_refused_series_tells_why():
    assert "s cannot be segmented: it is a mosaic." in describe_candidate(Candidate("s", refusal="it is a mosaic."))


def test_the_headings_have_the_columns_of_a_row():
    row = describe_candidate(Candidate("s", rows=1, columns=1, slices=1))
    assert row.count("overflow-wrap") == lay_row(HEADINGS).count("overflow-wrap") == len(HEADINGS)


def test_a_long_name_can_be_read_whole_in_its_row():
    long = "subject57_t2_SPACE_slice55"
    assert long in describe_candidate(Candidate(long, rows=3, columns=3))
    assert "series-1" not in describe_candidate(Candidate("series-1", rows=3, columns=3))
