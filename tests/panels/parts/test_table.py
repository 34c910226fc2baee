"""Tables on the page: words are escaped, rows and columns are named for screen readers, and wide ones scroll."""

from autoseg.panels.parts.table import Cell, html_table


def test_words_are_words_and_a_cell_is_taken_as_it_is():
    table = html_table(
        ["<a>", Cell("<i>b</i>", tooltip='"why"')], [["<c>", Cell("<code>d</code>", style="color:red")]]
    )
    assert "<a>" not in table
    assert "<c>" not in table
    assert "&lt;a&gt;</th>" in table
    assert "<i>b</i></th>" in table
    assert 'title="&quot;why&quot;"' in table
    assert table.count('<th scope="col"') == 2
    assert table.count('<th scope="row"') == 1
    assert 'color:red"><code>d</code></td>' in table


def test_columns_are_aligned_by_letters_of_which_the_last_one_stays():
    table = html_table([], [["a", "1", "2"]], align="lr")
    assert [part[:5] for part in table.split("text-align:")[1:]] == ["left;", "right", "right"]
    assert "<thead" not in table


def test_it_has_a_name_and_scrolls_below_its_header():
    table = html_table(["a"], [["b"]], caption="A & B", max_height="320px")
    assert 'role="region" aria-label="A &amp; B" tabindex="0" style="max-height:320px;overflow:auto"' in table
    assert "A &amp; B</caption>" in table
    assert "position:sticky" in table
    named = html_table(["a"], [["b"]], label="Pairs")
    assert 'aria-label="Pairs"' in named
    assert "<caption" not in named
    assert "overflow-x:auto" in named


def test_a_row_can_look_otherwise():
    assert '<tr style="font-weight:600">' in html_table([], [["a"], ["b"]], row_styles={1: "font-weight:600"})


def test_only_words_that_are_no_names_break_within():
    table = html_table([], [["myocardium", "1"], ["a_file_of_the_upper_thigh.nii.gz", "2"]], align="lr", wrap=True)
    assert table.count("overflow-wrap:anywhere") == 1
