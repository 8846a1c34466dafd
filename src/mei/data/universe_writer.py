"""Universe databases as they grow: which symbols an exchange listed when it was asked.

universe_snapshots(ts_ms, symbol)                         what was listed at each time asked
universe_listings(symbol, first_seen_ms, last_seen_ms)    from when to when each symbol was seen

The order in which snapshots arrive does not matter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from mei.data.sqlite_file import require_columns
from mei.data.sqlite_wal import switch_to_wal
from mei.model import faults
from mei.model.errors import OutputError

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS universe_snapshots "
    "(ts_ms INTEGER NOT NULL, symbol TEXT NOT NULL, PRIMARY KEY (ts_ms, symbol))",
    "CREATE TABLE IF NOT EXISTS universe_listings (symbol TEXT PRIMARY KEY, first_seen_ms INTEGER NOT NULL, "
    "last_seen_ms INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS idx_universe_snapshots_symbol_ts ON universe_snapshots (symbol, ts_ms)",
    "CREATE INDEX IF NOT EXISTS idx_universe_listings_seen ON universe_listings (first_seen_ms, last_seen_ms)",
)
_UPSERT = """
INSERT INTO universe_listings VALUES (?1, ?2, ?2) ON CONFLICT (symbol) DO UPDATE SET
  first_seen_ms = min(first_seen_ms, excluded.first_seen_ms),
  last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)
"""
_COLUMNS = {
    "universe_snapshots": ("ts_ms", "symbol"),
    "universe_listings": ("symbol", "first_seen_ms", "last_seen_ms"),
}
_BUSY_S = 30.0


def add_snapshot(path: Path, symbols: Sequence[str], at_ms: int) -> int:
    """Note that `symbols` were listed at `at_ms` (epoch ms UTC); how many were never seen before. One transaction.

    The file is made if absent; noting the same again changes nothing. OutputError when it cannot be written, DataError
    when it is no universe database.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)) as database:
            for table, columns in _COLUMNS.items():
                # Before anything is done to a file that may be somebody else's.
                if database.execute(f"PRAGMA table_info({table})").fetchone() is not None:
                    require_columns(database, str(path), table, columns, "universe database")
            switch_to_wal(database)
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                database.execute(statement)
            n_before = _n_listings(database)
            database.executemany(
                "INSERT OR IGNORE INTO universe_snapshots (ts_ms, symbol) VALUES (?, ?)",
                [(at_ms, symbol) for symbol in symbols],
            )
            database.executemany(_UPSERT, [(symbol, at_ms) for symbol in symbols])
            n_new = _n_listings(database) - n_before
            faults.hit("data.universe.before_commit")
            database.execute("COMMIT")
            faults.hit("data.universe.after_commit")
    except (OSError, sqlite3.Error) as error:
        raise OutputError(
            f"{path}: must be a universe database that can be written to: {error}; check the path and its rights"
        ) from None
    return n_new


def _n_listings(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM universe_listings").fetchone()[0])
