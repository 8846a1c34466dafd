"""The loop's ingester against the real ledger: idempotent, and honest about gaps inside a chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mei.data.chunks import read_chunk
from mei.ledger.database import Ledger
from mei.ledger.files import files_as_of
from mei.ledger.series import SeriesKey
from mei.loop.ingest import ChunkRegistrar
from tests.loop.harness import MINUTE_MS, START_MS, random_bars


def test_a_chunk_with_a_gap_is_registered_once_with_its_spans(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "manifest.sqlite")
    bars = np.concatenate([random_bars(10, 1), random_bars(5, 2, START_MS + 30 * MINUTE_MS)])
    registrar = ChunkRegistrar(ledger, tmp_path / "incoming", "backtest/x", "1m")
    known_ms = START_MS + 35 * MINUTE_MS
    for _ in range(2):
        registrar.register("BTC/USDT", bars, known_ms)
    key = SeriesKey("backtest/x", "BTC/USDT", "1m")
    with ledger.reader() as connection:
        files = files_as_of(connection, key, known_ms)
        assert files_as_of(connection, key, known_ms - 1) == []
    ledger.close()
    assert len(files) == 1
    assert files[0].n_bars == 15
    assert [tuple(span) for span in files[0].spans] == [
        (START_MS, START_MS + 9 * MINUTE_MS),
        (START_MS + 30 * MINUTE_MS, START_MS + 34 * MINUTE_MS),
    ]
    stored = read_chunk(tmp_path / "incoming", files[0].path, files[0].sha256)
    assert stored.tobytes() == bars.tobytes()
