"""How a setting is declared: once, and its checks, documentation, form and options are all made from that.

A field's annotation is its kind, `setting` gives its unit and limits, and the string below it says what it does.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from autoseg.errors import SettingsError

T = TypeVar("T")
# How units stand behind a plain name, where they are not written out.
UNITS = {"degrees": "°", "standard deviations": "SD", "the network's pixels": "pixels"}
YES, NO, NOTHING = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("", "none")


@dataclass(frozen=True)
class Setting:
    """All that is known of one setting, by its name with its group ("preprocess.spacing_mm").

    `title` is what people read in place of that name, and `called` what they read in place of some of its values.
    `simple` ones are shown to everybody, the others to who asks for all.
    `at_least` and `at_most` may be reached, `above` and `below` not; of a setting with several values they hold for
    every number in it. `written` says how its values are written where their number alone says too little. With
    `option` the command line has an option for it, as `--spacing-mm 1` beside `--set preprocess.spacing_mm=1`.
    """

    name: str
    hint: Any
    default: object = None
    title: str = ""
    words: str = ""
    unit: str = ""
    written: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    ascending: bool = False
    option: bool = False
    called: Mapping[Any, str] = field(default_factory=dict)
    simple: bool = False

    @property
    def label(self) -> str:
        """The title, with what its number is."""
        if self.name.endswith("_probability"):
            return f"{self.title}, probability"
        return f"{self.title}, {UNITS.get(self.unit, self.unit)}" if self.unit else self.title

    @property
    def short(self) -> str:
        """The name without its group, as the field of the dataclass has it."""
        return self.name.rpartition(".")[2]

    @property
    def kind(self) -> Any:
        """The type of the setting where it is not None."""
        if get_origin(self.hint) not in (Union, types.UnionType):
            return self.hint
        return next(kind for kind in get_args(self.hint) if kind is not type(None))

    @property
    def may_be_none(self) -> bool:
        """Whether None is a value of it."""
        return type(None) in get_args(self.hint)

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values to choose from; empty where it is no choice."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def wanted(self) -> str:
        """What may be given, as in "a number above 0, at most 20, in mm, or None"."""
        return f"{self.wanted_value}{', or None' if self.may_be_none else ''}"

    @property
    def told(self) -> str:
        """What the setting does, and what may be given."""
        return self.words if self.kind is bool else f"{self.words} Give {self.wanted}."

    @property
    def wanted_value(self) -> str:
        """What may be given in place of None."""
        kind, unit = self.kind, f", in {self.unit}" if self.unit else ""
        if self.choices:
            return f"{', '.join(map(str, self.choices[:-1]))} or {self.choices[-1]}"
        if get_origin(kind) is not tuple:
            return self.written or {bool: "True or False", str: "text"}.get(kind) or self._number(kind) + unit
        kinds = _kinds_within(kind)
        numbers = f"{'whole numbers' if int in kinds else 'numbers'}{self._range()}{unit}" if kinds != {str} else ""
        if self.written:
            return f"{self.written}, {numbers}" if numbers else self.written
        count = "" if ... in get_args(kind) else ("two ", "three ")[len(get_args(kind)) - 2]
        return f"{count}{numbers}{', the smaller first' if self.ascending else ''}"

    def check(self, value: object) -> object:
        """Give the value as the setting's kind has it: a tuple for a list, 8 for 8.0 where it is a whole number."""
        try:
            given = None if value is None and self.may_be_none else _as_kind(value, self.kind)
        except (TypeError, ValueError, OverflowError):  # OverflowError: infinity is no whole number
            raise self._refusal(value) from None
        numbers = _numbers(given)
        if not all(self._is_within(n) for n in numbers) or (self.ascending and numbers != sorted(numbers)):
            raise self._refusal(value)
        return given

    def read(self, text: str) -> object:
        """Read what was typed, such as "yes", "1,5", "16, 32", "256 × 192" or "tail, 10; bottleneck, 0.1"."""
        text, kind = text.strip(), self.kind
        if text.lower() in NOTHING and (self.may_be_none or get_origin(kind) is tuple):
            return self.check(None if self.may_be_none else ())
        if self.choices:
            return self.check({str(choice): choice for choice in self.choices}.get(text, text))
        if kind is bool:
            word = text.lower()
            return self.check(word in YES if word in (*YES, *NO) else text)
        if get_origin(kind) is not tuple:
            return self.check(self._part(text.replace(",", "."), kind))  # a decimal point to half of Europe
        rows = get_origin(get_args(kind)[0]) is tuple
        return self.check(self._parts(text, kind, ";" if rows else r"[\s,;×]+"))

    def _parts(self, text: str, kind: Any, separator: str) -> tuple[object, ...]:
        """Read several values; those of a row have commas between them, for a name in it may hold spaces."""
        parts = [part.strip() for part in re.split(separator, text.strip("()[] ")) if part.strip()]
        kinds = get_args(kind)
        kinds = kinds[:1] * len(parts) if kinds[-1] is ... else kinds
        if len(parts) != len(kinds):
            raise self._refusal(text)
        pairs = zip(parts, kinds, strict=True)
        return tuple(self._parts(p, k, ",") if get_origin(k) is tuple else self._part(p, k) for p, k in pairs)

    def _part(self, text: str, kind: Any) -> object:
        try:
            return kind(text)
        except ValueError:
            raise SettingsError(f"{self.short} is {text!r}; give {self._number(kind)}.", self.name) from None

    def _refusal(self, value: object) -> SettingsError:
        return SettingsError(f"{self.short} is {value!r}; give {self.wanted}.", self.name)

    def _is_within(self, number: float) -> bool:
        low = (self.at_least is None or number >= self.at_least) and (self.above is None or number > self.above)
        high = (self.at_most is None or number <= self.at_most) and (self.below is None or number < self.below)
        return low and high

    def _number(self, kind: Any) -> str:
        return f"{'a whole number' if kind is int else 'a number'}{self._range()}"

    def _range(self) -> str:
        most = " to " if self.above is None else ", at most "
        ends = {" from ": self.at_least, " above ": self.above, most: self.at_most, ", below ": self.below}
        return "".join(f"{word}{end}" for word, end in ends.items() if end is not None)


