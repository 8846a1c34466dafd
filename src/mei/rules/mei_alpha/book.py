"""Opening, adding, leaving: what an executed action does to a position and the account (part 2, C.1 to C.3, A.10)."""

from typing import Any

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
from mei.rules.mei_alpha.exits import ratchet
from mei.rules.mei_alpha.world import State, World

FEE_RATE = 0.00035
#: Slippage of exits in the reference, basis points.
_EXIT_SLIPPAGE_BPS = 0.5

WHOLE, PART = 1, 2


def log_trade(
    state: State,
    now_ms: int,
    symbol: int,
    action: int,
    reason: int,
    confidence: int,
    detail_1: float,
    detail_2: float,
    price: float,
    qty: float,
    notional_usd: float,
    pnl_usd: float,
    fee_usd: float,
    entry_atr: float,
    leverage: float,
    margin_usd: float,
) -> None:
    """Append a trade record, or only count it when the log is full."""
    account = state.account[0]
    number = account.n_trades
    account.n_trades = number + 1
    if number >= len(state.log):
        return
    record = state.log[number]
    record.timestamp_ms = now_ms
    record.symbol = symbol
    record.action = action
    record.reason = reason
    record.confidence = confidence
    record.detail_1 = detail_1
    record.detail_2 = detail_2
    record.price = price
    record.qty = qty
    record.notional_usd = notional_usd
    record.pnl_usd = pnl_usd
    record.fee_usd = fee_usd
    record.balance_usd = account.balance_usd
    record.entry_atr = entry_atr
    record.leverage = leverage
    record.margin_usd = margin_usd
    record.position_id = state.slots[symbol].position_id


def slipped_px(px: float, direction: int, slippage_bps: float) -> float:
    """Price moved against a buy (direction 1) or a sell (-1)."""
    if direction > 0:
        return px * (1.0 + slippage_bps / 10000.0)
    return px * (1.0 - slippage_bps / 10000.0)


def entry_fee_usd(world: World, notional_usd: float, qty: float, fill_px: float) -> float:
    """Fee of an open or add: on the notional at the close, or on what was paid (switch costs)."""
    if world.switches[0].costs:
        return qty * fill_px * FEE_RATE
    return notional_usd * FEE_RATE


def activate(state: State, symbol: int) -> None:
    """Put a symbol on the ascending list of those the walk looks at; no effect when it is there."""
    account = state.account[0]
    n_active = account.n_active
    place = n_active
    while place > 0 and state.active[place - 1] >= symbol:
        place -= 1
    if place < n_active and state.active[place] == symbol:
        return
    for i in range(n_active, place, -1):
        state.active[i] = state.active[i - 1]
    state.active[place] = symbol
    account.n_active = n_active + 1


