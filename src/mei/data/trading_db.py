"""Trading databases: what a trader did, what it holds, and what it goes on from.

One writer at a time, whole transactions: WAL, synchronous = FULL, BEGIN IMMEDIATE. Databases of the original program
may lack tables and columns: what they lack is read as None and not written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from mei.data.sqlite_wal import switch_to_wal
from mei.data.trading_schema import CREATE
from mei.model.errors import ConflictError, DataError, OutputError

PAPER_DB, LIVE_DB = "trading_engine.db", "trading_engine_live.db"
_WHAT = "trading database"
#: How long a writer waits for another one, s.
_BUSY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """A row of `trades`; None = NULL. timestamp: ISO 8601. type: LONG, SHORT or SYSTEM. price in quote per base, size
    in base units, notional, pnl, fee, balance and margin in USD, fee_rate a fraction. id: None before it is written.
    """

    timestamp: str
    symbol: str
    type: str
    action: str
    price: float | None = None
    size: float | None = None
    notional: float | None = None
    reason: str | None = None
    confidence: str | None = None
    pnl: float | None = None
    fee_usd: float | None = None
    fee_token: str | None = None
    fee_rate: float | None = None
    balance: float | None = None
    entry_atr: float | None = None
    leverage: float | None = None
    margin_used: float | None = None
    meta_json: str | None = None
    fill_hash: str | None = None
    fill_tid: int | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """A row of `signals`; None = NULL. timestamp: ISO 8601. signal: BUY or SELL. price and EMAs in quote per base.
    id: None before it is written."""

    timestamp: str
    symbol: str
    signal: str
    confidence: str | None = None
    price: float | None = None
    rsi: float | None = None
    ema_fast: float | None = None
    ema_slow: float | None = None
    meta_json: str | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """A row of `position_state`; None = NULL. open_trade_id: `id` of the OPEN row. trailing_sl in quote per base.
    last_funding_time, last_add_time: epoch ms UTC. tp1_taken: 0 or 1.
    """

    symbol: str
    open_trade_id: int | None = None
    trailing_sl: float | None = None
    last_funding_time: int | None = None
    updated_at: str | None = None
    adds_count: int | None = None
    tp1_taken: int | None = None
    last_add_time: int | None = None
    entry_adx_threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStateRow:
    """The row of `engine_state`. as_of_ms: epoch ms UTC until which everything is known. state_json: init-state of
    version 2. revision: one more at every write."""

    revision: int
    as_of_ms: int
    config_id: str
    state_json: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """A row of `equity`: time in epoch ms UTC, equity (positions marked) and cash in USD."""

    timestamp_ms: int
    equity_usd: float
    balance_usd: float


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """A row of `audit_events`; data is None where data_json is NULL or no JSON."""

    id: int
    timestamp: str
    symbol: str | None
    event: str
    level: str | None
    data: Any


_REQUIRED = {
    "trades": ("id", "timestamp", "symbol", "type", "action"),
    "signals": ("id", "timestamp", "symbol", "signal"),
    "position_state": ("symbol",),
}
_Row = TypeVar("_Row", TradeRow, SignalRow, PositionRow)


@contextmanager
def open_trading_db(
    path: str | Path, *, create: bool, read_only: bool = False
) -> Iterator[sqlite3.Connection]:
    """A connection to the trading database `path`, closed at the end of the block; rows come as tuples.

    create: make the file and every table that is not there, in WAL mode; else the file must be there and is left as it
    is. read_only: nothing can be written. DataError, naming the file, when it is missing, is no database, or when a
    query in the block fails; OutputError when it cannot be made. Several threads may use it, one at a time.
    """
    if not create and not Path(path).is_file():
        raise DataError(f"{path}: must be a {_WHAT}, there is no such file; check the path")
    with telling(path):
        conn = _created(path) if create else _opened(path, read_only=read_only)
        with closing(conn):
            yield conn


@contextmanager
def telling(path: str | Path) -> Iterator[None]:
    """What SQLite refuses in the block becomes a DataError that names the trading database `path`.

    For a connection that is kept open longer than a block of `open_trading_db`'s caller lasts.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise DataError(f"{path}: must be a usable {_WHAT}, SQLite says: {error}") from None


