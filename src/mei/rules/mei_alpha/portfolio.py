"""What the account can bear: equity, margin, places, cooldowns (specification part 2, A.5, A.9, A.10)."""

from typing import Any

from mei.model.bars import IntArray
from mei.rules.mei_alpha.book import WHOLE
from mei.rules.mei_alpha.codes import SIGNAL_FLIP
from mei.rules.mei_alpha.exits import gain_px, profit_atr

_STRONG_ADX, _WEAK_ADX = 40.0, 25.0


def activate(account: Any, active: IntArray, symbol: int) -> None:
    """Put a symbol on the ascending list of those the walk looks at; no effect when it is there."""
    n_active = account.n_active
    place = n_active
    while place > 0 and active[place - 1] >= symbol:
        place -= 1
    if place < n_active and active[place] == symbol:
        return
    for i in range(n_active, place, -1):
        active[i] = active[i - 1]
    active[place] = symbol
    account.n_active = n_active + 1


def drop_idle(account: Any, active: IntArray, slots: Any) -> None:
    """Take the symbols with neither position nor order off the list."""
    kept = 0
    for i in range(account.n_active):
        symbol = active[i]
        slot = slots[symbol]
        if slot.side != 0 or slot.open_order != 0:
            active[kept] = symbol
            kept += 1
    account.n_active = kept


def last_close_px(main: Any, symbols: Any, slot: Any, symbol: int, run: Any) -> float:
    """Close of the symbol's newest main bar; without one 0 (the reference's bank) or the entry price (marked)."""
    if slot.main_row >= symbols[symbol].first:
        return main[slot.main_row].close
    return slot.entry_px if run.equity else 0.0


def marked_equity_usd(
    main: Any, symbols: Any, run: Any, slots: Any, account: Any, active: IntArray
) -> float:
    """Balance plus unrealised profit at the last main closes, summed in symbol order."""
    unrealised = 0.0
    for i in range(account.n_active):
        slot = slots[active[i]]
        if slot.side != 0:
            px = last_close_px(main, symbols, slot, active[i], run)
            unrealised += gain_px(slot, px) * slot.qty
    return account.balance_usd + unrealised + account.other_equity_usd


def holds_place(slot: Any) -> bool:
    """The slot has a position that is not about to be closed at the next open."""
    return slot.side != 0 and slot.exit_order != WHOLE


def n_open_positions(slots: Any, account: Any, active: IntArray) -> int:
    """Positions and orders to open."""
    number = 0
    for i in range(account.n_active):
        slot = slots[active[i]]
        if holds_place(slot):
            number += 1
        if slot.open_order != 0:
            number += 1
    return number


def used_margin_usd(slots: Any, account: Any, active: IntArray) -> float:
    """Margin of positions and of orders, summed in symbol order."""
    total = 0.0
    for i in range(account.n_active):
        slot = slots[active[i]]
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
        return now_ms < slot.last_exit_ms
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
