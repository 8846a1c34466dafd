"""Which incarnations of the service live: each holds the lock of a file, which falls with its process."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from mei.model.errors import OutputError

_FOLDER = ".instances"
_TEMPORARY = ".tmp-"


class Instance:
    """A living incarnation. `owner`, `<service>@<id>`, is the name on its claims; no other ever has it."""

    def __init__(self, root: Path, service_name: str, instance_id: str) -> None:
        """Take the lock of a new file below `root`. Raises OutputError when none can be made."""
        self.owner = f"{service_name}@{instance_id}"
        self._path = _lock_path(root, instance_id)
        fresh = self._path.with_name(f"{_TEMPORARY}{instance_id}")
        try:
            fresh.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor: int | None = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            # Locked before it has its name: nobody can find it free.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fresh.rename(self._path)
        except OSError as error:
            raise OutputError(
                f"a service must be able to hold a lock file, {self._path} failed with {error.strerror}; "
                "set MODELS_DIR to a writable folder"
            ) from error

    def end(self) -> None:
        """Let go of the lock, as the end of the process would."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_dead(root: Path, owner: str) -> bool:
    """Whether the incarnation `owner` certainly ended: its file is here, and nobody holds the lock."""
    try:
        descriptor = os.open(_lock_path(root, owner.rpartition("@")[2]), os.O_RDWR)
    except OSError:
        return False
    try:
        # Shared: two who ask at once do not take each other for the one who holds it.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def sweep(root: Path) -> None:
    """Delete the files of the dead, once nothing names them any more."""
    for path in (root / _FOLDER).glob("*.lock"):
        if is_dead(root, f"@{path.stem}"):
            with suppress(OSError):
                path.unlink()


def _lock_path(root: Path, instance_id: str) -> Path:
    return root / _FOLDER / f"{instance_id}.lock"
