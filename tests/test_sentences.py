"""Sentences speak to a clinician: no code in them, no Python lists, no "file(s)"."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import autoseg

MODULES = sorted((Path(__file__).resolve().parents[1] / "autoseg").rglob("*.py"))
# What makes sentences, beside whatever raises an error.
TELLING = {
    "Finding",
    "finding_of",
    "SkippedFile",
    "GraveNote",
    "ReadingNote",
    "warn",
    "notice",
    "say",
}
FUNCTIONS = {name for name in autoseg.__all__ if name[0].islower() and "_" in name}
# An argument (unlabelled='skip'), a call (Settings(…)), a class or a name between grave accents.
CODE = re.compile(r"\b[a-z_]+=(?:['\"]|True|False|None)|\b[A-Za-z_]+\((?:…|[a-z_]+=|\))|\b[A-Z][a-z]+Settings\b|`")
LITERALS = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
CONTAINERS = {"sorted", "list", "set", "tuple", "dict", "frozenset"}


def called(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "id", getattr(function, "attr", ""))


def sentences() -> Iterator[tuple[str, ast.AST]]:
    """Give each piece of text, and each value put into one, that an error, finding or note is made of."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            made = node.exc if isinstance(node, ast.Raise) else node
            if made is None or not (called(made).endswith("Error") or called(made) in TELLING):
                continue
            for inner in ast.walk(made):
                if isinstance(inner, ast.FormattedValue) or (
                    isinstance(inner, ast.Constant) and isinstance(inner.value, str) and " " in inner.value
                ):
                    yield f"{path.name}:{inner.lineno}", inner


def test_no_sentence_has_code_words():
    wrong = [
        (where, inner.value)
        for where, inner in sentences()
        if isinstance(inner, ast.Constant)
        and (CODE.search(inner.value) or FUNCTIONS & set(re.findall(r"\b[a-z]+_[a-z_]+\b", inner.value)))
    ]
    assert wrong == []


def test_no_sentence_shows_a_python_list():
    wrong = [
        (where, ast.unparse(inner.value))
        for where, inner in sentences()
        if isinstance(inner, ast.FormattedValue)
        and (isinstance(inner.value, LITERALS) or called(inner.value) in CONTAINERS)
    ]
    assert wrong == []


def test_nouns_are_singular_or_plural():
    wrong = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        wrong += [
            f"{path.name}:{node.lineno} {node.value}"
            for node in texts
            if ">>>" not in node.value and re.search(r"[a-z]\(s\)", node.value)
        ]
    assert wrong == []


# What gives marked words to a sentence that another function makes.
MARKING = {"name_private", "in_words", "_which", "_of_stack", "_about_lonely_labels"}


def test_marks_of_private_names_end_in_what_takes_them_off():
    """`private` puts signs around a name; only a `Told`, which errors and findings are made of, takes them off."""
    open_ended = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or node.name in MARKING:
                continue
            used = {getattr(inner, "id", "") for inner in ast.walk(node)} & {"private", "name_private"}
            made = {called(inner) for inner in ast.walk(node)}
            if used and not any(
                name.endswith(("Error", "Finding")) or name in {"Told", "finding_of"} for name in made
            ):
                open_ended.append(f"{path.name}:{node.lineno} {node.name}")
    assert open_ended == []
