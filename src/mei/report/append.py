"""A text file that grows during a run, and is cut back to the checkpoint when it resumes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from mei.model import faults
from mei.model.errors import OutputError
from mei.report.atomic import fsync_folder, output_error

_BUFFER_BYTES = 1 << 18


class AppendLog:
    """Append-only UTF-8 text with one header line.

    `offset` None starts a new file (an old one is emptied). Otherwise the file must start with
    `header` and hold at least `offset` bytes, and is cut back to them. Lines are durable once
    `commit` has returned. Raises OutputError, with what to do, when the file cannot be used.
    """

    def __init__(self, path: Path, header: str, offset: int | None) -> None:
        self._path = path
        self._is_on_disk = False
        try:
            if offset is None:
                self._file = path.open("wb", buffering=_BUFFER_BYTES)
                self._file.write(f"{header}\n".encode())
                fsync_folder(path.parent)
            else:
                _check_resumable(path, header, offset)
                self._file = path.open("r+b", buffering=_BUFFER_BYTES)
                self._file.truncate(offset)
                self._file.seek(offset)
        except OSError as error:
            raise output_error(path, error) from error

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def write_lines(self, lines: Sequence[str]) -> None:
        """Append `lines` (without line ends), buffered. Raises OutputError when refused."""
        if not lines:
            return
        try:
            self._file.write(("\n".join(lines) + "\n").encode())
            self._is_on_disk = False
        except OSError as error:
            raise output_error(self._path, error) from error

    def commit(self) -> int:
        """Put all lines on disk; the size in bytes, to be stored in the checkpoint.

        Fault points: `report.<stem>.before_commit` and `.after_commit`.
        """
        faults.hit(f"report.{self._path.stem}.before_commit")
        try:
            if not self._is_on_disk:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._is_on_disk = True
        except OSError as error:
            raise output_error(self._path, error) from error
        faults.hit(f"report.{self._path.stem}.after_commit")
        return self._file.tell()

    def close(self) -> None:
        """Close the file; what was not committed may or may not be in it."""
        try:
            self._file.close()
        except OSError as error:
            raise output_error(self._path, error) from error

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_resumable(path: Path, header: str, offset: int) -> None:
    remedy = "restore the file, or start the run again with RERUN=1"
    if not path.is_file():
        raise OutputError(
            f"{path} must exist to resume the run at byte {offset}, but is absent: {remedy}"
        )
    size_bytes = path.stat().st_size
    if size_bytes < offset:
        raise OutputError(
            f"{path} must hold the {offset} bytes of the checkpoint, holds {size_bytes}: {remedy}"
        )
    expected = f"{header}\n".encode()
    with path.open("rb") as file:
        found = file.read(len(expected))
    if found != expected or offset < len(expected):
        line = found.decode(errors="replace").rstrip()
        raise OutputError(f"{path} line 1 must be {header!r}, was {line!r}: {remedy}")
