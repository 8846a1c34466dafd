"""Whether a file can be made where a flag says, asked before anything else is done."""

from __future__ import annotations

import os
from pathlib import Path

from mei.model.errors import OutputError


def require_place(path: Path) -> None:
    """Raise OutputError unless a file can be made at `path`, or is there; nothing is made."""
    folder = path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        found = path if path.is_dir() else folder
        raise OutputError(
            f"{path}: must be a file in a folder that can be written to, {found} is in the way; give another path"
        )
