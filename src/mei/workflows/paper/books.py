"""A step of the engine as rows of the trading database: trades, signals, what is held, the curve."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mei.data.trading_db import EquityPoint, PositionRow, SignalRow, TradeRow, stamp_text
from mei.model.replay import ACTIONS, CONFIDENCES, FUNDING, OPEN_LONG, OPEN_SHORT, ReplayResult
from mei.rules.mei_alpha.book import FEE_RATE
from mei.workflows.paper.state import PaperState
from mei.workflows.signals import Signal

_SIDES = {1: "LONG", -1: "SHORT"}
_SIGNALS = {1: "BUY", -1: "SELL"}
#: Fees are counted in the quote currency.
_FEE_TOKEN = "USD"
_HASH_DIGITS = 32


def trades_of(
    result: ReplayResult, reasons: Sequence[str], before: PaperState
) -> tuple[list[TradeRow], list[int]]:
    """The rows of a step in the order of its log, and the position each belongs to; what only its end made apart.

    A row's (fill_hash, fill_tid) is made of position, action and time: the same trade has the same one, however often
    and with whatever other boundaries the step is taken.
    """
    sides = {int(slot["position_id"]): int(slot["side"]) for slot in before.held().values()}
    numbers: Counter[str] = Counter()
    rows, ids = [], []
    log = result.trades[: len(result.trades) - result.n_ending]
    for record, reason in zip(log, reasons, strict=False):
        action = int(record["action"])
        position_id = int(record["position_id"])
        if action in (OPEN_LONG, OPEN_SHORT):
            sides[position_id] = 1 if action == OPEN_LONG else -1
        symbol = result.symbols[int(record["symbol"])]
        word = ACTIONS[action].partition("_")[0]
        at_ms = int(record["timestamp_ms"])
        fill = fill_hash(symbol, word, position_id, at_ms)
        side = _SIDES[sides[position_id]]
        rows.append(_row(record, reason, symbol, side, word, fill, numbers[fill]))
        numbers[fill] += 1
        ids.append(position_id)
    return rows, ids


def signal_rows(signals: Sequence[Signal]) -> list[SignalRow]:
    """The signals of a step's boundaries as rows, in their order."""
    rows = []
    for one in signals:
        meta = {
            "timestamp_ms": one.at_ms,
            "bar": one.bar,
            "adx": one.adx,
            "atr": one.atr,
            "blocked": one.blocked,
        }
        rows.append(
            SignalRow(
                timestamp=stamp_text(one.at_ms),
                symbol=one.symbol,
                signal=_SIGNALS[one.side],
                confidence=one.confidence,
                price=one.px,
                rsi=one.rsi,
                ema_fast=one.ema_fast,
                ema_slow=one.ema_slow,
                meta_json=json.dumps(meta, sort_keys=True),
            )
        )
    return rows


def brought_rows(state: PaperState) -> tuple[list[TradeRow], list[int]]:
    """OPEN rows of what a trader brings along from an init-state, and the positions they are of.

    They cost nothing and are marked `brought` in meta_json.
    """
    rows, ids = [], []
    for symbol, slot in state.held().items():
        position_id, at_ms = int(slot["position_id"]), int(slot["opened_ms"])
        rows.append(
            TradeRow(
                timestamp=stamp_text(at_ms),
                symbol=symbol,
                type=_SIDES[int(slot["side"])],
                action="OPEN",
                price=float(slot["entry_px"]),
                size=float(slot["qty"]),
                notional=float(slot["qty"]) * float(slot["entry_px"]),
                reason="Init State",
                confidence=CONFIDENCES[int(slot["confidence"])],
                pnl=0.0,
                fee_usd=0.0,
                fee_token=_FEE_TOKEN,
                fee_rate=0.0,
                balance=state.balance_usd,
                entry_atr=float(slot["entry_atr"]),
                leverage=float(slot["leverage"]),
                margin_used=float(slot["margin_usd"]),
                meta_json=_meta(position_id, at_ms, {"brought": True}),
                fill_hash=fill_hash(symbol, "BROUGHT", position_id, state.as_of_ms),
                fill_tid=0,
            )
        )
        ids.append(position_id)
    return rows, ids


