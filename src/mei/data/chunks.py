"""Chunk files of the ingest: `<incoming>/<stream>/<BASE_QUOTE>/<timeframe>/<first_ms>-<sha256[:16]>.npy`.

The name says the content, so a chunk written again is the same file. The live ingester puts `.csv` there, others may
put `.csv.gz`; they are read by the rules of research candles with GAP_POLICY=keep.
"""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from mei.data.candle_file import CandleFile, read_head
from mei.data.candle_text import csv_text
from mei.model import faults
from mei.model.bars import BAR_DTYPE, BarArray, interval_ms, path_name
from mei.model.errors import DataError, OutputError

_NPY_VERSION = (1, 0)
#: How the bars of a chunk file are written.
ChunkKind = Literal["npy", "csv"]


@dataclass(frozen=True, slots=True)
class ChunkContent:
    """A chunk on the disk. sha256: of the file's bytes. path: relative to the incoming folder, posix."""

    sha256: str
    path: str
    first_ms: int
    last_ms: int
    n_bars: int


def write_chunk(
    incoming: Path,
    stream: str,
    symbol: str,
    timeframe: str,
    bars: BarArray,
    kind: ChunkKind = "npy",
) -> ChunkContent:
    """Put `bars` (not empty, ascending, unique) under `incoming`, whole or not at all, flushed to the disk.

    Writing the same again changes nothing. DataError when the bars or the names cannot be a chunk's, OutputError when
    the disk refuses.
    """
    interval_ms(timeframe)
    folder = _inside(PurePosixPath(stream) / path_name(symbol) / timeframe)
    _require_chunk(bars, f"{folder}: bars to write")
    content = csv_text(bars).encode() if kind == "csv" else _packed(bars)
    sha256 = hashlib.sha256(content).hexdigest()
    first_ms, last_ms = int(bars["timestamp"][0]), int(bars["timestamp"][-1])
    path = folder / f"{first_ms}-{sha256[:16]}.{kind}"
    try:
        _put(incoming / path, content)
    except OSError as error:
        raise OutputError(
            f"{incoming / path}: a chunk must be writable here ({error.strerror}); check DATA_INCOMING and its rights"
        ) from None
    return ChunkContent(sha256, path.as_posix(), first_ms, last_ms, len(bars))


def read_chunk(incoming: Path, path: str, sha256: str) -> BarArray:
    """The bars of a chunk file, shape (n_bars,), BAR_DTYPE, ascending and unique.

    DataError when the file is missing, when its bytes do not have that SHA-256, or when they are no chunk.
    """
    relative = _inside(PurePosixPath(path))
    full = incoming / relative
    try:
        content = full.read_bytes()
    except OSError as error:
        raise DataError(
            f"{full}: a registered chunk must be readable ({error.strerror}); put the file back"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{full}: the chunk was altered: SHA-256 must be {sha256}, is {found}; put the file back"
        )
    if full.suffix == ".npy":
        return _unpacked(content, full)
    return _read_text_chunk(full, relative)


def _packed(bars: BarArray) -> bytes:
    packed = io.BytesIO()
    np.lib.format.write_array(packed, bars, version=_NPY_VERSION, allow_pickle=False)
    return packed.getvalue()


def _put(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with temporary.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    faults.hit("data.chunk.before_rename")
    temporary.rename(path)
    _flush_folder(path.parent)
    faults.hit("data.chunk.after_rename")


def _flush_folder(folder: Path) -> None:
    """Make the names in `folder` durable, not only the bytes they stand for."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inside(path: PurePosixPath) -> PurePosixPath:
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise DataError(
            f"{path}: a chunk must lie inside the incoming folder, as <stream>/<symbol>/<timeframe>/<file>"
        )
    return path


def _unpacked(content: bytes, path: Path) -> BarArray:
    try:
        bars = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(
            f"{path}: malformed chunk, it must be an .npy of candles ({error}); write it again"
        ) from None
    _require_chunk(bars, str(path))
    chunk: BarArray = bars
    return chunk


def _require_chunk(bars: BarArray, where: str) -> None:
    if (
        not isinstance(bars, np.ndarray)
        or bars.dtype != BAR_DTYPE
        or bars.ndim != 1
        or not len(bars)
    ):
        raise DataError(
            f"{where}: malformed chunk, it must be a non-empty vector of candles (BAR_DTYPE)"
        )
    if not (np.diff(bars["timestamp"]) > 0).all():
        raise DataError(f"{where}: malformed chunk, timestamps must ascend and be unique")


def _read_text_chunk(full: Path, relative: PurePosixPath) -> BarArray:
    step_ms = interval_ms(relative.parent.name)
    return np.concatenate(list(CandleFile(read_head(full, step_ms), step_ms, drop=False).blocks()))
