"""The loop's ingester: a completed chunk becomes a content-addressed file and a row of the ledger."""

from __future__ import annotations

from pathlib import Path

from mei.data.chunks import write_chunk
from mei.ledger.database import Ledger
from mei.ledger.files import ChunkFile, register_file
from mei.ledger.series import SeriesKey, ranges_of
from mei.model.bars import BarArray, interval_ms


class ChunkRegistrar:
    """Writes chunks under `incoming` and registers them in `stream`. Doing it twice changes nothing."""

    def __init__(self, ledger: Ledger, incoming: Path, stream: str, timeframe: str) -> None:
        self._ledger = ledger
        self._incoming = incoming
        self._stream = stream
        self._timeframe = timeframe
        self._interval_ms = interval_ms(timeframe)

    def register(self, symbol: str, bars: BarArray, registered_at_ms: int) -> None:
        """Make `bars` (shape (n_bars,), BAR_DTYPE) visible to trainings as of `registered_at_ms`."""
        content = write_chunk(self._incoming, self._stream, symbol, self._timeframe, bars)
        file = ChunkFile(
            sha256=content.sha256,
            path=content.path,
            first_ms=content.first_ms,
            last_ms=content.last_ms,
            n_bars=content.n_bars,
            registered_at_ms=registered_at_ms,
            spans=ranges_of(bars["timestamp"], self._interval_ms),
        )
        with self._ledger.unit_of_work() as unit:
            register_file(unit.connection, SeriesKey(self._stream, symbol, self._timeframe), file)
            unit.commit("register")
