"""Names on the page are words: no tag, no attribute and no program comes of them, and no half letter breaks it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis.strategies import text as any_text

import autoseg
from autoseg.image.structures import Structure
from autoseg.panels.parts import style
from autoseg.panels.parts.table import Cell, html_table
from autoseg.panels.training.score import table_html
from autoseg.report.animation import Animation
from autoseg.report.figures.slices import encode_picture
from autoseg.words import escaped

PNG = encode_picture(np.zeros((2, 2, 3), np.uint8), "png")
PACKAGE = Path(autoseg.__file__).parent
TAGS = {
    "div",
    "span",
    "details",
    "summary",
    "pre",
    "br",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "caption",
    "img",
}


class Page(HTMLParser):
    """What a browser makes of a page: its tags with their attributes, and its words."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words += data


def is_harmless(page):
    read = Page(page)
    page.encode("utf-8")
    assert set(read.tags) <= TAGS, read.tags
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert all(value.startswith("data:image/") for name, value in read.attributes if name in ("src", "href"))
    return True


@pytest.mark.parametrize("name", [name for name in HOSTILE if len(name) < 1000], ids=ascii)
def test_nothing_on_the_page_is_made_of_a_name(name):
    structures = [Structure(1, name)]
    assert is_harmless(style.text(name))
    assert is_harmless(style.heading(name))
    assert is_harmless(style.notice(name, "error", details=name))
    assert is_harmless(style.picture(PNG, name))
    assert is_harmless(style.legend(structures, name))
    cell = Cell("x", tooltip=name)
    assert is_harmless(html_table([name, cell], [[name, cell]], caption=name, label=name))
    assert is_harmless(table_html(pd.DataFrame({name: [name]}), caption=name))


@pytest.mark.parametrize("name", [name for name in HOSTILE if len(name) < 1000], ids=ascii)
def test_an_animations_program_is_not_ended_by_a_name(name):
    page = Animation((b"jpeg",), (name,), ())._repr_html_()
    page.encode("utf-8")
    read = Page(page)
    assert (read.tags.count("script"), read.tags.count("img")) == (1, 1)
    assert not [attribute for attribute, _ in read.attributes if attribute.startswith("on")]
    # Within a program a "<" of a name could begin a comment in which its end is not seen.
    program = page.partition("<script>")[2]
    assert "<" not in program.partition("captions = ")[2].partition("\n")[0]


@given(any_text(max_size=20) | any_text(alphabet="<>&\"'/=! ;#xb\x00\ud800\u202e", max_size=15))
def test_whatever_is_escaped_stays_words(name):
    read = Page(f'<p title="{escaped(name)}">{escaped(name)}</p>')
    plain = re.sub("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", "", name)
    plain = re.sub("[\ud800-\udfff]", "\ufffd", plain)
    assert read.tags == ["p"]
    assert read.words == plain
    assert read.attributes == [("title", plain)]


def test_there_is_one_place_that_escapes():
    places = [
        path for path in PACKAGE.rglob("*.py") if re.search(r"\bhtml\.escape|to_html\(", path.read_text("utf-8"))
    ]
    assert places == [PACKAGE / "words.py"]


def test_the_programs_of_the_page_write_no_markup_but_the_area_tables():
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    found = {path.name for path in PACKAGE.rglob("*.js") if ways.search(path.read_text("utf-8"))}
    assert found == {"area_table.js"}
    table = (PACKAGE / "panels" / "parts" / "area_table.js").read_text("utf-8")
    # Words of the table within its markup: each is escaped; what is not are numbers and the table's own markup.
    inside = re.findall(r"\$\{([^{}]*)\}", "\n".join(re.findall(r"`<t[^`]*`|`<span[^`]*`|` title=[^`]*`", table)))
    own = (
        r"escaped\(.*\)|span|file|where|none|text|why|dice|parts|b|r|c|position|this\.leading|head|"
        r'cells\.join\(""\)'
    )
    assert inside
    assert [one for one in inside if not re.fullmatch(own, one)] == []
