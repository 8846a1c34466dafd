"""Close every paper position at once, by a word of an operator: in the trading database, whoever trades into it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import Any

from mei.data.trading_db import (
    TradeRow,
    insert_audit,
    insert_trades,
    last_balance_usd,
    open_trading_db,
    position_rows,
    read_engine_state,
    read_trader_state,
    replace_positions,
    stamp_text,
    write_engine_state,
    writing,
)
from mei.model import faults
from mei.rules.mei_alpha.book import FEE_RATE
from mei.workflows.paper.request import folder_id
from mei.workflows.paper.risk import memory_of
from mei.workflows.paper.state import PaperState, closed, row_of, state_of

_NOT_AVAILABLE = "N/A"
_HASH_DIGITS = 32


@dataclass(frozen=True, slots=True)
class ClosedPosition:
    """A position that was closed. side: LONG, SHORT, or empty where the database does not tell. px in quote per base,
    qty in base units, pnl (fee apart), fee and balance afterwards in USD; is_priced: False where no price is known and
    the row has zeros.
    """

    symbol: str
    side: str
    qty: float
    px: float
    pnl_usd: float
    fee_usd: float
    balance_usd: float
    is_priced: bool


def close_paper(
    db_path: str | Path,
    *,
    reason: str,
    now_ms: int,
    symbols: Collection[str] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> list[ClosedPosition]:
    """Close every position, or those of `symbols` (any case), in one transaction: SYSTEM CLOSE rows, what is held and
    the trader's state emptied, orders that wait cancelled. What was closed, symbols ascending.

    Positions of a trader are closed at their last known close, without slippage, for the fee of a close. A database of
    the original program tells no prices: rows of zeros as it writes them, the balance as it was. A database that is not
    there, or holds nothing, is left as it is. meta: goes into meta_json. DataError for a file that is no trading
    database, or is locked by another program for half a minute.
    """
    if not Path(db_path).is_file():
        return []
    wanted = None if symbols is None else {symbol.upper() for symbol in symbols}
    with open_trading_db(db_path, create=False) as conn, writing(conn):
        row = read_engine_state(conn)
        if row is None:
            found = _unpriced(conn, wanted)
        else:
            found = _close_state(conn, state_of(row, str(db_path)), wanted, reason, now_ms)
        if _has_trades(conn):
            insert_trades(conn, [_row(one, reason, now_ms, meta) for one in found])
        gone = {one.symbol.upper() for one in found}
        if found:
            left = [one for one in position_rows(conn) if one.symbol.upper() not in gone]
            replace_positions(conn, left)
        faults.hit("paper.flatten.before_commit")
    faults.hit("paper.flatten.after_commit")
    return found


def pause_file_warning(db_path: str | Path, pause_file: str) -> str | None:
    """One line where the trader of a database does not watch this pause file, or where that is not known; None where it
    does. DataError for a file that is no trading database."""
    with open_trading_db(db_path, create=False, read_only=True) as conn:
        memory = memory_of(read_trader_state(conn))
    watched = memory.pause_file
    if watched is None:
        return f"which pause file the trader of {db_path} watches is not known: see that it stops (GET /state)"
    if not watched:
        return (
            f"the trader of {db_path} watches no pause file (AI_QUANT_KILL_SWITCH_FILE): it goes on"
        )
    path = Path(pause_file).absolute()
    # A container sees the same folder under another path.
    noted = (memory.pause_folder, Path(watched).name)
    is_same = memory.pause_folder and (folder_id(path.parent), path.name) == noted
    if is_same or realpath(watched) == realpath(pause_file):
        return None
    return (
        f"the trader of {db_path} watches another pause file, {watched} (as it sees its files), not "
        f"{realpath(pause_file)}: see that it stops (GET /state)"
    )


def _close_state(
    conn: sqlite3.Connection,
    state: PaperState,
    wanted: set[str] | None,
    reason: str,
    now_ms: int,
) -> list[ClosedPosition]:
    """Empty the slots of a trader's state and write it."""
    found = []
    after = state
    for symbol, slot in state.held().items():
        if not _is_wanted(symbol, wanted):
            continue
        # A position brought along before its first bar: it leaves as it came.
        px = state.last_close(symbol)
        px = float(slot["entry_px"]) if px is None else px
        after, pnl_usd = closed(after, symbol, px, FEE_RATE)
        qty = float(slot["qty"])
        found.append(
            ClosedPosition(
                symbol=symbol,
                side="LONG" if slot["side"] > 0 else "SHORT",
                qty=qty,
                px=px,
                pnl_usd=pnl_usd,
                fee_usd=qty * px * FEE_RATE,
                balance_usd=after.balance_usd,
                is_priced=True,
            )
        )
    cancelled = [name for name in after.ordered() if _is_wanted(name, wanted)]
    none = {"open_order": 0, "add_order": 0}
    after = after.with_slots(lambda name, _: none if name in cancelled else {})
    if not found and not cancelled:
        return []
    at = stamp_text(now_ms)
    write_engine_state(conn, row_of(after, at))
    data = {"reason": reason, "closed": [one.symbol for one in found], "cancelled": cancelled}
    insert_audit(conn, timestamp=at, symbol=None, event="SYSTEM_CLOSE", level="warning", data=data)
    return found


def _unpriced(conn: sqlite3.Connection, wanted: set[str] | None) -> list[ClosedPosition]:
    """What the original program holds, of which no price is known here."""
    balance_usd = last_balance_usd(conn) or 0.0
    return [
        ClosedPosition(row.symbol.upper(), "", 0.0, 0.0, 0.0, 0.0, balance_usd, is_priced=False)
        for row in position_rows(conn)
        if _is_wanted(row.symbol, wanted)
    ]


def _has_trades(conn: sqlite3.Connection) -> bool:
    """Positions are let go of also where there is no table to write it down in."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'trades'"
    return conn.execute(query).fetchone() is not None


def _is_wanted(symbol: str, wanted: set[str] | None) -> bool:
    return wanted is None or symbol.upper() in wanted


def _row(one: ClosedPosition, reason: str, now_ms: int, meta: Mapping[str, Any] | None) -> TradeRow:
    content: dict[str, Any] = {"timestamp_ms": now_ms, "side": one.side or None}
    if not one.is_priced:
        content = {"timestamp_ms": now_ms, "unpriced": True}
    text = f"paper|{one.symbol}|SYSTEM|{now_ms}"
    return TradeRow(
        timestamp=stamp_text(now_ms),
        symbol=one.symbol,
        type="SYSTEM",
        action="CLOSE",
        price=one.px,
        size=one.qty,
        notional=one.px * one.qty,
        reason=reason,
        confidence=_NOT_AVAILABLE,
        pnl=one.pnl_usd,
        fee_usd=one.fee_usd,
        fee_rate=FEE_RATE if one.is_priced else 0.0,
        balance=one.balance_usd,
        entry_atr=0.0,
        leverage=0.0,
        margin_used=0.0,
        meta_json=json.dumps({**content, **(meta or {})}, sort_keys=True),
        fill_hash=hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS],
        fill_tid=0,
    )
