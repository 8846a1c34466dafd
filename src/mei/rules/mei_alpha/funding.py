"""Hourly funding of open positions (specification part 2, C.4; switch funding)."""

from typing import Any

from mei.model.replay import FUNDING
from mei.rules.mei_alpha.book import Deal, log_trade
from mei.rules.mei_alpha.codes import FUNDING_RATE
from mei.rules.mei_alpha.portfolio import last_close_px
from mei.rules.mei_alpha.world import State, World

HOUR_MS = 3_600_000


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


def pay_after_step(world: World, state: State, step: int) -> None:
    """The reference's way: whoever is open after a step pays every boundary since the previous step."""
    account = state.account[0]
    now_ms = world.steps[step].known_ms
    previous_ms = world.steps[step - 1].known_ms if step > 0 else now_ms
    boundary_ms = (previous_ms // HOUR_MS + 1) * HOUR_MS
    while boundary_ms <= now_ms:
        for i in range(account.n_active):
            symbol = state.active[i]
            slot = state.slots[symbol]
            whose = world.symbols[symbol]
            newest = newest_rate(world.funding, whose.funding_first, whose.funding_end, boundary_ms)
            if slot.side != 0 and newest >= whose.funding_first:
                px = last_close_px(world.main, world.symbols, slot, symbol, world.run[0])
                rate = world.funding[newest].rate
                pay(state.log, account, slot, symbol, rate, px, boundary_ms)
        boundary_ms += HOUR_MS


def pay_until(
    world: World, state: State, symbol: int, until_ms: int, includes_until: bool, now_ms: int
) -> None:
    """Pay the boundaries a position has held through and not paid yet, up to `until_ms`."""
    slot = state.slots[symbol]
    whose = world.symbols[symbol]
    px = slot.entry_px
    if slot.main_row >= whose.first:
        px = world.main[slot.main_row].close
    boundary_ms = (slot.funded_ms // HOUR_MS + 1) * HOUR_MS
    while boundary_ms < until_ms or (includes_until and boundary_ms == until_ms):
        newest = newest_rate(world.funding, whose.funding_first, whose.funding_end, boundary_ms)
        if newest >= whose.funding_first:
            rate = world.funding[newest].rate
            pay(state.log, state.account[0], slot, symbol, rate, px, now_ms)
        slot.funded_ms = boundary_ms
        boundary_ms += HOUR_MS


def pay_held(world: World, state: State, now_ms: int, includes_now: bool) -> None:
    """Every open position pays what it has held through up to now."""
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        if state.slots[symbol].side != 0:
            pay_until(world, state, symbol, now_ms, includes_now, now_ms)
