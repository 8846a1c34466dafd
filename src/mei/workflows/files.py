"""Result files that the user names."""

from __future__ import annotations

from pathlib import Path

from mei.model.errors import OutputError
from mei.report.atomic import write_atomically


def check_folder(path: str | None) -> None:
    """Before a long run: the folder that `path` will be written to must be there. Raises OutputError."""
    if path is not None and not Path(path).parent.is_dir():
        raise OutputError(
            f"{path} must be in a folder that exists, {Path(path).parent} does not: create it or name another path"
        )


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
