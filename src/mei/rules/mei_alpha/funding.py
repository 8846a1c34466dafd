"""Hourly funding of open positions (specification part 2, C.4; switch funding)."""

from mei.model.bars import IntArray
from mei.model.replay import FUNDING
from mei.rules.mei_alpha.book import log_trade
from mei.rules.mei_alpha.codes import FUNDING_RATE
from mei.rules.mei_alpha.portfolio import last_close_px
from mei.rules.mei_alpha.world import State, World

HOUR_MS = 3_600_000


def first_after(times_ms: IntArray, low: int, high: int, moment_ms: int) -> int:
    """First index in [low, high) whose time is later than `moment_ms`, or `high`."""
    while low < high:
        middle = (low + high) // 2
        if times_ms[middle] > moment_ms:
            high = middle
        else:
            low = middle + 1
    return low


def pay(world: World, state: State, symbol: int, boundary_ms: int, px: float, now_ms: int) -> None:
    """Pay or receive the newest rate at or before the boundary; nothing when there is none. Rows are stamped now_ms."""
    first = world.funding_first[symbol]
    found = first_after(world.funding_ms, first, world.funding_end[symbol], boundary_ms)
    if found == first:
        return
    rate = world.funding_rate[found - 1]
    slot = state.slots[symbol]
    signed_qty = slot.qty if slot.side > 0 else -slot.qty
    delta = (-signed_qty * px) * rate
    state.account[0].balance_usd += delta
    log_trade(
        state,
        now_ms,
        symbol,
        FUNDING,
        FUNDING_RATE,
        slot.confidence,
        rate,
        0.0,
        px,
        slot.qty,
        slot.qty * px,
        delta,
        0.0,
        slot.entry_atr,
        slot.leverage,
        slot.margin_usd,
    )


def pay_after_step(world: World, state: State, step: int) -> None:
    """The reference's way: whoever is open after a step pays every boundary since the previous step."""
    now_ms = world.step_ms[step]
    previous_ms = world.step_ms[step - 1] if step > 0 else now_ms
    boundary_ms = (previous_ms // HOUR_MS + 1) * HOUR_MS
    while boundary_ms <= now_ms:
        for i in range(state.account[0].n_active):
            symbol = state.active[i]
            if state.slots[symbol].side != 0:
                px = last_close_px(world, state, symbol)
                pay(world, state, symbol, boundary_ms, px, boundary_ms)
        boundary_ms += HOUR_MS


def pay_until(
    world: World, state: State, symbol: int, until_ms: int, includes_until: bool, now_ms: int
) -> None:
    """Pay the boundaries a position has held through and not paid yet, up to `until_ms`."""
    slot = state.slots[symbol]
    px = slot.entry_px
    if slot.main_row >= world.main.first[symbol]:
        px = world.main.close[slot.main_row]
    boundary_ms = (slot.funded_ms // HOUR_MS + 1) * HOUR_MS
    while boundary_ms < until_ms or (includes_until and boundary_ms == until_ms):
        pay(world, state, symbol, boundary_ms, px, now_ms)
        slot.funded_ms = boundary_ms
        boundary_ms += HOUR_MS


def pay_held(world: World, state: State, now_ms: int, includes_now: bool) -> None:
    """Every open position pays what it has held through up to now."""
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        if state.slots[symbol].side != 0:
            pay_until(world, state, symbol, now_ms, includes_now, now_ms)
