"""Sub-bars between two main steps (specification part 2, A.7 and A.8; switch bar_time)."""

from typing import Any

from mei.rules.mei_alpha.decisions import evaluate_exit, open_ranked, pick
from mei.rules.mei_alpha.funding import pay_met
from mei.rules.mei_alpha.holes import first_known_after
from mei.rules.mei_alpha.market import meet_bar
from mei.rules.mei_alpha.portfolio import drop_idle, is_pesc_blocked, marked_equity_usd
from mei.rules.mei_alpha.world import State, World

FOREVER_MS = 1 << 62
#: Rules that few walks need (engines/bind.py).
SELDOM = ("walk_exit_blocks", "walk_sub_bars", "open_tick")


def next_row(bars: Any, first: int, end: int, row: int, now_ms: int) -> int:
    """The first bar of a symbol known after `now_ms`, searched from `row` on (-1 = from the start)."""
    if row < 0:
        return first_known_after(bars, first, end, now_ms)
    while row < end and bars[row].known_ms <= now_ms:
        row += 1
    return row


def end_of_step_ms(world: World, step: int) -> int:
    """Until when sub-bars belong to a step, inclusive, as far as the window goes."""
    run = world.run[0]
    if step + 1 < run.n_steps and world.steps[step + 1].known_ms < run.to_ms:
        return world.steps[step + 1].known_ms
    return run.to_ms


def start_of_step_ms(world: World, step: int) -> int:
    """After when sub-bars belong to a step, as far as the window goes."""
    run = world.run[0]
    start_ms = world.steps[step].known_ms
    if start_ms < run.from_ms:
        start_ms = run.from_ms - 1
    return start_ms if start_ms > run.resumed_ms else run.resumed_ms


def walk_exit_blocks(world: World, state: State, step: int) -> None:
    """The reference's way: each open symbol's exit bars of the whole step, one symbol after another (A.7)."""
    now_ms = start_of_step_ms(world, step)
    until_ms = end_of_step_ms(world, step)
    account = state.account[0]
    for i in range(account.n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        whose = world.symbols[symbol]
        row = next_row(world.exits, whose.exit_first, whose.exit_end, slot.exit_row, now_ms)
        while row < whose.exit_end and world.exits[row].known_ms <= until_ms:
            if slot.side == 0 and slot.open_order == 0:
                break
            on_exit_bar(world, state, symbol, row)
            row += 1
        slot.exit_row = row
    drop_idle(account, state.active, state.slots)


def on_exit_bar(world: World, state: State, symbol: int, row: int) -> None:
    """An exit bar comes: orders, range, then the exits on its close with the indicators of the newest main bar."""
    run = world.run[0]
    bar = world.exits[row]
    has_fired = False
    if run.entry_fill or run.exit_fill or run.excursions:
        has_fired = meet_bar(world, state, symbol, bar, run.exit_interval_ms, True)
    if not has_fired:
        evaluate_exit(world, state, symbol, bar.close, bar.known_ms)


def walk_sub_bars(world: World, state: State, step: int) -> None:
    """The sub-bars of a step in the order in which they become known; bar_time = open: the entry ticks alone (A.8)."""
    run = world.run[0]
    account = state.account[0]
    in_time = run.bar_time
    has_exits = in_time and run.has_exits
    may_meet = in_time or run.entry_fill or run.exit_fill or run.excursions
    meets_entries = run.has_entries and may_meet
    pays = in_time and run.funding and run.has_funding
    now_ms = start_of_step_ms(world, step)
    until_ms = end_of_step_ms(world, step)
    tick = world.steps[step].first_tick
    tick_end = world.steps[step + 1].first_tick
    equity = 0.0
    if not in_time and tick < tick_end:
        equity = equity_usd(world, state)
    while True:
        known_ms = next_event_ms(world, state, now_ms, has_exits, meets_entries)
        if tick < tick_end and world.ticks[tick].known_ms < known_ms:
            known_ms = world.ticks[tick].known_ms
        if known_ms > until_ms:
            return
        if pays:
            pay_met(world, state, known_ms - 1, known_ms)
        if has_exits or meets_entries:
            meet_sub_bars(world, state, known_ms, has_exits, meets_entries)
        first_tick = tick
        while tick < tick_end and world.ticks[tick].known_ms == known_ms:
            tick += 1
        if tick > first_tick:
            if in_time:
                equity = equity_usd(world, state)
            open_tick(world, state, first_tick, tick, equity)
        if pays:
            pay_met(world, state, known_ms, known_ms)
        drop_idle(account, state.active, state.slots)
        now_ms = known_ms


def equity_usd(world: World, state: State) -> float:
    """What entries at a tick are sized with."""
    return marked_equity_usd(
        world.main, world.symbols, world.run[0], state.slots, state.account[0], state.active
    )


def next_event_ms(
    world: World, state: State, now_ms: int, has_exits: bool, has_entries: bool
) -> int:
    """When the next sub-bar of a symbol with a position or an order is known; FOREVER_MS if there is none."""
    earliest_ms = FOREVER_MS
    if not (has_exits or has_entries):
        return earliest_ms
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        whose = world.symbols[symbol]
        if has_exits:
            end = whose.exit_end
            row = next_row(world.exits, whose.exit_first, end, slot.exit_row, now_ms)
            slot.exit_row = row
            if row < end and world.exits[row].known_ms < earliest_ms:
                earliest_ms = world.exits[row].known_ms
        if has_entries:
            end = whose.entry_end
            row = next_row(world.entries, whose.entry_first, end, slot.entry_row, now_ms)
            slot.entry_row = row
            if row < end and world.entries[row].known_ms < earliest_ms:
                earliest_ms = world.entries[row].known_ms
    return earliest_ms


def meet_sub_bars(
    world: World, state: State, known_ms: int, has_exits: bool, has_entries: bool
) -> None:
    """The exit bars that become known now, symbols ascending, then the entry bars; on these nothing is decided."""
    n_active = state.account[0].n_active
    interval_ms = world.run[0].entry_interval_ms
    for i in range(n_active):
        symbol = state.active[i]
        row = state.slots[symbol].exit_row
        if (
            has_exits
            and row < world.symbols[symbol].exit_end
            and world.exits[row].known_ms == known_ms
        ):
            on_exit_bar(world, state, symbol, row)
    for i in range(n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        row = slot.entry_row
        if not has_entries or row >= world.symbols[symbol].entry_end:
            continue
        if (slot.side != 0 or slot.open_order != 0) and world.entries[row].known_ms == known_ms:
            meet_bar(world, state, symbol, world.entries[row], interval_ms, True)


def open_tick(world: World, state: State, start: int, end: int, equity: float) -> None:
    """Rank and open the entry candidates of one moment (A.8)."""
    account = state.account[0]
    if account.n_entries >= world.risk[0].max_entry_orders_per_loop:
        return
    account.n_candidates = 0
    now_ms = world.ticks[start].known_ms
    for number in range(start, end):
        candidate = world.ticks[number]
        slot = state.slots[candidate.symbol]
        if slot.side != 0 or slot.open_order != 0:
            continue
        p = world.risk[world.symbols[candidate.symbol].risk]
        if not is_pesc_blocked(slot, candidate.side, candidate.adx, now_ms, p):
            pick(account, state.picks, number, candidate.confidence, candidate.adx)
    open_ranked(world, state, world.ticks, equity, now_ms)
