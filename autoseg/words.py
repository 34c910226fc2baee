"""Words for people: lists, counts and slices in sentences, and numbers as a person types them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from autoseg.errors import GeometryError, private


class ReadingNote(str):
    """A note on how an image was read; code tells notes apart by their type, never by their words."""

    __slots__ = ()


class GraveNote(str):
    """A note without which somebody would take wrong areas for right ones; it must stay in sight."""

    __slots__ = ()


class OutsideNote(str):
    """A note that something was drawn on slices that an image lacks; of a part of a series that is usual."""

    __slots__ = ()


def natural(text: object) -> list[tuple[int, str]]:
    """Give a key that sorts 2.png before 10.png."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(text))]


def in_words(names: Sequence[str], what: str) -> str:
    """Say how many there are and name the first five, for a `Told`: they are names of cases or files.

    Examples
    --------
    >>> from autoseg.errors import Told
    >>> Told(in_words(["a.png", "b.png"], "label file"))
    'There are 2 label files (a.png, b.png)'
    """
    if len(names) == 1:
        return f"There is 1 {what} ({private(names[0])})"
    return f"There are {len(names)} {_plural(what)} ({name_private(names)})"


def say_slices(slices: Sequence[int]) -> str:
    """Say which slices (from 0) as people count them, from 1.

    Examples
    --------
    >>> say_slices([3, 4, 5, 11])
    '4-6 12'
    """
    parts: list[list[int]] = []
    for number in sorted({index + 1 for index in slices}):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def name_some(names: Sequence[str], most: int = 5) -> str:
    """Give names as words for a sentence, those beyond `most` as their number.

    Examples
    --------
    >>> name_some(["a", "b"]), name_some(["a", "b", "c", "d", "e"], 3)
    ('a, b', 'a, b, c and 2 more')
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def name_private(names: Iterable[str]) -> str:
    """Give IDs of patients or names of cases as `name_some` does, each marked for the `Told` that they get into."""
    return name_some([private(name) for name in names])


def read_numbers(words: str, what: str) -> float | tuple[float, float] | None:
    """Read one or two numbers as a person types them: "240", "240 x 180", "240; 180", "" (None).

    A comma may be a decimal sign or a separator, and is only taken where a space follows it.

    Examples
    --------
    >>> read_numbers(" 240.5 ", "field of view"), read_numbers("240 × 180", "field of view")
    (240.5, (240.0, 180.0))
    """
    tidy = re.sub(r"(?<![A-Za-z])mm\b", " ", words.replace("[", " ").replace("]", " ")).strip()
    if not tidy:
        return None
    parts = [part for part in re.split(r"\s*[x×X*;/]\s*|,\s+|\s+", tidy) if part]
    if not all(re.fullmatch(r"\d+(\.\d+)?|\.\d+", part) for part in parts) or len(parts) > 2:
        raise GeometryError(
            f"The {what} {words.strip()!r} is not understood. Type one number (240, or 240.5 with a point), or "
            "two: rows, then columns (240 x 180)."
        )
    numbers = [float(part) for part in parts]
    if min(numbers) <= 0:
        raise GeometryError(f"The {what} is {words.strip()}; it must be above 0.")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


Typed = float | tuple[float, float]


def read_field_of_view(words: Sequence[str]) -> Typed | dict[tuple[int, int], Typed] | None:
    """Read a field of view in mm as words of a command: for all images, or one for each size (rows x columns).

    Examples
    --------
    >>> read_field_of_view(["240", "180"])
    (240.0, 180.0)
    >>> read_field_of_view(["512x512=240", "256x192=200x150"])
    {(512, 512): 240.0, (256, 192): (200.0, 150.0)}
    """
    if not any("=" in word for word in words):
        return read_numbers(" ".join(words), "field of view")
    found: dict[tuple[int, int], Typed] = {}
    for word in words:
        size, _, view = word.partition("=")
        shape, mm = read_numbers(size, "size of an image"), read_numbers(view, "field of view")
        if not isinstance(shape, tuple) or mm is None or any(number != int(number) for number in shape):
            raise GeometryError(
                f"The field of view {word!r} is not understood. Write the rows and columns of an image, and what "
                "it spans in mm: 512x512=240."
            )
        found[int(shape[0]), int(shape[1])] = mm
    return found


# Signs that would not be seen, or would turn the words around them about; halves of letters no page can hold.
_NO_SIGN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_HALF = re.compile("[\ud800-\udfff]")


def escaped(words: str) -> str:
    """Give words for a page, between tags or quotation marks: no name in them becomes a part of it.

    Examples
    --------
    >>> escaped('<b onclick="x">')
    '&lt;b onclick=&quot;x&quot;&gt;'
    """
    return html.escape(seen(words))


def seen(words: str) -> str:
    """Give words without signs that a page cannot hold, are not seen, or turn the words around them about."""
    return _HALF.sub("\ufffd", _NO_SIGN.sub("", words))


def listed(names: Sequence[str]) -> str:
    """Give names as in a sentence.

    Examples
    --------
    >>> listed(["cavity", "myocardium", "fat"])
    'cavity, myocardium and fat'
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def counted(count: int, noun: str) -> str:
    """Give a number with its noun.

    Examples
    --------
    >>> counted(1, "slice"), counted(1200, "slice"), counted(3, "series")
    ('1 slice', '1,200 slices', '3 series')
    """
    return f"{count:,} {noun if count == 1 else _plural(noun)}"


def say_number(value: float, digits: int = 3) -> str:
    """Give a number with so many digits that count, large ones without a power of ten.

    Examples
    --------
    >>> say_number(9000.0), say_number(1234.5), say_number(0.45678)
    ('9,000', '1,230', '0.457')
    """
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:g}"


def say_time(minutes: float | None, epochs: int | None) -> str:
    """Say for how long is learnt: minutes, or else epochs.

    Examples
    --------
    >>> say_time(1.0, None), say_time(0.5, None), say_time(None, 1)
    ('1 minute', '0.5 minutes', '1 epoch')
    """
    return counted(epochs or 0, "epoch") if minutes is None else f"{minutes:g} minute{'s' * (minutes != 1)}"


def named(noun: str, names: Iterable[object], most: int = 5) -> str:
    """Give names after their noun.

    Examples
    --------
    >>> named("slice", [4]), named("label", [1, 2, 7])
    ('slice 4', 'labels 1, 2, 7')
    """
    every = [str(name) for name in names]
    return f"{noun if len(every) == 1 else _plural(noun)} {name_some(every, most)}"


def size_words(count: int) -> str:
    """Give a number of bytes in words.

    Examples
    --------
    >>> size_words(900), size_words(1_500_000)
    ('1 kB', '1.5 MB')
    """
    if count < 999_500:
        return f"{max(1, round(count / 1000))} kB"
    if count < 999_950_000:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e9:.1f} GB" if count < 999_950_000_000 else f"{count / 1e12:,.1f} TB"


def are(count: int) -> str:
    """Give the verb for so many: "1 file is", "2 files are"."""
    return "is" if count == 1 else "are"


def have(count: int) -> str:
    """Give the verb for so many: "1 file has", "2 files have"."""
    return "has" if count == 1 else "have"


def _plural(noun: str) -> str:
    """Give the plural of a noun; "series" is its own."""
    return "people" if noun == "person" else noun if noun.endswith("s") else f"{noun}s"
