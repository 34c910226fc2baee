"""Rules that ruff, mypy and import-linter do not hold: docstrings, a light import, one list of versions."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "autoseg").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def key(requirement: str) -> str:
    """The name in a requirement, as package indexes compare names."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


# --- rooms


def test_readme_and_design_show_the_rows_that_are_checked():
    contract = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    drawing = "".join(f"    {row}\n" for row in contract["layers"])
    assert [name for name in ("README.md", "DESIGN.md") if drawing not in read(name)] == []


# --- docstrings


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def test_every_public_name_has_a_docstring():
    bare = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [name for name, node in public(tree.body) if not ast.get_docstring(node)]
        bare += [f"{path}: {name}" for name in ([] if ast.get_docstring(tree) else ["the module"]) + names]
    assert bare == []


def test_the_top_of_the_package_is_small():
    names = {
        path.name
        for path in (ROOT / "autoseg").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert len(names - {"__init__.py", "__main__.py"}) <= 13, names


def test_no_two_modules_import_each_other():
    grimp = pytest.importorskip("grimp", reason="import-linter is not installed")
    graph = grimp.build_graph("autoseg", cache_dir=None)
    pairs = [
        (module, other)
        for module in graph.modules
        for other in graph.find_modules_directly_imported_by(module)
        if module < other and module in graph.find_modules_directly_imported_by(other)
    ]
    assert pairs == []


def test_no_module_is_a_drawer_for_odds_and_ends():
    assert {path.stem for path in MODULES} & {"utils", "helpers", "common", "misc"} == set()


# --- a light import


def test_importing_autoseg_loads_no_heavy_package():
    heavy = "torch monai pandas matplotlib scipy cv2 pydicom nibabel IPython"
    code = f"import autoseg, sys; print(*[n for n in {heavy.split()} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_public_name_can_be_had():
    import autoseg

    assert [name for name in autoseg.__all__ if getattr(autoseg, name, None) is None] == []


# --- one list of versions, and files that agree


def pins() -> dict[str, str]:
    lines = [line for line in read("constraints.txt").splitlines() if line and line[0] != "#"]
    return {key(line): line.split("==")[1] for line in lines}


def test_whatever_the_project_asks_for_is_pinned():
    project = PROJECT["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert [name for name in asked if key(name) not in pins()] == []


def test_the_pins_are_bare_versions():
    lines = [line for line in read("constraints.txt").splitlines() if line and line[0] != "#"]
    # No "+cpu" and no address: the same list serves every computer.
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert len(lines) == len(pins())


def test_what_is_installed_here_agrees_with_the_pins():
    from importlib.metadata import distributions

    installed = {key(found.name): found.version.split("+")[0] for found in distributions()}
    wrong = {name: (installed[name], pin) for name, pin in pins().items() if installed.get(name, pin) != pin}
    assert wrong == {}


def test_conda_asks_for_the_same_torch_and_a_python_that_fits():
    text = read("environment.yml")
    assert f"torch=={pins()['torch']}" in text
    assert "-c constraints.txt" in text
    python = re.search(r"python=([\d.]+)", text)[1]
    assert PROJECT["project"]["requires-python"] == f">={python}"


def test_no_file_names_a_package_server():
    names = ("pyproject.toml", "constraints.txt", "environment.yml", "workbench.py", ".ci/run")
    server = re.compile(r"index-url|find-links|https?://\S*(pypi|pythonhosted|download\.pytorch)")
    assert [name for name in names if server.search(read(name))] == []


def test_the_readme_tells_what_a_newcomer_needs():
    text = read("README.md")
    for words in ("Python 3.11", "Apache-2.0", "workbench.py demo", "workbench.py test", "environment.yml"):
        assert words in text, f"README.md does not mention {words}"


def test_the_changelog_has_this_version():
    version = PROJECT["project"]["version"]
    assert re.search(rf"^## .*{re.escape(version)}", read("CHANGELOG.md"), flags=re.MULTILINE)


def test_the_licence_is_whole():
    text = read("LICENSE")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"
