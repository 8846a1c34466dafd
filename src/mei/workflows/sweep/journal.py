"""Finished rows on disk: a header, then one frame a chunk, each of fixed records under a checksum.

A frame is appended, flushed to the disk, and only then counted as done. What a crash leaves half-written at the end is
cut off when the journal is opened again; a frame whose records do not match their checksum is not done and runs again.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from mei.model import faults
from mei.model.errors import ConflictError, DataError
from mei.report.atomic import output_error

_MAGIC: Final = b"MEI-SWEEP-JOURNAL-1\n"
#: Bytes of the header's JSON, and its CRC-32.
_HEAD: Final = struct.Struct("<II")
#: Mark, chunk, records, CRC-32 of the records, CRC-32 of the fields before.
_FRAME: Final = struct.Struct("<4sQQII")
_MARK: Final = b"CHNK"


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the records of a finished chunk are: `n_records` of them from byte `offset` on."""

    chunk: int
    offset: int
    n_records: int


class Journal:
    """The journal of one sweep, open for appending by this process alone."""

    def __init__(self, path: Path, identity: str, record_dtype: np.dtype[Any]) -> None:
        """Open or create `path`. identity: what the rows are of; a journal of anything else is refused.

        Raises ConflictError while another process has it open, DataError for a file that is no such journal,
        OutputError when it cannot be written.
        """
        self.path = path
        self.dtype = np.dtype(record_dtype)
        self.frames: dict[int, Frame] = {}
        #: What was wrong with the file, a line each, for the user.
        self.repairs: list[str] = []
        self._head = _head_bytes(identity, self.dtype)
        self._descriptor = _opened_alone(path)
        try:
            self._open()
        except OSError as error:
            self.close()
            raise output_error(path, error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def n_rows(self) -> int:
        """Rows of finished chunks."""
        return sum(frame.n_records for frame in self.frames.values())

    def append(self, chunk: int, records: Any) -> None:
        """Add the records of a chunk and flush them to the disk. A chunk that is there already is left as it is.

        Fault points: `sweep.journal.torn` with half a frame written, `sweep.journal.appended` after the flush.
        """
        if chunk in self.frames:
            return
        payload = np.ascontiguousarray(records, dtype=self.dtype).tobytes()
        fields = (_MARK, chunk, len(records), zlib.crc32(payload))
        head = _FRAME.pack(*fields, _head_crc(fields))
        try:
            start = os.lseek(self._descriptor, 0, os.SEEK_END)
            middle = len(payload) // 2
            _write(self._descriptor, head + payload[:middle])
            faults.hit("sweep.journal.torn")
            _write(self._descriptor, payload[middle:])
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise output_error(self.path, error) from error
        self.frames[chunk] = Frame(chunk, start + _FRAME.size, len(records))
        faults.hit("sweep.journal.appended")

    def blocks(self) -> Iterator[tuple[Frame, Any]]:
        """Every finished chunk with its records, by chunk number."""
        for chunk in sorted(self.frames):
            yield self.frames[chunk], self.records(chunk)

    def records(self, chunk: int) -> Any:
        """The records of a finished chunk, (n,)."""
        frame = self.frames[chunk]
        return self._records(frame.offset, frame.n_records)

    def record(self, frame: Frame, place: int) -> Any:
        """Record `place` of a frame, (1,)."""
        return self._records(frame.offset + place * self.dtype.itemsize, 1)

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Close and delete."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _records(self, offset: int, n_records: int) -> Any:
        n_bytes = n_records * self.dtype.itemsize
        found = os.pread(self._descriptor, n_bytes, offset)
        while len(found) < n_bytes:
            more = os.pread(self._descriptor, n_bytes - len(found), offset + len(found))
            if not more:
                raise DataError(
                    f"{self.path} must hold {n_bytes} bytes at {offset}, is shorter now"
                )
            found += more
        return np.frombuffer(found, dtype=self.dtype)

    def _open(self) -> None:
        size = os.fstat(self._descriptor).st_size
        head = os.pread(self._descriptor, len(self._head), 0)
        if head == self._head:
            self._scan(size)
        elif self._head.startswith(head):
            os.ftruncate(self._descriptor, 0)
            _write(self._descriptor, self._head)
            os.fsync(self._descriptor)
        else:
            raise DataError(
                f"{self.path} must be the journal of this sweep, is something else: move it away, or name "
                "another --output"
            )

    def _scan(self, size: int) -> None:
        """Find the frames; cut off what is not one at the end."""
        at = len(self._head)
        while at < size:
            fields = os.pread(self._descriptor, _FRAME.size, at)
            frame = _frame_of(fields, at)
            end = at if frame is None else frame.offset + frame.n_records * self.dtype.itemsize
            if frame is None or end > size:
                self.repairs.append(
                    f"{self.path}: {size - at} bytes at the end were not a whole chunk and are cut off"
                )
                os.ftruncate(self._descriptor, at)
                return
            payload_crc = _FRAME.unpack(fields)[3]
            found = self._records(frame.offset, frame.n_records)
            if zlib.crc32(found.tobytes()) == payload_crc:
                self.frames[frame.chunk] = frame
            else:
                self.repairs.append(
                    f"{self.path}: chunk {frame.chunk} does not match its checksum and runs again"
                )
            at = end


def _opened_alone(path: Path) -> int:
    """The file, made if absent and locked by this process; a file that was removed while we waited is opened anew."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise output_error(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
            os.close(descriptor)
        except FileNotFoundError:
            os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise ConflictError(
                f"{path} must not be in use, another sweep is writing it: wait for that one, or name another --output"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise output_error(path, error) from error


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _head_bytes(identity: str, dtype: np.dtype[Any]) -> bytes:
    text = json.dumps({"identity": identity, "record": dtype.descr}, sort_keys=True).encode()
    return _MAGIC + _HEAD.pack(len(text), zlib.crc32(text)) + text


def _head_crc(fields: tuple[Any, ...]) -> int:
    return zlib.crc32(_FRAME.pack(*fields, 0)[:-4])


def _frame_of(found: bytes, at: int) -> Frame | None:
    """The frame whose head stands at byte `at`, if one does."""
    if len(found) < _FRAME.size:
        return None
    *fields, crc = _FRAME.unpack(found)
    if fields[0] != _MARK or crc != _head_crc(tuple(fields)):
        return None
    return Frame(fields[1], at + _FRAME.size, fields[2])
