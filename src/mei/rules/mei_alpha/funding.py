"""Hourly funding of open positions (specification part 2, C.4; switch funding)."""

from typing import Any

from mei.model.replay import FUNDING
from mei.rules.mei_alpha.book import Deal, log_trade
from mei.rules.mei_alpha.codes import FUNDING_RATE
from mei.rules.mei_alpha.world import State, World

HOUR_MS = 3_600_000
#: Rules that few walks need (engines/bind.py).
SELDOM = ("pay_after_step", "pay_held", "pay_met", "pay_until")


def newest_rate(funding: Any, first: int, end: int, moment_ms: int) -> int:
    """Index of the newest rate at or before the moment, `first - 1` when there is none."""
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if funding[middle].time_ms > moment_ms:
            high = middle
        else:
            low = middle + 1
    return low - 1


def pay(
    log: Any, account: Any, slot: Any, symbol: int, rate: float, px: float, now_ms: int
) -> None:
    """Pay (or receive) a rate on the position's value at `px`; longs pay positive rates. Rows are stamped now_ms."""
    signed_qty = slot.qty if slot.side > 0 else -slot.qty
    delta = (-signed_qty * px) * rate
    account.balance_usd += delta
    deal = Deal(
        FUNDING,
        FUNDING_RATE,
        rate,
        0.0,
        slot.confidence,
        px,
        slot.qty,
        slot.qty * px,
        delta,
        0.0,
        slot.entry_atr,
        slot.margin_usd,
    )
    log_trade(log, account, slot, symbol, deal, now_ms)


def rate_at(world: World, symbol: int, boundary_ms: int) -> int:
    """Index of the rate that holds at a boundary; -1 when none is known yet."""
    whose = world.symbols[symbol]
    newest = newest_rate(world.funding, whose.funding_first, whose.funding_end, boundary_ms)
    return newest if newest >= whose.funding_first else -1


def pay_after_step(world: World, state: State, step: int) -> None:
    """The reference's way: whoever is open after a step pays every boundary since the previous step."""
    account = state.account[0]
    now_ms = world.steps[step].known_ms
    if world.run[0].run_end and now_ms < world.run[0].from_ms:
        return
    previous_ms = world.steps[step - 1].known_ms if step > 0 else now_ms
    boundary_ms = (previous_ms // HOUR_MS + 1) * HOUR_MS
    while boundary_ms <= now_ms:
        for i in range(account.n_active):
            symbol = state.active[i]
            slot = state.slots[symbol]
            rate = rate_at(world, symbol, boundary_ms)
            if slot.side != 0 and rate >= 0:
                has_bar = slot.main_row >= world.symbols[symbol].first
                px = world.main[slot.main_row].close if has_bar else 0.0
                pay(state.log, account, slot, symbol, world.funding[rate].rate, px, boundary_ms)
        boundary_ms += HOUR_MS


def px_at(world: World, slot: Any, symbol: int, moment_ms: int) -> float:
    """Close of the symbol's newest main bar known at the moment; the entry price before the first one."""
    whose = world.symbols[symbol]
    row = slot.main_row
    while row + 1 < whose.end and world.main[row + 1].known_ms <= moment_ms:
        row += 1
    while row >= whose.first and world.main[row].known_ms > moment_ms:
        row -= 1
    return world.main[row].close if row >= whose.first else slot.entry_px


def pay_until(world: World, state: State, symbol: int, until_ms: int, now_ms: int) -> None:
    """Pay the boundaries up to and including `until_ms` a position has held through and not paid yet."""
    slot = state.slots[symbol]
    boundary_ms = (slot.funded_ms // HOUR_MS + 1) * HOUR_MS
    while boundary_ms <= until_ms:
        rate = rate_at(world, symbol, boundary_ms)
        if rate >= 0:
            px = px_at(world, slot, symbol, boundary_ms)
            account = state.account[0]
            pay(state.log, account, slot, symbol, world.funding[rate].rate, px, now_ms)
        slot.funded_ms = boundary_ms
        boundary_ms += HOUR_MS


def until_left_ms(run: Any, slot: Any, until_ms: int) -> int:
    """A position with an exit ordered pays up to the decision as time passes, the rest when the order fills."""
    if run.bar_time and slot.exit_order != 0 and slot.exit_decided_ms < until_ms:
        return slot.exit_decided_ms
    return until_ms


def pay_held(world: World, state: State, until_ms: int, now_ms: int) -> None:
    """Every open position pays what it has held through."""
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        if slot.side != 0:
            pay_until(world, state, symbol, until_left_ms(world.run[0], slot, until_ms), now_ms)


def pay_met(world: World, state: State, until_ms: int, now_ms: int) -> None:
    """Every open position that has a sub-bar of its own now pays what it has held through."""
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        whose = world.symbols[symbol]
        row = slot.exit_row
        has_bar = 0 <= row < whose.exit_end and world.exits[row].known_ms == now_ms
        row = slot.entry_row
        if not has_bar:
            has_bar = 0 <= row < whose.entry_end and world.entries[row].known_ms == now_ms
        if has_bar and slot.side != 0:
            pay_until(world, state, symbol, until_left_ms(world.run[0], slot, until_ms), now_ms)