def setting(default: T, title: str, **limits: Any) -> T:
    """Declare a field of settings: its default, its plain name, and the unit and limits that `Setting` lists."""
    given: T = field(default=default, metadata={"title": title, **limits})
    return given


class SettingsGroup:
    """What every group of settings does: it knows what was declared of its fields, checks and documents them.

    `group` is the group's name within `Settings`, `title` what people read in place of it. The docstring is
    completed when a class is made: a field each.
    """

    declared: ClassVar[dict[str, Setting]]
    prefix: ClassVar[str]
    title: ClassVar[str]

    def __init_subclass__(cls, group: str = "", title: str = "") -> None:
        hints, words = get_type_hints(cls), _words_below_fields(cls.__module__)
        declared, prefix = dict[str, Setting](), f"{group}." if group else ""
        for name, value in vars(cls).items():
            if name in hints and not is_dataclass(hints[name]):
                limits = value.metadata if isinstance(value, Field) else {}
                default = value.default if isinstance(value, Field) else value
                known = {"words": words.get((cls.__name__, name), ""), **limits}
                declared[name] = Setting(prefix + name, hints[name], default, **known)
        cls.declared, cls.prefix, cls.title = declared, prefix, title
        about, examples, shown = inspect.cleandoc(cls.__doc__ or "").partition("Examples\n--------\n")
        fields = "\n".join(map(_documented, cls.declared.values()))
        cls.__doc__ = f"{about.rstrip()}\n\nParameters\n----------\n{fields}\n\n{examples}{shown}"

    def __post_init__(self) -> None:
        for name, declared in self.declared.items():
            object.__setattr__(self, name, declared.check(getattr(self, name)))
        for name, problem in self.problems():
            raise SettingsError(problem, f"{self.prefix}{name}")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Find what no field shows by itself: the field that it is shown at, and a sentence."""
        yield from ()


def _documented(setting: Setting) -> str:
    words = textwrap.indent(textwrap.fill(setting.words, 108), "    ")
    return f"{setting.short} : {setting.wanted}; default {setting.default!r}\n{words}"


@cache
def _words_below_fields(module: str) -> dict[tuple[str, str], str]:
    """Give the string that stands below each field of a module's classes, which Python itself does not keep."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError):  # a program packed without its source knows its settings, but not what they do
        return {}
    words = {}
    for group in (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)):
        for one, below in pairwise(group.body):
            if (
                isinstance(one, ast.AnnAssign)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                words[group.name, ast.unparse(one.target)] = " ".join(str(below.value.value).split())
    return words


def _as_kind(value: Any, kind: Any) -> Any:
    """Give a value as this type has it; TypeError or ValueError where it is of another kind."""
    value = value.tolist() if hasattr(value, "tolist") else value  # NumPy's and PyTorch's numbers
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return choices[choices.index(value)]
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        values = (value,) if isinstance(value, str) and kinds == (str, ...) else value
        if not isinstance(values, tuple | list):  # JSON gives lists
            raise TypeError
        if kinds == (str, ...):
            words = [_as_kind(word, str).strip() for word in values]
            return tuple(word for word in words if word.lower() not in NOTHING)
        kinds = kinds[:1] * len(values) if kinds[-1] is ... else kinds
        return tuple(_as_kind(one, inner) for one, inner in zip(values, kinds, strict=True))
    if kind in (bool, str):
        if not isinstance(value, kind):
            raise TypeError
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise TypeError
    if kind is int and value != int(value):
        raise ValueError
    return int(value) if kind is int else value


def _kinds_within(kind: Any) -> set[Any]:
    """Give the types of the single values within a type of tuples."""
    return {one for inner in get_args(kind) for one in _kinds_within(inner)} if get_args(kind) else {kind} - {...}


def _numbers(value: object) -> list[float]:
    """Give every number within a value."""
    if isinstance(value, tuple):
        return [number for one in value for number in _numbers(one)]
    return [value] if isinstance(value, int | float) else []