def drop_idle(state: State) -> None:
    """Take the symbols with neither position nor order off the list."""
    account = state.account[0]
    kept = 0
    for i in range(account.n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        if slot.side != 0 or slot.open_order != 0:
            state.active[kept] = symbol
            kept += 1
    account.n_active = kept


def open_position(
    world: World,
    state: State,
    symbol: int,
    side: int,
    px: float,
    qty: float,
    notional_usd: float,
    margin_usd: float,
    leverage: float,
    confidence: int,
    atr: float,
    adx_threshold: float,
    reason: int,
    opened_ms: int,
    now_ms: int,
) -> None:
    """Buy or sell at `px` moved by slippage (C.2). opened_ms: the moment of the fill; now_ms: when it is known."""
    risk = world.risk[world.risk_of[symbol]]
    account = state.account[0]
    slot = state.slots[symbol]
    fill_px = slipped_px(px, side, risk.slippage_bps)
    fee = entry_fee_usd(world, notional_usd, qty, fill_px)
    account.balance_usd -= fee
    account.n_positions += 1
    slot.side = side
    slot.qty = qty
    slot.entry_px = fill_px
    slot.confidence = confidence
    slot.entry_atr = atr
    slot.adx_threshold = adx_threshold
    slot.has_trailing = 0
    slot.trailing_px = 0.0
    slot.leverage = leverage
    slot.margin_usd = margin_usd
    slot.adds_count = 0
    slot.tp1_taken = 0
    slot.opened_ms = opened_ms
    slot.last_add_ms = opened_ms
    slot.position_id = account.n_positions
    slot.has_stop = 0
    slot.met_ms = opened_ms
    slot.funded_ms = opened_ms
    slot.exit_order = 0
    slot.add_order = 0
    log_trade(
        state,
        now_ms,
        symbol,
        OPEN_LONG if side > 0 else OPEN_SHORT,
        reason,
        confidence,
        0.0,
        0.0,
        fill_px,
        qty,
        notional_usd,
        0.0,
        fee,
        atr,
        leverage,
        margin_usd,
    )


def add_to_position(
    world: World,
    state: State,
    symbol: int,
    px: float,
    qty: float,
    notional_usd: float,
    margin_usd: float,
    confidence: int,
    atr: float,
    filled_ms: int,
    now_ms: int,
) -> None:
    """Enlarge the position at `px` moved by slippage; the entry price becomes the average (A.10)."""
    risk = world.risk[world.risk_of[symbol]]
    account = state.account[0]
    slot = state.slots[symbol]
    fill_px = slipped_px(px, slot.side, risk.slippage_bps)
    fee = entry_fee_usd(world, notional_usd, qty, fill_px)
    account.balance_usd -= fee
    number = slot.adds_count + 1
    total = slot.qty + qty
    if total > 0.0:
        slot.entry_px = (slot.entry_px * slot.qty + fill_px * qty) / total
    slot.qty = total
    slot.margin_usd += margin_usd
    slot.adds_count = number
    slot.last_add_ms = filled_ms
    log_trade(
        state,
        now_ms,
        symbol,
        ADD_LONG if slot.side > 0 else ADD_SHORT,
        PYRAMID,
        confidence,
        float(number),
        0.0,
        fill_px,
        qty,
        notional_usd,
        0.0,
        fee,
        atr,
        slot.leverage,
        margin_usd,
    )


def exit_slippage_bps(world: World, symbol: int) -> float:
    """Slippage of an exit: the reference's half basis point, or the configured one (switch costs)."""
    if not world.switches[0].costs:
        return _EXIT_SLIPPAGE_BPS
    configured = world.risk[world.risk_of[symbol]].slippage_bps
    return configured if configured > 0.0 else 0.0


def leave_position(
    world: World,
    state: State,
    symbol: int,
    px: float,
    fraction: float,
    reason: int,
    detail_1: float,
    detail_2: float,
    now_ms: int,
) -> None:
    """Sell all of a position (fraction 1) or a part of it at `px` moved by slippage (C.3)."""
    account = state.account[0]
    slot = state.slots[symbol]
    is_whole = fraction >= 1.0
    side = slot.side
    qty = slot.qty if is_whole else slot.qty * fraction
    fill_px = slipped_px(px, -side, exit_slippage_bps(world, symbol))
    notional = qty * fill_px
    fee = notional * FEE_RATE
    pnl = (fill_px - slot.entry_px) * qty if side > 0 else (slot.entry_px - fill_px) * qty
    account.balance_usd += pnl - fee
    whole_action = CLOSE_LONG if side > 0 else CLOSE_SHORT
    part_action = REDUCE_LONG if side > 0 else REDUCE_SHORT
    log_trade(
        state,
        now_ms,
        symbol,
        whole_action if is_whole else part_action,
        reason,
        slot.confidence,
        detail_1,
        detail_2,
        fill_px,
        qty,
        notional,
        pnl,
        fee,
        slot.entry_atr,
        slot.leverage,
        slot.margin_usd if is_whole else slot.margin_usd * fraction,
    )
    slot.has_left = 1
    slot.last_exit_ms = now_ms
    slot.last_exit_side = side
    slot.last_exit_reason = reason
    slot.exit_order = 0
    if is_whole:
        slot.side = 0
        slot.add_order = 0
        slot.has_trailing = 0
        slot.has_stop = 0
        return
    slot.qty -= qty
    slot.margin_usd *= 1.0 - fraction
    if world.switches[0].take_profit:
        slot.tp1_taken = 1
        ratchet(slot, slot.entry_px)


def order_exit(
    slot: Any, fraction: float, reason: int, detail_1: float, detail_2: float, now_ms: int
) -> None:
    """Leave all or a part at the next open."""
    slot.exit_order = WHOLE if fraction >= 1.0 else PART
    slot.exit_fraction = fraction
    slot.exit_reason = reason
    slot.exit_detail_1 = detail_1
    slot.exit_detail_2 = detail_2
    slot.exit_decided_ms = now_ms
