"""Result files that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mei.model.errors import ConfigError, OutputError
from mei.report.atomic import write_atomically

#: A flag and its path; None when it is not given.
Named = tuple[str, str | None]
_MAY_SHARE = ("--export-state", "--init-state")


def check_folder(path: str | None) -> None:
    """Before a long run: the folder that `path` will be written to must be there. Raises OutputError."""
    if path is not None and not Path(path).parent.is_dir():
        raise OutputError(
            f"{path} must be in a folder that exists, {Path(path).parent} does not: create it or name another path"
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


def write_result(path: str, text: str) -> None:
    """Replace file `path` as a whole; a device or pipe is written to as it is. Raises OutputError."""
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(text.encode())
        else:
            write_atomically(target, text.encode())
    except OSError as error:
        raise _unwritable(path, error) from error
    except OutputError as error:
        raise _unwritable(path, error.__cause__) from error


def _unwritable(path: str, cause: BaseException | None) -> OutputError:
    why = getattr(cause, "strerror", None) or cause
    return OutputError(
        f"{path} must be writable, was not ({why}): check disk and rights, or name another path"
    )
