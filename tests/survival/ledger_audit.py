"""What the ledger must say whatever happened: read with plain sqlite3, not with the code under test."""

from __future__ import annotations

import sqlite3
from pathlib import Path

MINUTE_MS = 60_000


def audit(ledger: Path, *, exactly_once: bool, n_bars: int | None = None) -> dict[str, int]:
    """Assert that no bar was trained on twice and none was lost; counts for the test to print.

    n_bars: how many bars a finished run of one instrument must have registered.
    """
    connection = sqlite3.connect(ledger)
    files = connection.execute(
        "SELECT stream, first_ms, last_ms, n_bars FROM files ORDER BY stream, first_ms"
    ).fetchall()
    ranges = connection.execute(
        "SELECT stream, first_ms, last_ms FROM trained_ranges ORDER BY stream, first_ms"
    ).fetchall()
    trainings = connection.execute(
        "SELECT stream, as_of_ms, COUNT(*) FROM trainings GROUP BY stream, as_of_ms"
    ).fetchall()
    versions = connection.execute(
        "SELECT COUNT(*), COUNT(DISTINCT stream || ' ' || version) FROM models"
    ).fetchone()
    finished = connection.execute("SELECT stream FROM runs WHERE status = 'finished'").fetchall()
    connection.close()
    if n_bars is not None:
        assert finished
        for (stream,) in finished:
            assert sum(row[3] for row in files if row[0] == stream) == n_bars, "a bar was lost"
    registered = {
        (stream, ms) for stream, first, last, _ in files for ms in range(first, last + 1, MINUTE_MS)
    }
    assert sum(row[3] for row in files) <= len(registered)
    assert all(count == 1 for _, _, count in trainings), "one row a training"
    assert versions[0] == versions[1], "a version belongs to one model"
    if exactly_once:
        trained = [
            (stream, ms)
            for stream, first, last in ranges
            for ms in range(first, last + 1, MINUTE_MS)
        ]
        assert len(trained) == len(set(trained)), "a bar was trained on twice"
        assert set(trained) <= registered
    return {"files": len(files), "trainings": len(trainings), "models": versions[0]}
