"""The tables of a trading database: those of the original program, and ours besides.

Ours are `engine_state` (what a trader goes on from), `equity` (its curve) and `trader_state` (what it remembers of its
kill switches). A database of the original program has none of them.
"""

from __future__ import annotations

#: Columns of the tables that are read and written here, in their order, with their types.
TRADES = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "timestamp": "TEXT",
    "symbol": "TEXT",
    "type": "TEXT",
    "action": "TEXT",
    "price": "REAL",
    "size": "REAL",
    "notional": "REAL",
    "reason": "TEXT",
    "confidence": "TEXT",
    "pnl": "REAL",
    "fee_usd": "REAL",
    "fee_token": "TEXT",
    "fee_rate": "REAL",
    "balance": "REAL",
    "entry_atr": "REAL",
    "leverage": "REAL",
    "margin_used": "REAL",
    "meta_json": "TEXT",
    "fill_hash": "TEXT",
    "fill_tid": "INTEGER",
}
POSITION_STATE = {
    "symbol": "TEXT PRIMARY KEY",
    "open_trade_id": "INTEGER",
    "trailing_sl": "REAL",
    "last_funding_time": "INTEGER",
    "updated_at": "TEXT",
    "adds_count": "INTEGER",
    "tp1_taken": "INTEGER",
    "last_add_time": "INTEGER",
    "entry_adx_threshold": "REAL",
}
AUDIT_EVENTS = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "timestamp": "TEXT",
    "symbol": "TEXT",
    "event": "TEXT",
    "level": "TEXT",
    "data_json": "TEXT",
}
SIGNALS = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "timestamp": "TEXT",
    "symbol": "TEXT",
    "signal": "TEXT",
    "confidence": "TEXT",
    "price": "REAL",
    "rsi": "REAL",
    "ema_fast": "REAL",
    "ema_slow": "REAL",
    "meta_json": "TEXT",
}
_RUNTIME_LOGS = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "ts_ms": "INTEGER",
    "ts": "TEXT",
    "pid": "INTEGER",
    "mode": "TEXT",
    "stream": "TEXT",
    "level": "TEXT",
    "message": "TEXT",
}
_WS_EVENTS = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "ts": "TEXT",
    "channel": "TEXT",
    "data_json": "TEXT",
}
_SCHEMA_MIGRATIONS = {"id": "TEXT PRIMARY KEY", "applied_at": "TEXT"}
ENGINE_STATE = {
    "id": "INTEGER PRIMARY KEY CHECK (id = 1)",
    "revision": "INTEGER NOT NULL",
    "as_of_ms": "INTEGER NOT NULL",
    "config_id": "TEXT NOT NULL",
    "state_json": "TEXT NOT NULL",
    "updated_at": "TEXT NOT NULL",
}
_EQUITY = {
    "timestamp_ms": "INTEGER PRIMARY KEY",
    "equity_usd": "REAL NOT NULL",
    "balance_usd": "REAL NOT NULL",
}
_TRADER_STATE = {"id": "INTEGER PRIMARY KEY CHECK (id = 1)", "content_json": "TEXT NOT NULL"}

_TABLES = {
    "trades": TRADES,
    "position_state": POSITION_STATE,
    "signals": SIGNALS,
    "audit_events": AUDIT_EVENTS,
    "runtime_logs": _RUNTIME_LOGS,
    "ws_events": _WS_EVENTS,
    "schema_migrations": _SCHEMA_MIGRATIONS,
    "engine_state": ENGINE_STATE,
    "equity": _EQUITY,
    "trader_state": _TRADER_STATE,
}


def _create(table: str, columns: dict[str, str]) -> str:
    inside = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    return f"CREATE TABLE IF NOT EXISTS {table} ({inside})"


#: What makes an empty file a trading database; a table that is there stays as it is.
CREATE = (
    *(_create(table, columns) for table, columns in _TABLES.items()),
    "CREATE INDEX IF NOT EXISTS trades_symbol_action_id ON trades (symbol, action, id)",
    # SQLite holds NULLs apart: rows without a fill are not compared.
    "CREATE UNIQUE INDEX IF NOT EXISTS trades_fill ON trades (fill_hash, fill_tid)",
)
