"""From bars in a database to chunks of the live stream, and from spent chunks to none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mei.data.candle_writer import CandleWriter, Series
from mei.data.chunks import ChunkContent, ChunkKind, write_chunk
from mei.learning.features import PREDICT_WARM_UP_BARS
from mei.ledger.database import Ledger
from mei.ledger.files import (
    ChunkFile,
    file_states,
    files_as_of,
    mark_deleted,
    register_file,
    registered_ranges,
    watermark_ms,
)
from mei.ledger.ranges import consumed_ranges
from mei.ledger.series import SeriesKey, ranges_of, without
from mei.model import faults
from mei.model.bars import BarArray, interval_ms, path_name

_EVER_MS = 2**62


class Chunker:
    """Cuts what is complete in a database into chunks of exactly `chunk_rows` bars, after the newest registered one."""

    def __init__(
        self,
        ledger: Ledger,
        incoming: Path,
        chunk_rows: int,
        kind: ChunkKind,
        now_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._incoming = incoming
        self._chunk_rows = chunk_rows
        self._kind = kind
        self._now_ms = now_ms

    def cut(
        self, key: SeriesKey, series: Series, writer: CandleWriter, first_ms: int, through_ms: int
    ) -> int:
        """Register every full chunk of bars of first_ms..through_ms that is not registered; how many there were.

        Bars older than the newest registered one make no chunk: the stream of a live loop goes forward.
        """
        n_chunks = 0
        while True:
            registered_ms = self._registered_ms(key)
            from_ms = first_ms if registered_ms is None else max(first_ms, registered_ms + 1)
            bars = writer.bars(series, from_ms, through_ms, self._chunk_rows)
            if len(bars) < self._chunk_rows:
                return n_chunks
            n_chunks += self._register(key, bars, registered_ms)

    def _register(self, key: SeriesKey, bars: BarArray, registered_ms: int | None) -> bool:
        """Write and register a chunk; False if another process was faster, whose chunks then count."""
        step_ms = interval_ms(key.timeframe)
        content = write_chunk(
            self._incoming, key.stream, key.symbol, key.timeframe, bars, self._kind
        )
        file = ChunkFile(
            content.sha256,
            content.path,
            content.first_ms,
            content.last_ms,
            content.n_bars,
            # An exchange's clock may be ahead of this one: nothing is known before it has closed.
            max(self._now_ms(), content.last_ms + step_ms),
            ranges_of(bars["timestamp"], step_ms),
        )
        with self._ledger.unit_of_work() as unit:
            if watermark_ms(unit.connection, key) != registered_ms:
                self._drop_orphan(key, content)
                return False
            is_new = register_file(unit.connection, key, file)
            unit.commit("register")
        return is_new

    def _drop_orphan(self, key: SeriesKey, content: ChunkContent) -> None:
        with self._ledger.reader() as connection:
            is_known = content.sha256 in file_states(connection, key)
        if not is_known:
            (self._incoming / content.path).unlink(missing_ok=True)

    def _registered_ms(self, key: SeriesKey) -> int | None:
        with self._ledger.reader() as connection:
            return watermark_ms(connection, key)


def delete_spent(
    ledger: Ledger, incoming: Path, key: SeriesKey, *, window_ms: int, exactly_once: bool
) -> int:
    """Delete the chunk files that no training of the live stream will read again; how many there were.

    A file goes when all its bars were passed to a completed fit (`processed`), none of them is in the sliding window
    (`window_ms` before the newest registered close) or, with `exactly_once`, at or after the oldest bar that was not
    fitted yet, and it is not among the files that hold the warm-up bars before those. Its row in the ledger stays.
    """
    with ledger.reader() as connection:
        files = files_as_of(connection, key, _EVER_MS)
        states = file_states(connection, key)
        needed_ms = _needed_from_ms(ledger, key, window_ms, exactly_once=exactly_once)
    older = sorted((f for f in files if f.last_ms < needed_ms), key=lambda f: -f.last_ms)
    n_deleted = 0
    for file in older[_n_context_files(older) :]:
        if states.get(file.sha256) != "processed":
            continue
        with ledger.unit_of_work() as unit:
            is_gone = mark_deleted(unit.connection, key, file.sha256)
            unit.commit("delete")
        if is_gone:
            faults.hit("data_ingester.delete.before_unlink")
            (incoming / file.path).unlink(missing_ok=True)
            n_deleted += 1
    _remove_leftovers(incoming, key, states)
    return n_deleted


def _needed_from_ms(ledger: Ledger, key: SeriesKey, window_ms: int, *, exactly_once: bool) -> int:
    """Open of the oldest bar that a training may fit or judge by."""
    step_ms = interval_ms(key.timeframe)
    with ledger.reader() as connection:
        registered = registered_ranges(connection, key, _EVER_MS)
        if not registered:
            return 0
        if exactly_once:
            spent = consumed_ranges(connection, key, "exactly_once")
            pending = without(registered, spent, step_ms)
            return pending[0].first_ms if pending else registered[-1].last_ms + step_ms
    return registered[-1].last_ms - window_ms + 1


def _n_context_files(older: list[ChunkFile]) -> int:
    """How many files, the newest first, hold the warm-up; one more, for the one the window begins in."""
    n_bars = 0
    for n_files, file in enumerate(older, start=1):
        n_bars += file.n_bars
        if n_bars >= PREDICT_WARM_UP_BARS:
            return n_files + 1
    return len(older)


def _remove_leftovers(incoming: Path, key: SeriesKey, states: dict[str, str]) -> None:
    """Files that the ledger calls deleted, of a process that died before it deleted them."""
    folder = incoming / key.stream / path_name(key.symbol) / key.timeframe
    gone = {sha256[:16] for sha256, state in states.items() if state == "deleted"}
    for path in folder.glob("*-*") if gone else ():
        if path.stem.rpartition("-")[2] in gone and not path.name.startswith("."):
            path.unlink(missing_ok=True)
