"""Opening, adding, leaving: what an executed action does to a position and the account (part 2, C.1 to C.3, A.10).

Arguments are records: `run` RUN_DTYPE, `p` RISK_DTYPE, `slot` SLOT_DTYPE, `account` ACCOUNT_DTYPE; `log` is an
array of TRADE_DTYPE.
"""

from typing import Any, NamedTuple

from mei.model.replay import (
    ADD_LONG,
    ADD_SHORT,
    CLOSE_LONG,
    CLOSE_SHORT,
    OPEN_LONG,
    OPEN_SHORT,
    REDUCE_LONG,
    REDUCE_SHORT,
)
from mei.rules.mei_alpha.codes import PYRAMID
from mei.rules.mei_alpha.exits import Exit, ratchet

#: Fraction of a fill's value the reference pays; a run may name another (`fee_rate` of RUN_DTYPE).
FEE_RATE = 0.00035
#: Slippage of exits in the reference, basis points.
_EXIT_SLIPPAGE_BPS = 0.5

WHOLE, PART = 1, 2
#: A moment no bar has.
NO_MS = -(1 << 62)


class Entry(NamedTuple):
    """What is opened or added: quantity in base units, notional and margin in quote currency."""

    side: int
    qty: float
    notional_usd: float
    margin_usd: float
    leverage: float
    confidence: int
    atr: float
    adx_threshold: float
    reason: int


class Deal(NamedTuple):
    """The money side of an executed action: fill price with slippage, realised profit without fees."""

    action: int
    reason: int
    detail_1: float
    detail_2: float
    confidence: int
    price: float
    qty: float
    notional_usd: float
    pnl_usd: float
    fee_usd: float
    atr: float
    margin_usd: float


def log_trade(log: Any, account: Any, slot: Any, symbol: int, deal: Deal, now_ms: int) -> None:
    """Append a trade record, or only count it when the log is full."""
    number = account.n_trades
    account.n_trades = number + 1
    if number >= len(log):
        return
    record = log[number]
    record.timestamp_ms = now_ms
    record.symbol = symbol
    record.action = deal.action
    record.reason = deal.reason
    record.confidence = deal.confidence
    record.detail_1 = deal.detail_1
    record.detail_2 = deal.detail_2
    record.price = deal.price
    record.qty = deal.qty
    record.notional_usd = deal.notional_usd
    record.pnl_usd = deal.pnl_usd
    record.fee_usd = deal.fee_usd
    record.balance_usd = account.balance_usd
    record.entry_atr = deal.atr
    record.leverage = slot.leverage
    record.margin_usd = deal.margin_usd
    record.position_id = slot.position_id
    record.lowest_px = slot.lowest_px
    record.highest_px = slot.highest_px


def live_through(slot: Any, px: float) -> None:
    """Widen what the position has lived through by a price (switch excursions)."""
    if px < slot.lowest_px:
        slot.lowest_px = px
    if px > slot.highest_px:
        slot.highest_px = px


def slipped_px(px: float, direction: int, slippage_bps: float) -> float:
    """Price moved against a buy (direction 1) or a sell (-1)."""
    if direction > 0:
        return px * (1.0 + slippage_bps / 10000.0)
    return px * (1.0 - slippage_bps / 10000.0)


def entry_fee_usd(run: Any, notional_usd: float, qty: float, fill_px: float) -> float:
    """Fee of an open or add: on the notional at the close, or on what was paid (switch costs)."""
    if run.costs:
        return qty * fill_px * run.fee_rate
    return notional_usd * run.fee_rate


def open_position(
    run: Any,
    p: Any,
    account: Any,
    slot: Any,
    log: Any,
    symbol: int,
    px: float,
    entry: Entry,
    opened_ms: int,
    now_ms: int,
) -> None:
    """Buy or sell at `px` moved by slippage (C.2). opened_ms: the moment of the fill; now_ms: when it is known."""
    fill_px = slipped_px(px, entry.side, p.slippage_bps)
    fee = entry_fee_usd(run, entry.notional_usd, entry.qty, fill_px)
    account.balance_usd -= fee
    account.n_positions += 1
    slot.side = entry.side
    slot.qty = entry.qty
    slot.entry_px = fill_px
    slot.confidence = entry.confidence
    slot.entry_atr = entry.atr
    slot.adx_threshold = entry.adx_threshold
    slot.has_trailing = 0
    slot.trailing_px = 0.0
    slot.leverage = entry.leverage
    slot.margin_usd = entry.margin_usd
    slot.adds_count = 0
    slot.tp1_taken = 0
    slot.opened_ms = opened_ms
    slot.last_add_ms = opened_ms
    slot.position_id = account.n_positions
    slot.has_stop = 0
    slot.met_ms = opened_ms
    slot.funded_ms = opened_ms
    slot.lowest_px = fill_px
    slot.highest_px = fill_px
    slot.seen_ms = NO_MS
    slot.hole_ms = NO_MS
    slot.exit_order = 0
    slot.add_order = 0
    deal = Deal(
        OPEN_LONG if entry.side > 0 else OPEN_SHORT,
        entry.reason,
        0.0,
        0.0,
        entry.confidence,
        fill_px,
        entry.qty,
        entry.notional_usd,
        0.0,
        fee,
        entry.atr,
        entry.margin_usd,
    )
    log_trade(log, account, slot, symbol, deal, now_ms)


