"""Where the system keeps what a user has set up."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def own_folder() -> Path:
    """Give autoseg's folder among the user's own settings, which need not be there yet."""
    if sys.platform == "win32":
        own = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        own = Path.home() / "Library" / "Application Support"
    else:
        own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return own / "autoseg"
