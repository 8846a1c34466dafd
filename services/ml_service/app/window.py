"""From registered files to the bars a training may use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mei.learning.features import PREDICT_WARM_UP_BARS
from mei.learning.split import covered
from mei.ledger.files import ChunkFile
from mei.ledger.series import BarRange, covers
from mei.model.bars import DAY_MS, BarArray, IntArray, empty_bars
from mei.model.errors import LookAheadError
from mei.model.http import TrainingSettings

#: Bytes of candles kept in memory between trainings (a year of 1m bars is 25 MB).
CHUNK_CACHE_BYTES = 64 * 1024 * 1024

ReadChunk = Callable[[ChunkFile], BarArray]


class ChunkCache:
    """Candles of chunk files by content, the least recently used given up first. For one thread at a time."""

    def __init__(self, read: ReadChunk, max_bytes: int = CHUNK_CACHE_BYTES) -> None:
        self._read = read
        self._max_bytes = max_bytes
        self._bytes = 0
        self._chunks: OrderedDict[str, BarArray] = OrderedDict()

    def __call__(self, file: ChunkFile) -> BarArray:
        """The bars of `file`, read once while they fit."""
        bars = self._chunks.get(file.sha256)
        if bars is not None:
            self._chunks.move_to_end(file.sha256)
            return bars
        bars = self._read(file)
        self._chunks[file.sha256] = bars
        self._bytes += bars.nbytes
        while self._bytes > self._max_bytes:
            _, dropped = self._chunks.popitem(last=False)
            self._bytes -= dropped.nbytes
        return bars


@dataclass(frozen=True, slots=True, eq=False)
class TrainingWindow:
    """bars: the window with the context before it, complete from its first bar on; rows: those of the window."""

    bars: BarArray
    rows: IntArray


def load_window(
    files: Sequence[ChunkFile],
    read: ReadChunk,
    consumed: Sequence[BarRange],
    settings: TrainingSettings,
    *,
    as_of_ms: int,
    step_ms: int,
) -> TrainingWindow:
    """The bars to train on as of `as_of_ms`, none of which closes later.

    Exactly-once: every bar not `consumed`, however old. Sliding: those that close within the last TRAIN_WINDOW_DAYS.
    A bar that several files hold is that of the file registered first.
    """
    newest_ms = as_of_ms - step_ms
    if settings.exactly_once:
        oldest_ms = _oldest_pending_ms(files, read, consumed)
    else:
        oldest_ms = newest_ms - round(settings.train_window_days * DAY_MS) + 1
    bars = _with_context(files, read, oldest_ms, newest_ms)
    is_wanted = bars["timestamp"] >= oldest_ms
    if settings.exactly_once:
        is_wanted &= ~covered(bars["timestamp"], list(consumed))
    assert_known(files, bars, as_of_ms, step_ms)
    return TrainingWindow(bars, np.flatnonzero(is_wanted).astype(np.int64))


def assert_known(files: Sequence[ChunkFile], bars: BarArray, as_of_ms: int, step_ms: int) -> None:
    """Raise LookAheadError if a file was registered, or a bar closes, after `as_of_ms`."""
    late = [file.path for file in files if file.registered_at_ms > as_of_ms]
    newest_close_ms = int(bars["timestamp"][-1]) + step_ms if bars.size else as_of_ms
    if late or newest_close_ms > as_of_ms:
        raise LookAheadError(
            f"a training may use only what was known as of {as_of_ms}, it used bars closing at {newest_close_ms} "
            f"and files registered later: {', '.join(late) or 'none'}; this is a defect, report it"
        )


def _oldest_pending_ms(
    files: Sequence[ChunkFile], read: ReadChunk, consumed: Sequence[BarRange]
) -> int:
    """Open of the oldest bar not consumed, or later than any if there is none."""
    oldest_ms = 2**62
    for file in files:
        if file.first_ms >= oldest_ms or all(covers(consumed, run) for run in file.runs()):
            continue
        opens = read(file)["timestamp"]
        pending = opens[~covered(opens, list(consumed))]
        if pending.size:
            oldest_ms = min(oldest_ms, int(pending[0]))
    return oldest_ms


def _with_context(
    files: Sequence[ChunkFile], read: ReadChunk, oldest_ms: int, newest_ms: int
) -> BarArray:
    """Bars up to `newest_ms`: those from `oldest_ms` on, and the warm-up before them as far as there is one."""
    older = sorted((f for f in files if f.first_ms < oldest_ms), key=lambda f: -f.last_ms)
    n_files = _n_files_holding(older, PREDICT_WARM_UP_BARS)
    while True:
        first_ms = min([oldest_ms, *(file.first_ms for file in older[:n_files])])
        bars = _merged(files, read, first_ms, newest_ms)
        n_context = int(np.count_nonzero(bars["timestamp"] < oldest_ms))
        if n_context >= PREDICT_WARM_UP_BARS or n_files == len(older):
            return bars
        n_files = min(2 * n_files, len(older))


def _n_files_holding(files: Sequence[ChunkFile], n_bars: int) -> int:
    """How many files from the front hold `n_bars`, one more for the file the window begins in."""
    total = 0
    for n_files, file in enumerate(files, start=1):
        total += file.n_bars
        if total >= n_bars:
            return min(n_files + 1, len(files))
    return len(files)


def _merged(files: Sequence[ChunkFile], read: ReadChunk, first_ms: int, last_ms: int) -> BarArray:
    """All bars of first_ms..last_ms, ascending and unique; of equals the first registered."""
    parts = [read(file) for file in files if file.last_ms >= first_ms and file.first_ms <= last_ms]
    if not parts:
        return empty_bars()
    bars = np.concatenate(parts)
    bars = bars[(bars["timestamp"] >= first_ms) & (bars["timestamp"] <= last_ms)]
    _, first_of_equals = np.unique(bars["timestamp"], return_index=True)
    unique: BarArray = bars[first_of_equals]
    return unique
