"""The execution model: what an order becomes in the market. Prices, costs and profit come from the rules."""

from __future__ import annotations

from dataclasses import dataclass

from mei.model.orders import Bar, Fill, Order
from mei.model.settings import Costs
from mei.rules import accounting, costs, exits

EXIT_REASONS = {exits.STOP: "stop", exits.TARGET: "take_profit"}


@dataclass(slots=True)
class Decision:
    """What was known when an entry was decided; frozen until the trade is closed.

    `features` are the policy's context of that close (a null is "not defined then").
    """

    preset: str
    model_version: int | None
    regime: int
    decided_at_ms: int
    notional_usd: float
    features: dict[str, float | None]


@dataclass(slots=True)
class Position:
    """An open position: quantities in base units, prices in quote per base, money in quote."""

    direction: int
    qty: float
    entry_px: float
    notional_usd: float
    entry_fee: float
    stop_px: float
    target_px: float
    opened_at_ms: int
    bars_held: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Book:
    """Names a leg in outputs: one strategy on one instrument."""

    strategy: str
    instrument: str


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """A trade that was closed on the bar at hand, for the policy. trade_id: unique in a run."""

    decision: Decision
    net_pnl_bps: float
    trade_id: str


def trade_id(book: Book, number: int) -> str:
    """Names the `number`th trade of a book."""
    return f"{book.strategy}/{book.instrument.replace('/', '_')}/{number}"


def open_position(
    book: Book, order: Order, decision: Decision, reference_px: float, now_ms: int, rates: Costs
) -> tuple[Position, Fill]:
    """Buy or sell at `reference_px` moved by slippage; stop and target are fixed from the price before it."""
    direction = order.direction
    fill_px = costs.fill_px(reference_px, direction, rates.slippage_bps)
    qty = accounting.order_qty(decision.notional_usd, reference_px)
    fee = costs.fee_usd(qty, fill_px, rates.fee_bps)
    position = Position(
        direction=direction,
        qty=qty,
        entry_px=fill_px,
        notional_usd=decision.notional_usd,
        entry_fee=fee,
        stop_px=exits.stop_px(reference_px, direction, order.stop_bps),
        target_px=exits.target_px(reference_px, direction, order.take_profit_bps),
        opened_at_ms=now_ms,
        bars_held=0,
        decision=decision,
    )
    fill = _fill(
        book, "open", direction, position, reference_px, fill_px, fee, 0.0, now_ms, order.reason
    )
    return position, fill


def close_position(
    book: Book, position: Position, reference_px: float, now_ms: int, rates: Costs, reason: str
) -> Fill:
    """Undo the position at `reference_px` moved by slippage; the fill's `pnl` is realised, fees apart."""
    trade_direction = -position.direction
    fill_px = costs.fill_px(reference_px, trade_direction, rates.slippage_bps)
    fee = costs.fee_usd(position.qty, fill_px, rates.fee_bps)
    pnl = accounting.pnl_usd(position.direction, position.qty, position.entry_px, fill_px)
    return _fill(
        book, "close", trade_direction, position, reference_px, fill_px, fee, pnl, now_ms, reason
    )


def meet_range(position: Position, bar: Bar) -> tuple[str, float] | None:
    """The resting order the bar fills: (reason, price before slippage), or None."""
    code, px = exits.protective_exit(
        position.direction, bar.open, bar.high, bar.low, position.stop_px, position.target_px
    )
    return None if code == exits.NO_EXIT else (EXIT_REASONS[code], px)


def _fill(
    book: Book,
    action: str,
    trade_direction: int,
    position: Position,
    reference_px: float,
    fill_px: float,
    fee: float,
    pnl: float,
    now_ms: int,
    reason: str,
) -> Fill:
    return Fill(
        timestamp=now_ms,
        instrument=book.instrument,
        strategy=book.strategy,
        action="open" if action == "open" else "close",
        side="buy" if trade_direction > 0 else "sell",
        qty=position.qty,
        reference_px=reference_px,
        price=fill_px,
        notional=position.qty * fill_px,
        fee=fee,
        slippage=costs.slippage_usd(position.qty, reference_px, fill_px),
        pnl=pnl,
        config_id=position.decision.preset,
        model_version=position.decision.model_version,
        reason=reason,
    )
