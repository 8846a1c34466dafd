"""The text of candle files in blocks of whole lines, whatever they are packed in."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from mei.model.errors import DataError

#: What one block holds at most: about 17,000 candles, so that memory does not depend on the file's size.
BLOCK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16

SUFFIXES = (".csv", ".csv.gz", ".zip")

#: What gzip, zipfile, zlib and the file system raise on something that cannot be read to its end.
_UNREADABLE = (EOFError, OSError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class TextBlock(NamedTuple):
    """Whole lines of valid UTF-8, each ended by a newline; `first_line` counts from 1 in the file."""

    first_line: int
    text: bytes


def is_candle_file(path: Path) -> bool:
    """Whether the name says candles: .csv, .csv.gz or .zip, and not hidden."""
    return path.name.endswith(SUFFIXES) and not path.name.startswith(".")


def file_sha256(path: Path) -> str:
    """SHA-256 of the bytes of the file as they lie on the disk, in hex; DataError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); check it and its rights"
        ) from None


def text_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[TextBlock]:
    """The lines of a .csv, .csv.gz or .zip (with one .csv inside), in blocks of about `block_bytes`.

    Blank lines at the very end are left out. DataError, with the line, when the packing is cut short or damaged,
    when the bytes are no UTF-8, or when a line is longer than a block.
    """
    line = 1
    waiting = bytearray()
    try:
        with _opened(path) as stream:
            while piece := stream.read1(block_bytes):  # type: ignore[attr-defined]
                waiting += piece
                if len(waiting) < block_bytes:
                    continue
                text = _whole_lines(waiting, path, line)
                yield TextBlock(line, text)
                line += text.count(b"\n")
    except _UNREADABLE as error:
        raise _unreadable(path, line + waiting.count(b"\n"), error) from None
    if rest := bytes(waiting).rstrip():
        yield TextBlock(line, _utf8(rest + b"\n", path, line))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive, archive.open(_only_csv(archive, path)) as member:
            yield member
    elif path.name.endswith(".gz"):
        with gzip.open(path) as unpacked:
            yield unpacked  # type: ignore[misc]
    else:
        with path.open("rb") as plain:
            yield plain


def _only_csv(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        raise DataError(
            f"{path}:1: a zip must hold exactly one .csv, this one holds {len(names)}; unpack it"
        )
    return names[0]


def _whole_lines(waiting: bytearray, path: Path, line: int) -> bytes:
    end = waiting.rfind(b"\n") + 1
    if end == 0:
        raise DataError(
            f"{path}:{line}: a line must be shorter than {len(waiting)} bytes, this one is not; is this a CSV?"
        )
    text = bytes(waiting[:end])
    del waiting[:end]
    return _utf8(text, path, line)


def _utf8(text: bytes, path: Path, first_line: int) -> bytes:
    if text.isascii():
        return text
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = first_line + text.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}: candles must be UTF-8 text, found byte 0x{text[error.start]:02x};"
            " is it packed without .gz or .zip in its name, or in another encoding?"
        ) from None
    return text


def _unreadable(path: Path, line: int, error: Exception) -> DataError:
    if isinstance(error, EOFError):
        return DataError(
            f"{path}:{line}: the file is cut short here (truncated {path.suffix}); fetch it again"
        )
    packing = {".gz": "gz", ".zip": "zip"}.get(path.suffix, "file")
    return DataError(
        f"{path}:{line}: the {packing} is damaged or unreadable from here ({error}); fetch it again"
    )
