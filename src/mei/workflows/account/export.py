"""The state of a live account for a replay: positions of the exchange, the rest from the live trader's database."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mei.data.trading_db import (
    PositionRow,
    TradeRow,
    open_trading_db,
    position_rows,
    stamp_ms,
    trades_since,
)
from mei.model.errors import DataError
from mei.model.replay import CONFIDENCES, InitPosition, InitState
from mei.workflows.account.live_account import LiveAccount, LivePosition

_MEDIUM = CONFIDENCES.index("medium")
_SIDES = {"LONG": 1, "SHORT": -1}


def _quiet(_: str) -> None:
    return None


def live_init_state(
    account: LiveAccount,
    db_path: str | Path,
    now_ms: int,
    *,
    tell: Callable[[str], None] = _quiet,
) -> InitState:
    """The init-state (version 1, source `live`) of `account`, as `export_state --source live` writes it.

    Balance (account value, USD), symbols, sides, sizes, entry prices, leverage and margin are the exchange's. From the
    trading database `db_path` come the ATR of the last OPEN or ADD row that has one, confidence and time of the last
    OPEN row, and the fields of `position_state`, whichever trade they name; rows before the symbol's last CLOSE and
    rows of the other side are of another position and are passed over. Numbers are rounded as in paper's state: 10
    decimals, margin and ADX 4, the balance 4.

    A database that is not there, and a position it does not know, leave ATR 0, confidence medium, no trailing stop and
    no times; `tell` hears of each. Symbols are compared whatever their case. A naive time counts as UTC. DataError for
    a database that cannot be read or has no number where one must be; ServiceUnavailableError or DataError when the
    account cannot be read.
    """
    state = account.state()
    trades, known = _read(db_path, tell)
    positions = []
    for held in state.positions:
        rows = _rows_of_position(trades, held)
        if not rows:
            tell(
                f"{held.symbol}: no OPEN of this {held.side} in {db_path}: its ATR counts as 0, its confidence as "
                "medium, its time is unknown"
            )
        elif stamp_ms(rows[0].timestamp) is None:
            tell(
                f"{held.symbol}: opened at {rows[0].timestamp!r}, which is no time: taken as unknown"
            )
        rest = known.get(held.symbol.upper(), PositionRow(symbol=held.symbol))
        positions.append(_position(held, rows, rest, str(db_path)))
    return InitState(
        version=1,
        source="live",
        exported_at_ms=now_ms,
        balance_usd=round(state.balance_usd, 4),
        positions=tuple(positions),
    )


def _read(
    db_path: str | Path, tell: Callable[[str], None]
) -> tuple[list[TradeRow], dict[str, PositionRow]]:
    """All trades by id, and what is kept of positions by symbol in capitals."""
    if not Path(db_path).exists():
        tell(f"{db_path}: there is no such file: positions come without ATR, stops and times")
        return [], {}
    with open_trading_db(db_path, create=False, read_only=True) as conn:
        return trades_since(conn, 0), {row.symbol.upper(): row for row in position_rows(conn)}


def _rows_of_position(trades: Sequence[TradeRow], held: LivePosition) -> list[TradeRow]:
    """OPEN and ADD rows of the position, oldest first: those from the last OPEN on, if it is of this position."""
    rows: list[TradeRow] = []
    for row in trades:
        if row.symbol.upper() != held.symbol.upper():
            continue
        if row.action == "OPEN":
            rows = [row]
        elif row.action == "CLOSE":
            rows = []
        elif row.action == "ADD" and rows:
            rows.append(row)
    return rows if rows and rows[0].type == held.side else []


def _position(
    held: LivePosition, rows: Sequence[TradeRow], rest: PositionRow, path: str
) -> InitPosition:
    number = partial(_number, where=f"{path}: {held.symbol}")
    atrs = [number("entry_atr", row.entry_atr) for row in rows if row.entry_atr is not None]
    word = (rows[0].confidence or "").lower() if rows else ""
    trailing = rest.trailing_sl
    return InitPosition(
        symbol=held.symbol,
        side=_SIDES[held.side],
        qty=round(held.qty, 10),
        entry_px=round(held.entry_px, 10),
        entry_atr=round(atrs[-1], 10) if atrs else 0.0,
        confidence=CONFIDENCES.index(word) if word in CONFIDENCES else _MEDIUM,
        leverage=held.leverage,
        margin_usd=round(held.margin_usd, 4),
        trailing_px=None if trailing is None else round(number("trailing_sl", trailing), 10),
        adds_count=int(number("adds_count", rest.adds_count)),
        tp1_taken=bool(rest.tp1_taken),
        opened_ms=(stamp_ms(rows[0].timestamp) or 0) if rows else 0,
        last_add_ms=int(number("last_add_time", rest.last_add_time)),
        entry_adx_threshold=round(number("entry_adx_threshold", rest.entry_adx_threshold), 4),
    )


def _number(name: str, value: object, *, where: str) -> float:
    """A cell as a number, NULL as 0: columns of SQLite hold anything."""
    if value is None:
        return 0.0
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise DataError(
            f"{where}: {name} must be a number from 0 on, is {value!r}: correct the row"
        )
    return value
