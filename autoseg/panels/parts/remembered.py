"""What was chosen in a notebook on other days, by what it was chosen for; kept for this user alone."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.errors import OutputError
from autoseg.files.atomic import whole_file
from autoseg.files.cache import cache_folder

FILE = "last_chosen.json"
MOST = 5


@dataclass(frozen=True)
class Chosen:
    """A path that a person chose, and when, in seconds since 1970."""

    path: Path
    when_s: float

    @property
    def day(self) -> str:
        """The day in the words of tables."""
        return time.strftime("%Y-%m-%d", time.localtime(self.when_s))


def remember(what: str, path: Path) -> None:
    """Keep what was chosen in this notebook's folder; where nothing can be kept, it is forgotten without a word."""
    with suppress(OSError, OutputError):
        known = _read()
        here = known.setdefault(str(Path.cwd()), {})
        others = [[str(one.path), one.when_s] for one in _listed(here.get(what)) if one.path != path]
        here[what] = [[str(path), time.time()], *others][:MOST]
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        with whole_file(cache_folder() / FILE, mode=0o600) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")


def remembered(what: str) -> tuple[Chosen, ...]:
    """Give what was chosen for this in this notebook's folder and is still there, the latest first."""
    here = _read().get(str(Path.cwd()))
    found = []
    for one in _listed(here.get(what) if isinstance(here, dict) else None):
        with suppress(OSError):
            if one.path.exists():
                found.append(one)
    return tuple(found)


def _read() -> dict[str, Any]:
    try:
        known = json.loads((cache_folder() / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: here for name, here in known.items() if isinstance(here, dict)} if isinstance(known, dict) else {}


def _listed(kept: Any) -> list[Chosen]:
    """Give the entries that are what `remember` writes; anybody may have changed the file."""
    return (
        [
            Chosen(Path(path), float(when))
            for path, when in (one for one in kept if isinstance(one, list) and len(one) == 2)
            if isinstance(path, str) and isinstance(when, int | float)
        ]
        if isinstance(kept, list)
        else []
    )
