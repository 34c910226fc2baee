"""A button that hands the browser a file in pieces."""

from autoseg.errors import OutputError
from autoseg.panels.parts.download import PIECE_BYTES, DownloadButton


def clicked(button):
    """What a click sends to the page."""
    sent = []
    button.send = lambda content, buffers=None: sent.append((content, buffers))
    button._handle_custom_msg({"wanted": True}, [])
    return sent


def test_a_small_file_is_one_piece():
    button = DownloadButton("a.csv", lambda: b"1,2")
    assert button.description == "Download a.csv"
    assert clicked(button) == [({"piece": 0, "count": 1}, [b"1,2"])]


def test_a_large_file_comes_whole_in_pieces():
    data = bytes(range(256)) * (PIECE_BYTES // 100)
    sent = clicked(DownloadButton("a.zip", lambda: data))
    assert len(sent) == 3
    assert [content["piece"] for content, _ in sent] == [0, 1, 2]
    assert b"".join(part for _, (part,) in sent) == data


def test_what_fails_is_a_sentence():
    def full():
        raise OutputError("300 MB are too much.")

    def broken():
        raise KeyError("x")

    assert clicked(DownloadButton("a.zip", full)) == [({"failed": "300 MB are too much."}, [])]
    ((content, _),) = clicked(DownloadButton("a.zip", broken))
    assert "a.zip could not be made" in content["failed"]


def test_other_messages_are_left_alone():
    button = DownloadButton("a.csv", lambda: b"")
    sent = []
    button.send = lambda *more, **_: sent.append(more)
    button._handle_custom_msg({"other": 1}, [])
    assert sent == []
