"""Files that are either the old ones or the new ones, never half of either."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mei.model import faults
from mei.model.errors import OutputError

_BLOCK_BYTES = 1 << 20

_REMEDIES = {
    errno.EROFS: "the file system is read-only; mount it writable or set another RESULTS_DIR",
    errno.EACCES: "make the folder writable for this user (UID, GID) or set another RESULTS_DIR",
    errno.EPERM: "make the folder writable for this user (UID, GID) or set another RESULTS_DIR",
    errno.ENOSPC: "the disk is full; free some space and start again, the run resumes",
    errno.EDQUOT: "the disk quota is used up; free some space and start again, the run resumes",
    errno.ENOENT: "the folder is absent; create it or set RESULTS_DIR to one that exists",
    errno.ENOTDIR: "a part of the path is a file, not a folder; set RESULTS_DIR to a folder",
    errno.EISDIR: "a folder stands where the file should be; move it away",
}


def output_error(path: Path, cause: OSError) -> OutputError:
    """The one-line error for a failed write to `path`: what failed, where, and what to do."""
    remedy = _REMEDIES.get(cause.errno or 0, "check the disk and the mount, then start again")
    return OutputError(f"{path} must be writable, was not ({cause.strerror or cause}): {remedy}")


def ensure_folder(folder: Path) -> None:
    """Make `folder` and its parents if absent. Raises OutputError when that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise output_error(folder, NotADirectoryError(errno.ENOTDIR, "Not a directory")) from None
    except OSError as error:
        raise output_error(folder, error) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that a reader, or a crash, sees all of it or the old file.

    Raises OutputError when the folder is absent, read-only or full; the old file is then untouched.
    Fault points: `report.<stem>.before_rename` and `.after_rename`.
    """
    _replace(path, (content,))


def write_blocks_atomically(path: Path, blocks: Iterable[bytes]) -> None:
    """As `write_atomically`, with the content in blocks: memory stays flat."""
    _replace(path, blocks)


def copy_atomically(source: Path, target: Path) -> None:
    """As `write_atomically`, with the content of `source`, in blocks: memory stays flat."""
    if not source.is_file():
        raise OutputError(f"{source} must exist to be copied to {target}, is absent: run again")
    _replace(target, _blocks(source))


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hex, read in blocks. Raises OutputError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        for block in _blocks(path):
            digest.update(block)
    except OSError as error:
        raise OutputError(f"{path} must be readable, was not ({error.strerror})") from error
    return digest.hexdigest()


def _replace(path: Path, blocks: Iterable[bytes]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = _open_locked(temporary)
        try:
            _write_all(descriptor, blocks)
            faults.hit(f"report.{path.stem}.before_rename")
            temporary.replace(path)
            faults.hit(f"report.{path.stem}.after_rename")
        except OSError:
            temporary.unlink(missing_ok=True)  # half a file helps nobody, least of all a full disk
            raise
        finally:
            os.close(descriptor)
        fsync_folder(path.parent)
    except OSError as error:
        raise output_error(path, error) from error


def _open_locked(temporary: Path) -> int:
    """The temporary file, locked: two writers take turns, a killed one leaves one file at most."""
    while True:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_same_file(descriptor, temporary):
            return descriptor
        os.close(descriptor)  # the one before us renamed it into place while we waited


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write_all(descriptor: int, blocks: Iterable[bytes]) -> None:
    os.ftruncate(descriptor, 0)
    for block in blocks:
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` as durable as the files: without it a crash may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
