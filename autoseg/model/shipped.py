"""The models that come with autoseg: where they lie, and that nothing is ever written there.

They lie in the package, apart from the user's own folder of models, so that a fresh copy has them, and no training
of the same name takes their place. `benchmarks/box.py` makes them.
"""

from __future__ import annotations

from pathlib import Path

from autoseg.errors import OutputError

BOX = Path(__file__).with_name("box")
# The first is the one that is chosen where a user has no model of his own: the sample's patient is one for it.
NAMES = ("heart", "lumbar spine", "cord")


def box_path(name: str) -> Path:
    """Give the place of the shipped model of this name, whether it is there or not."""
    return BOX / f"{name.replace(' ', '_')}.pt"


def shipped_files() -> list[Path]:
    """Give the files of the models that come with autoseg, in their order."""
    return [path for path in map(box_path, NAMES) if path.is_file()]


def find_shipped(name: str) -> Path | None:
    """Give the shipped model of this name; None where there is none."""
    return next((path for path in shipped_files() if name in (path.stem, path.stem.replace("_", " "))), None)


def is_shipped(path: Path) -> bool:
    """Tell whether a file is one that comes with autoseg."""
    return Path(path).resolve().parent == BOX.resolve()


def check_not_shipped(path: Path) -> None:
    """Refuse to write a model anew that comes with autoseg; an OutputError with the remedy."""
    if is_shipped(path):
        raise OutputError(
            f"{path} comes with autoseg and is never changed. Copy it into trained_model and name the copy."
        )
