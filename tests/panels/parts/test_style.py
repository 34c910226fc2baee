"""Panels' HTML: words are escaped, kinds differ by more than colour, pictures have a text."""

from autoseg.panels.parts.style import heading, notice, picture, text


def test_words_are_words_and_never_markup():
    for made in (text("<b>&"), heading("<b>&"), notice("<b>&", details="<b>&")):
        assert "<b>" not in made
        assert "&lt;b&gt;&amp;" in made


def test_lines_stay_lines():
    assert "one<br>two" in text("one\ntwo")


def test_every_kind_has_a_sign_of_its_own_beside_the_colour():
    signs = {notice("x", kind).split('aria-hidden="true">')[1][0] for kind in ("note", "warning", "error", "done")}
    assert len(signs) == 4


def test_errors_are_announced_at_once():
    assert 'role="alert"' in notice("x", "error")
    assert 'role="status"' in notice("x", "warning")


def test_details_are_folded():
    assert "<details" in notice("x", details="why")
    assert "<details" not in notice("x")


def test_a_picture_says_what_it_shows():
    shown = picture(b"\x89PNG", 'a "heart"')
    assert 'alt="a &quot;heart&quot;"' in shown
    assert "data:image/png;base64,iVBORw==" in shown


class Figure:
    def pngs(self):
        return b"light", b"dark"


def test_a_figure_is_there_for_a_light_page_and_for_a_dark_one():
    light, dark = picture(Figure(), "a heart").split("<img")[1:]
    assert 'class="autoseg-in-light"' in light
    assert 'class="autoseg-in-dark" hidden' in dark
    assert ("base64,bGlnaHQ=" in light, "base64,ZGFyaw==" in dark) == (True, True)
