"""What the account can bear: equity, margin, cooldowns (specification part 2, A.5, A.9, A.10)."""

from typing import Any

from mei.rules.mei_alpha.book import WHOLE, activate, add_to_position
from mei.rules.mei_alpha.codes import SIGNAL_FLIP
from mei.rules.mei_alpha.exits import gain_px, profit_atr
from mei.rules.mei_alpha.world import State, World

_STRONG_ADX, _WEAK_ADX = 40.0, 25.0


def last_close_px(world: World, state: State, symbol: int) -> float:
    """Close of the symbol's newest main bar; without one 0 (the reference's bank) or the entry price (marked)."""
    slot = state.slots[symbol]
    if slot.main_row >= world.main.first[symbol]:
        return world.main.close[slot.main_row]
    return slot.entry_px if world.switches[0].equity else 0.0


def marked_equity_usd(world: World, state: State) -> float:
    """Balance plus unrealised profit at the last main closes, summed in symbol order."""
    account = state.account[0]
    unrealised = 0.0
    for i in range(account.n_active):
        slot = state.slots[state.active[i]]
        if slot.side != 0:
            unrealised += gain_px(slot, last_close_px(world, state, state.active[i])) * slot.qty
    return account.balance_usd + unrealised + account.other_equity_usd


def holds_place(slot: Any) -> bool:
    """The slot has a position that is not about to be closed at the next open."""
    return slot.side != 0 and slot.exit_order != WHOLE


def n_open_positions(state: State) -> int:
    """Positions and orders to open."""
    number = 0
    for i in range(state.account[0].n_active):
        slot = state.slots[state.active[i]]
        if holds_place(slot):
            number += 1
        if slot.open_order != 0:
            number += 1
    return number


def used_margin_usd(state: State) -> float:
    """Margin of positions and of orders, summed in symbol order."""
    total = 0.0
    for i in range(state.account[0].n_active):
        slot = state.slots[state.active[i]]
        if holds_place(slot):
            total += slot.margin_usd
            if slot.add_order != 0:
                total += slot.add_margin_usd
        if slot.open_order != 0:
            total += slot.open_margin_usd
    return total


def is_entry_cooling(slot: Any, now_ms: int, p: Any) -> bool:
    """The last open or add is too recent."""
    if not (p.entry_cooldown_s > 0 and slot.has_entered):
        return False
    return now_ms - slot.last_entry_ms < p.entry_cooldown_s * 1000


def is_exit_cooling(slot: Any, now_ms: int, p: Any) -> bool:
    """The last exit is too recent for decisions to exit."""
    if not (p.exit_cooldown_s > 0 and slot.has_left):
        return False
    return now_ms - slot.last_exit_ms < p.exit_cooldown_s * 1000


def is_pesc_blocked(slot: Any, side: int, adx: float, now_ms: int, p: Any) -> bool:
    """A position on the same side ended too recently; the weaker the trend, the longer the wait (PESC)."""
    if p.reentry_cooldown_minutes == 0 or not slot.has_left:
        return False
    if slot.last_exit_reason == SIGNAL_FLIP or slot.last_exit_side != side:
        return False
    shortest = float(p.reentry_cooldown_min_mins)
    longest = float(p.reentry_cooldown_max_mins)
    if adx >= _STRONG_ADX:
        minutes = shortest
    elif adx <= _WEAK_ADX:
        minutes = longest
    else:
        minutes = longest + ((adx - 25.0) / 15.0) * (shortest - longest)
    wait_ms = minutes * 60000.0
    if not wait_ms > 0.0:
        return False
    return now_ms - slot.last_exit_ms < int(wait_ms)


def may_add(slot: Any, confidence: int, close_px: float, now_ms: int, p: Any) -> bool:
    """The conditions of an add that concern the position itself, in the specification's order."""
    if slot.adds_count >= p.max_adds_per_symbol or slot.add_order != 0:
        return False
    if confidence < p.add_min_confidence:
        return False
    if (now_ms - slot.last_add_ms) / 60000.0 < p.add_cooldown_minutes:
        return False
    if not profit_atr(slot, close_px) >= p.add_min_profit_atr:
        return False
    return close_px > 0.0 and not is_entry_cooling(slot, now_ms, p)


def try_add(
    world: World,
    state: State,
    symbol: int,
    confidence: int,
    close_px: float,
    atr: float,
    now_ms: int,
) -> None:
    """Pyramid: enlarge a winning position once more, if its conditions and the margin allow (A.10)."""
    p = world.risk[world.risk_of[symbol]]
    switches = world.switches[0]
    slot = state.slots[symbol]
    if not may_add(slot, confidence, close_px, now_ms, p):
        return
    equity = marked_equity_usd(world, state) if switches.equity else state.account[0].balance_usd
    margin = (equity * p.allocation_pct) * p.add_fraction_of_base_margin
    notional = margin * slot.leverage
    if notional < p.min_notional_usd:
        if not p.bump_to_min_notional:
            return
        notional = p.min_notional_usd
        if switches.bump and slot.leverage > 0.0:
            margin = notional / slot.leverage
    qty = notional / close_px
    if equity * world.risk[0].max_total_margin_pct - (used_margin_usd(state) + margin) < 0.0:
        return
    slot.has_entered = 1
    slot.last_entry_ms = now_ms
    if not switches.entry_fill:
        add_to_position(
            world, state, symbol, close_px, qty, notional, margin, confidence, atr, now_ms, now_ms
        )
        return
    slot.add_order = 1
    slot.add_notional_usd = notional
    slot.add_margin_usd = margin
    slot.add_atr = atr
    slot.add_confidence = confidence
    slot.add_decided_ms = now_ms
    activate(state, symbol)