def add_to_position(
    run: Any,
    p: Any,
    account: Any,
    slot: Any,
    log: Any,
    symbol: int,
    px: float,
    entry: Entry,
    filled_ms: int,
    now_ms: int,
) -> None:
    """Enlarge the position at `px` moved by slippage; the entry price becomes the average (A.10)."""
    fill_px = slipped_px(px, slot.side, p.slippage_bps)
    fee = entry_fee_usd(run, entry.notional_usd, entry.qty, fill_px)
    account.balance_usd -= fee
    number = slot.adds_count + 1
    total = slot.qty + entry.qty
    if total > 0.0:
        slot.entry_px = (slot.entry_px * slot.qty + fill_px * entry.qty) / total
    slot.qty = total
    slot.margin_usd += entry.margin_usd
    slot.adds_count = number
    slot.last_add_ms = filled_ms
    deal = Deal(
        ADD_LONG if slot.side > 0 else ADD_SHORT,
        PYRAMID,
        float(number),
        0.0,
        entry.confidence,
        fill_px,
        entry.qty,
        entry.notional_usd,
        0.0,
        fee,
        entry.atr,
        entry.margin_usd,
    )
    log_trade(log, account, slot, symbol, deal, now_ms)


def exit_slippage_bps(run: Any, p: Any) -> float:
    """Slippage of an exit: the reference's half basis point, or the configured one (switch costs)."""
    if not run.costs:
        return _EXIT_SLIPPAGE_BPS
    return p.slippage_bps if p.slippage_bps > 0.0 else 0.0


def leave_position(
    run: Any,
    p: Any,
    account: Any,
    slot: Any,
    log: Any,
    symbol: int,
    px: float,
    leaving: Exit,
    now_ms: int,
) -> None:
    """Sell all of a position (fraction 1) or a part of it at `px` moved by slippage (C.3)."""
    fraction = leaving.fraction
    is_whole = fraction >= 1.0
    side = slot.side
    qty = slot.qty if is_whole else slot.qty * fraction
    fill_px = slipped_px(px, -side, exit_slippage_bps(run, p))
    notional = qty * fill_px
    fee = notional * run.fee_rate
    pnl = (fill_px - slot.entry_px) * qty if side > 0 else (slot.entry_px - fill_px) * qty
    account.balance_usd += pnl - fee
    live_through(slot, fill_px)
    action = CLOSE_LONG if side > 0 else CLOSE_SHORT
    if not is_whole:
        action = REDUCE_LONG if side > 0 else REDUCE_SHORT
    deal = Deal(
        action,
        leaving.reason,
        leaving.detail_1,
        leaving.detail_2,
        slot.confidence,
        fill_px,
        qty,
        notional,
        pnl,
        fee,
        slot.entry_atr,
        slot.margin_usd if is_whole else slot.margin_usd * fraction,
    )
    log_trade(log, account, slot, symbol, deal, now_ms)
    slot.has_left = 1
    slot.last_exit_ms = now_ms
    slot.last_exit_side = side
    slot.last_exit_reason = leaving.reason
    slot.exit_order = 0
    if is_whole:
        slot.side = 0
        slot.add_order = 0
        slot.has_trailing = 0
        slot.has_stop = 0
        return
    slot.qty -= qty
    slot.margin_usd *= 1.0 - fraction
    if run.take_profit:
        slot.tp1_taken = 1
        ratchet(slot, slot.entry_px)


def order_exit(slot: Any, leaving: Exit, now_ms: int) -> None:
    """Leave all or a part at the next open."""
    slot.exit_order = WHOLE if leaving.fraction >= 1.0 else PART
    slot.exit_fraction = leaving.fraction
    slot.exit_reason = leaving.reason
    slot.exit_detail_1 = leaving.detail_1
    slot.exit_detail_2 = leaving.detail_2
    slot.exit_decided_ms = now_ms


def ordered_exit(slot: Any) -> Exit:
    """The exit that waits for an open."""
    return Exit(slot.exit_reason, slot.exit_fraction, slot.exit_detail_1, slot.exit_detail_2)


def order_entry(slot: Any, entry: Entry, now_ms: int) -> None:
    """Open at the next open."""
    slot.open_order = entry.side
    slot.open_notional_usd = entry.notional_usd
    slot.open_margin_usd = entry.margin_usd
    slot.open_leverage = entry.leverage
    slot.open_atr = entry.atr
    slot.open_adx_threshold = entry.adx_threshold
    slot.open_confidence = entry.confidence
    slot.open_reason = entry.reason
    slot.open_decided_ms = now_ms


def ordered_entry(slot: Any, open_px: float) -> Entry:
    """The entry that waits for an open, sized by the open that came."""
    return Entry(
        slot.open_order,
        slot.open_notional_usd / open_px if open_px > 0.0 else 0.0,
        slot.open_notional_usd,
        slot.open_margin_usd,
        slot.open_leverage,
        slot.open_confidence,
        slot.open_atr,
        slot.open_adx_threshold,
        slot.open_reason,
    )


def order_add(slot: Any, entry: Entry, now_ms: int) -> None:
    """Add at the next open."""
    slot.add_order = 1
    slot.add_notional_usd = entry.notional_usd
    slot.add_margin_usd = entry.margin_usd
    slot.add_atr = entry.atr
    slot.add_confidence = entry.confidence
    slot.add_decided_ms = now_ms


def ordered_add(slot: Any, open_px: float) -> Entry:
    """The add that waits for an open, sized by the open that came."""
    return Entry(
        slot.side,
        slot.add_notional_usd / open_px if open_px > 0.0 else 0.0,
        slot.add_notional_usd,
        slot.add_margin_usd,
        slot.leverage,
        slot.add_confidence,
        slot.add_atr,
        slot.adx_threshold,
        PYRAMID,
    )
