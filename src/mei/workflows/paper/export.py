"""The state of a paper trader for a replay, read from its trading database.

Version 1 as the original program's tool writes it, from any trading database; version 2, everything a run goes on from,
from the database of this project's trader. docs/concepts/paper_trading.md says what version 1 leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mei.data.trading_db import (
    PositionRow,
    TradeRow,
    has_trades,
    last_balance_usd,
    one_view,
    open_trading_db,
    position_rows,
    read_engine_state,
    stamp_ms,
    trades_since,
)
from mei.model.errors import DataError
from mei.model.replay import CONFIDENCES, InitPosition, InitState
from mei.workflows.paper.state import init_state_of, state_of

_MEDIUM = CONFIDENCES.index("medium")
_PX_DECIMALS, _USD_DECIMALS = 10, 4

Tell = Callable[[str], None]


@dataclass(slots=True)
class _Held:
    """What rows of a symbol come to: base units, quote per base, USD."""

    opened: TradeRow
    qty: float
    entry_px: float
    entry_atr: float
    margin_usd: float


def paper_state_v1(db_path: str | Path, now_ms: int, tell: Tell) -> InitState:
    """Balance and positions of a trading database as init-state of version 1, rounded as it is written.

    A database that is not there gives balance 0 and no positions, which `tell` hears of, as of rows that are passed
    over. DataError for one that cannot be read, or whose rows lack price or size.
    """
    if not Path(db_path).exists():
        tell(f"{db_path}: there is no such file: balance 0, no positions")
        return InitState(version=1, source="paper", exported_at_ms=now_ms, balance_usd=0.0)
    with open_trading_db(db_path, create=False, read_only=True) as conn, one_view(conn):
        if not has_trades(conn):
            raise DataError(
                f"{db_path}: must be a trading database, has no table trades: name the right file"
            )
        trades = trades_since(conn, 0)
        row = read_engine_state(conn)
        # This project's trader writes symbols as the candles have them, which a replay looks for.
        named: Callable[[str], str] = str.upper if row is None else str
        known = {named(one.symbol): one for one in position_rows(conn)}
        balance_usd = last_balance_usd(conn)
    if balance_usd is None and row is not None:
        balance_usd = state_of(row, str(db_path)).balance_usd
    positions = []
    for symbol in sorted({named(trade.symbol) for trade in trades}, key=str.encode):
        rows = [trade for trade in trades if named(trade.symbol) == symbol]
        held = _held(rows, str(db_path), tell)
        if held is not None:
            positions.append(_position(symbol, held, known.get(symbol), tell))
    return InitState(
        version=1,
        source="paper",
        exported_at_ms=now_ms,
        balance_usd=round(balance_usd or 0.0, _USD_DECIMALS),
        positions=tuple(positions),
    )


def paper_state_v2(db_path: str | Path) -> InitState:
    """Everything the trader of a database goes on from, every bit, as init-state of version 2.

    DataError when the database has no such state: it is the original program's, or nothing was started on it.
    """
    with open_trading_db(db_path, create=False, read_only=True) as conn:
        row = read_engine_state(conn)
    if row is None:
        raise DataError(
            f"{db_path}: must be the database of a paper_trader to be exported as version 2, has no engine_state: "
            "export it as version 1"
        )
    return init_state_of(state_of(row, str(db_path)))


def position_line(position: InitPosition) -> str:
    """A position in a line for people."""
    side = "long" if position.side > 0 else "short"
    return (
        f"{position.symbol} {side} size={position.qty:.6f} entry=${position.entry_px:.4f} "
        f"atr={position.entry_atr:.4f} lev={position.leverage:.1f}x margin=${position.margin_usd:.2f}"
    )


def _held(rows: Sequence[TradeRow], path: str, tell: Tell) -> _Held | None:
    """What the rows of a symbol, ids ascending, leave open; None for nothing."""
    held: _Held | None = None
    for row in rows:
        if row.action == "CLOSE":
            held = None
        elif row.action == "OPEN":
            qty, px = _deal(row, path)
            atr, margin = row.entry_atr or 0.0, row.margin_used or 0.0
            held = _Held(row, qty, px, atr, margin)
        elif held is not None and held.qty > 0.0 and row.action in ("ADD", "REDUCE"):
            _change(held, row, path)
    if held is None:
        return None
    if not held.qty > 0.0:
        tell(f"{held.opened.symbol}: reduced to nothing without a CLOSE: taken as closed")
        return None
    return held


def _change(held: _Held, row: TradeRow, path: str) -> None:
    qty, px = _deal(row, path)
    if row.action == "REDUCE":
        held.margin_usd *= max(held.qty - qty, 0.0) / held.qty
        held.qty -= qty
        return
    total = held.qty + qty
    leverage = held.opened.leverage or 1.0
    if total > 0.0:
        held.entry_px = (held.entry_px * held.qty + px * qty) / total
        held.entry_atr = (
            held.entry_atr * held.qty + (row.entry_atr or held.entry_atr) * qty
        ) / total
    held.margin_usd += row.margin_used or qty * px / leverage
    held.qty = total


def _deal(row: TradeRow, path: str) -> tuple[float, float]:
    """Size and price of a row, which is a number each; the size whatever its sign."""
    if not isinstance(row.size, (int, float)) or not isinstance(row.price, (int, float)):
        raise DataError(
            f"{path}: size and price of a trade must be numbers, those of row {row.id} ({row.symbol} {row.action}) are "
            f"{row.size!r} and {row.price!r}; correct the row"
        )
    return abs(float(row.size)), float(row.price)


def _position(symbol: str, held: _Held, known: PositionRow | None, tell: Tell) -> InitPosition:
    row = held.opened
    if known is None or known.open_trade_id != row.id:
        # What belongs to another position says nothing of this one.
        known = PositionRow(symbol=symbol)
    opened_ms = stamp_ms(row.timestamp)
    if opened_ms is None:
        tell(f"{symbol}: opened at {row.timestamp!r}, which is no time: taken as unknown")
    word = (row.confidence or "").lower()
    trailing_px = known.trailing_sl
    return InitPosition(
        symbol=symbol,
        side=1 if row.type == "LONG" else -1,
        qty=round(held.qty, _PX_DECIMALS),
        entry_px=round(held.entry_px, _PX_DECIMALS),
        entry_atr=round(held.entry_atr, _PX_DECIMALS),
        confidence=CONFIDENCES.index(word) if word in CONFIDENCES else _MEDIUM,
        leverage=row.leverage or 1.0,
        margin_usd=round(held.margin_usd, _USD_DECIMALS),
        trailing_px=None if trailing_px is None else round(trailing_px, _PX_DECIMALS),
        adds_count=known.adds_count or 0,
        tp1_taken=bool(known.tp1_taken),
        opened_ms=opened_ms or 0,
        last_add_ms=known.last_add_time or 0,
        entry_adx_threshold=round(known.entry_adx_threshold or 0.0, _USD_DECIMALS),
    )