@contextmanager
def writing(conn: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of the block or, when it raises, nothing of it."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        conn.execute("ROLLBACK")
        raise
    conn.execute("COMMIT")


@contextmanager
def one_view(conn: sqlite3.Connection) -> Iterator[None]:
    """What is read in the block is of one moment, whatever another program commits meanwhile."""
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("ROLLBACK")


def insert_trades(conn: sqlite3.Connection, rows: Iterable[TradeRow]) -> list[int]:
    """Append rows, their `id` given by the database unless set; the ids, in order.

    A fill that is there already is refused by the index (fill_hash, fill_tid): DataError, the transaction undone.
    """
    names = _columns(conn, "trades", TradeRow)
    ids = []
    for row in rows:
        cursor = conn.execute(_insert("trades", names), [getattr(row, name) for name in names])
        ids.append(int(cursor.lastrowid or 0))
    return ids


def trades_since(conn: sqlite3.Connection, since: int | str) -> list[TradeRow]:
    """Rows in the order of their ids: those with a larger id than a number, or stamped at or after an ISO time.

    A row whose timestamp cannot be read is in no answer by time. DataError for a text that is no time.
    """
    if isinstance(since, int):
        return _rows(conn, "trades", TradeRow, "WHERE id > ? ORDER BY id", (since,))
    from_ms = stamp_ms(since)
    if from_ms is None:
        raise DataError(f"a time must be ISO 8601, such as 2026-01-31T12:00:00Z, was {since!r}")
    found = []
    for row in _rows(conn, "trades", TradeRow, "ORDER BY id"):
        at_ms = stamp_ms(row.timestamp)
        if at_ms is not None and at_ms >= from_ms:
            found.append(row)
    return found


def insert_signals(conn: sqlite3.Connection, rows: Iterable[SignalRow]) -> None:
    """Append rows, their `id` given by the database unless set."""
    names = _columns(conn, "signals", SignalRow)
    values = [[getattr(row, name) for name in names] for row in rows]
    conn.executemany(_insert("signals", names), values)


def signals_since(conn: sqlite3.Connection, since_id: int) -> list[SignalRow]:
    """Rows with a larger id, ascending; empty without the table."""
    return _rows(conn, "signals", SignalRow, "WHERE id > ? ORDER BY id", (since_id,))


def has_trades(conn: sqlite3.Connection) -> bool:
    """Whether there is a table `trades` at all."""
    return bool(_names(conn, "trades"))


def last_balance_usd(conn: sqlite3.Connection) -> float | None:
    """Balance of the last row of `trades` by id; None without a row or where it is NULL."""
    if "balance" not in _names(conn, "trades"):
        return None
    found = conn.execute("SELECT balance FROM trades ORDER BY id DESC LIMIT 1").fetchone()
    return None if found is None or found[0] is None else float(found[0])


def position_rows(conn: sqlite3.Connection) -> list[PositionRow]:
    """What is held, symbols ascending; empty without the table."""
    return _rows(conn, "position_state", PositionRow, "ORDER BY symbol")


def replace_positions(conn: sqlite3.Connection, rows: Iterable[PositionRow]) -> None:
    """Let `position_state` hold these rows and no other."""
    names = _columns(conn, "position_state", PositionRow)
    if not names:
        return
    conn.execute("DELETE FROM position_state")
    values = [[getattr(row, name) for name in names] for row in rows]
    conn.executemany(_insert("position_state", names), values)


def read_engine_state(conn: sqlite3.Connection) -> EngineStateRow | None:
    """What a trader goes on from; None in a database of the original program and before the first step."""
    if not _names(conn, "engine_state"):
        return None
    names = [field.name for field in fields(EngineStateRow)]
    found = conn.execute(f"SELECT {', '.join(names)} FROM engine_state WHERE id = 1").fetchone()
    return None if found is None else EngineStateRow(**dict(zip(names, found, strict=True)))


def engine_revision(conn: sqlite3.Connection) -> int:
    """Revision of what `read_engine_state` gives, without reading it all; 0 where that is None."""
    if not _names(conn, "engine_state"):
        return 0
    found = conn.execute("SELECT revision FROM engine_state WHERE id = 1").fetchone()
    return 0 if found is None else int(found[0])


def write_engine_state(conn: sqlite3.Connection, row: EngineStateRow) -> None:
    """Put `row` in the place of the one before it.

    ConflictError unless its revision is one more than the one that is there (1 for the first): somebody else has
    written since it was read.
    """
    there = engine_revision(conn)
    if row.revision != there + 1:
        raise ConflictError(
            f"engine_state must go from revision {row.revision - 1} to {row.revision}, it is at {there}: another "
            "program has written it; read it again"
        )
    names = ["id", *(field.name for field in fields(EngineStateRow))]
    values = [1, *astuple(row)]
    conn.execute(f"{_insert('engine_state', names, 'OR REPLACE ')}", values)


def insert_equity(conn: sqlite3.Connection, points: Iterable[EquityPoint]) -> None:
    """Append points of the curve; a time that is there already is refused (DataError)."""
    conn.executemany("INSERT INTO equity VALUES (?, ?, ?)", [astuple(point) for point in points])


def equity_since(conn: sqlite3.Connection, from_ms: int) -> list[EquityPoint]:
    """Points at or after a time (epoch ms UTC), ascending; empty without the table."""
    if not _names(conn, "equity"):
        return []
    query = (
        "SELECT timestamp_ms, equity_usd, balance_usd FROM equity WHERE timestamp_ms >= ? "
        "ORDER BY timestamp_ms"
    )
    return [EquityPoint(*row) for row in conn.execute(query, (from_ms,))]


def equity_before(conn: sqlite3.Connection, at_ms: int) -> EquityPoint | None:
    """The last point before a time (epoch ms UTC); None without one, and without the table."""
    if not _names(conn, "equity"):
        return None
    query = (
        "SELECT timestamp_ms, equity_usd, balance_usd FROM equity WHERE timestamp_ms < ? "
        "ORDER BY timestamp_ms DESC LIMIT 1"
    )
    found = conn.execute(query, (at_ms,)).fetchone()
    return None if found is None else EquityPoint(*found)


def insert_audit(
    conn: sqlite3.Connection,
    *,
    timestamp: str,
    symbol: str | None,
    event: str,
    level: str,
    data: Mapping[str, Any] | None,
) -> None:
    """Append an audit event; `data` becomes JSON with sorted keys."""
    names = ["timestamp", "symbol", "event", "level", "data_json"]
    text = None if data is None else json.dumps(data, sort_keys=True, ensure_ascii=False)
    conn.execute(_insert("audit_events", names), (timestamp, symbol, event, level, text))


def audit_since(conn: sqlite3.Connection, since_id: int) -> list[AuditEvent]:
    """Audit events with a larger id, ascending; empty without the table."""
    if not _names(conn, "audit_events"):
        return []
    query = (
        "SELECT id, timestamp, symbol, event, level, data_json FROM audit_events WHERE id > ? "
        "ORDER BY id"
    )
    found = []
    for number, at, symbol, event, level, text in conn.execute(query, (since_id,)):
        found.append(AuditEvent(number, at, symbol, event, level, _parsed(text)))
    return found


def read_trader_state(conn: sqlite3.Connection) -> dict[str, Any] | None:
    """What a trader remembers of its switches; None when nothing was written."""
    if not _names(conn, "trader_state"):
        return None
    found = conn.execute("SELECT content_json FROM trader_state WHERE id = 1").fetchone()
    content = None if found is None else _parsed(found[0])
    return content if isinstance(content, dict) else None


def write_trader_state(conn: sqlite3.Connection, content: Mapping[str, Any]) -> None:
    """Put what a trader remembers in the place of what is there."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    conn.execute("INSERT OR REPLACE INTO trader_state VALUES (1, ?)", (text,))


def stamp_ms(text: str | None) -> int | None:
    """An ISO 8601 time in epoch ms UTC, rounded down; a naive one counts as UTC. None for what is no time."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def stamp_text(at_ms: int) -> str:
    """Epoch ms UTC as ISO 8601 with offset Z and, where there are some, milliseconds: 2026-01-31T12:00:00Z."""
    seconds, ms = divmod(at_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"


def _created(path: str | Path) -> sqlite3.Connection:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        conn = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"{path}: must be a {_WHAT} that can be made: {error}") from None
    try:
        switch_to_wal(conn)
        conn.execute("PRAGMA synchronous = FULL")
        with writing(conn):
            for statement in CREATE:
                conn.execute(statement)
    except BaseException:
        conn.close()
        raise
    return conn


def _opened(path: str | Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    address = f"file:{quote(str(Path(path).absolute()))}?mode={mode}"
    conn = sqlite3.connect(
        address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        conn.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        if not read_only:
            conn.execute("PRAGMA synchronous = FULL")
    except BaseException:
        conn.close()
        raise
    return conn


def _names(conn: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]).lower() for row in conn.execute(f"PRAGMA table_info({table})")]


def _columns(conn: sqlite3.Connection, table: str, kind: type[_Row]) -> list[str]:
    """The fields of `kind` that the table has as columns."""
    there = set(_names(conn, table))
    return [field.name for field in fields(kind) if field.name in there]


def _rows(
    conn: sqlite3.Connection,
    table: str,
    kind: type[_Row],
    rest: str,
    values: Sequence[Any] = (),
) -> list[_Row]:
    there = _names(conn, table)
    if not there:
        return []
    missing = [name for name in _REQUIRED[table] if name not in there]
    if missing:
        path = conn.execute("PRAGMA database_list").fetchone()[2]
        raise DataError(
            f"{path}: the table {table} must have the column {missing[0]}, it has {', '.join(there)}; "
            "name the right file"
        )
    names = _columns(conn, table, kind)
    query = f"SELECT {', '.join(names)} FROM {table} {rest}"
    return [kind(**dict(zip(names, row, strict=True))) for row in conn.execute(query, values)]


def _insert(table: str, names: Sequence[str], how: str = "") -> str:
    return f"INSERT {how}INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None
