"""Result files that the user names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mei.model.errors import ConfigError, OutputError
from mei.report.atomic import write_blocks_atomically

#: A flag and its path; None when it is not given.
Named = tuple[str, str | None]
#: Names of what a process has open, a redirected standard output among them.
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
_MAY_SHARE = ("--export-state", "--init-state")


def check_folder(path: str | None) -> None:
    """Before a long run: the folder that `path` will be written to must be there, and `path` be none. OutputError."""
    if path is None:
        return
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{path} must be a file, is a directory: name a file in it")
    if not target.parent.is_dir():
        raise OutputError(
            f"{path} must be in a folder that exists, {target.parent} does not: create it or name another path"
        )
    if not target.exists() and not os.access(target.parent, os.W_OK):
        raise OutputError(
            f"{path} must be writable, {target.parent} is not: check its rights or name another path"
        )


def check_apart(outputs: Sequence[Named], inputs: Sequence[Named]) -> None:
    """Before a run: what is written must be neither read nor written twice. ConfigError, naming both flags.

    Of a pair the first is the flag, the second its path or None. Links are followed; devices and pipes may be shared.
    A state may be continued in place: --export-state may be the file of --init-state.
    """
    taken: dict[Path, str] = {}
    for flag, path in inputs:
        if path is not None:
            taken.setdefault(_resolved(path), flag)
    for flag, path in outputs:
        if path is None or (Path(path).exists() and not Path(path).is_file()):
            continue
        other = taken.setdefault(_resolved(path), flag)
        if other != flag and (flag, other) != _MAY_SHARE:
            raise ConfigError(
                f"{flag} must be a file of its own, {path} is that of {other}, too: name another path"
            )
        taken[_resolved(path)] = flag


def _resolved(path: str) -> Path:
    """One path for all names of a file, hard links left aside."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError):
        return Path(path).absolute()


def is_stream(path: str) -> bool:
    """A device, a pipe, or a name of standard output, which may be redirected to a file: written to as it is."""
    target = Path(path)
    is_standard = str(target.absolute()).startswith(_STREAMS)
    return is_standard or (target.exists() and not target.is_file())


def write_result(path: str, text: str) -> None:
    """Replace file `path` as a whole; a device or pipe is written to as it is. Raises OutputError."""
    write_result_blocks(path, (text.encode(),))


def write_result_blocks(path: str, blocks: Iterable[bytes]) -> None:
    """As `write_result`, with the content in blocks: memory stays flat."""
    target = Path(path)
    try:
        if is_stream(path):
            with target.open("ab") as device:
                device.writelines(blocks)
        else:
            # A link stays a link; what it points to is replaced.
            write_blocks_atomically(target.resolve() if target.is_symlink() else target, blocks)
    except OSError as error:
        raise _unwritable(path, error) from error
    except OutputError as error:
        raise _unwritable(path, error.__cause__) from error


def _unwritable(path: str, cause: BaseException | None) -> OutputError:
    why = getattr(cause, "strerror", None) or cause
    return OutputError(
        f"{path} must be writable, was not ({why}): check disk and rights, or name another path"
    )