def opened_rows(rows: list[TradeRow], ids: list[int], numbers: list[int]) -> dict[int, int]:
    """Position -> id of its OPEN row. ids: the position of each row, numbers: the id it was given."""
    return {
        position_id: number
        for row, position_id, number in zip(rows, ids, numbers, strict=True)
        if row.action == "OPEN"
    }


def positions_of(
    after: PaperState,
    opened: Mapping[int, int],
    before: PaperState,
    rows_before: Sequence[PositionRow],
    updated_at: str,
) -> list[PositionRow]:
    """`position_state` after a step. opened: position -> id of its OPEN row, of those that the step opened."""
    same = {name: int(slot["position_id"]) for name, slot in before.held().items()}
    known = {row.symbol: row.open_trade_id for row in rows_before}
    rows = []
    for symbol, slot in after.held().items():
        position_id = int(slot["position_id"])
        open_id = opened.get(position_id)
        if open_id is None and same.get(symbol) == position_id:
            open_id = known.get(symbol)
        rows.append(
            PositionRow(
                symbol=symbol,
                open_trade_id=open_id,
                trailing_sl=float(slot["trailing_px"]) if slot["has_trailing"] else None,
                last_funding_time=int(slot["funded_ms"]),
                updated_at=updated_at,
                adds_count=int(slot["adds_count"]),
                tp1_taken=int(slot["tp1_taken"]),
                last_add_time=int(slot["last_add_ms"]),
                entry_adx_threshold=float(slot["adx_threshold"]),
            )
        )
    return rows


def points_of(result: ReplayResult, before: PaperState) -> list[EquityPoint]:
    """The points of a step's curve without the one that only its end made."""
    log = result.trades[: len(result.trades) - result.n_ending]
    stamps, balances = log["timestamp_ms"].tolist(), log["balance_usd"].tolist()
    points = []
    number, balance_usd = 0, before.balance_usd
    curve = zip(result.equity_ms[:-1].tolist(), result.equity_usd[:-1].tolist(), strict=True)
    for at_ms, equity_usd in curve:
        while number < len(stamps) and stamps[number] <= at_ms:
            balance_usd = balances[number]
            number += 1
        points.append(EquityPoint(at_ms, equity_usd, balance_usd))
    return points


def fill_hash(symbol: str, action: str, position_id: int, at_ms: int) -> str:
    """What the rows of an action of a position at a moment are known by."""
    text = f"paper|{symbol}|{action}|{position_id}|{at_ms}"
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def _row(
    record: Any, reason: str, symbol: str, side: str, action: str, fill: str, number: int
) -> TradeRow:
    at_ms = int(record["timestamp_ms"])
    details = {name: float(record[name]) for name in ("detail_1", "detail_2")}
    return TradeRow(
        timestamp=stamp_text(at_ms),
        symbol=symbol,
        type=side,
        action=action,
        price=float(record["price"]),
        size=float(record["qty"]),
        notional=float(record["notional_usd"]),
        reason=reason,
        confidence=CONFIDENCES[int(record["confidence"])],
        pnl=float(record["pnl_usd"]),
        fee_usd=float(record["fee_usd"]),
        fee_token=_FEE_TOKEN,
        fee_rate=0.0 if int(record["action"]) == FUNDING else FEE_RATE,
        balance=float(record["balance_usd"]),
        entry_atr=float(record["entry_atr"]),
        leverage=float(record["leverage"]),
        margin_used=float(record["margin_usd"]),
        meta_json=_meta(int(record["position_id"]), at_ms, details),
        fill_hash=fill,
        fill_tid=number,
    )


def _meta(position_id: int, at_ms: int, more: Mapping[str, Any]) -> str:
    content = {"position_id": position_id, "timestamp_ms": at_ms, **more}
    return json.dumps(content, sort_keys=True)
