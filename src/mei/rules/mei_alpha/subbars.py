"""Sub-bars between two main steps (specification part 2, A.7 and A.8; switch bar_time)."""

from mei.rules.mei_alpha.book import drop_idle
from mei.rules.mei_alpha.decisions import evaluate_exit, open_ranked, pick
from mei.rules.mei_alpha.funding import first_after, pay_held
from mei.rules.mei_alpha.market import meet_bar
from mei.rules.mei_alpha.portfolio import is_pesc_blocked, marked_equity_usd
from mei.rules.mei_alpha.snapshot import Bars
from mei.rules.mei_alpha.world import Candidates, State, World

FOREVER_MS = 1 << 62


def next_row(bars: Bars, symbol: int, row: int, now_ms: int) -> int:
    """The symbol's first bar known after `now_ms`, searched from `row` on (-1 = from the start)."""
    end = bars.end[symbol]
    if row < 0:
        return first_after(bars.known_ms, bars.first[symbol], end, now_ms)
    while row < end and bars.known_ms[row] <= now_ms:
        row += 1
    return row


def known_or_forever_ms(bars: Bars, symbol: int, row: int) -> int:
    """When the bar is known; FOREVER_MS behind the symbol's last one."""
    return bars.known_ms[row] if row < bars.end[symbol] else FOREVER_MS


def end_of_step_ms(world: World, step: int) -> int:
    """Until when sub-bars belong to a step, inclusive."""
    if step + 1 < len(world.step_ms):
        return world.step_ms[step + 1]
    return FOREVER_MS - 1


def is_in_window(world: World, known_ms: int) -> bool:
    """The moment lies inside the window of the run."""
    return world.from_ms <= known_ms and known_ms <= world.to_ms


def walk_exit_blocks(world: World, state: State, step: int) -> None:
    """The reference's way: each open symbol's exit bars of the whole step, one symbol after another (A.7)."""
    now_ms = world.step_ms[step]
    until_ms = end_of_step_ms(world, step)
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        row = next_row(world.exits, symbol, slot.exit_row, now_ms)
        while row < world.exits.end[symbol] and world.exits.known_ms[row] <= until_ms:
            if slot.side == 0 and slot.open_order == 0:
                break
            if is_in_window(world, world.exits.known_ms[row]):
                on_exit_bar(world, state, symbol, row)
            row += 1
        slot.exit_row = row
    drop_idle(state)


def on_exit_bar(world: World, state: State, symbol: int, row: int) -> None:
    """An exit bar comes: orders, range, then the exits on its close with the indicators of the newest main bar."""
    switches = world.switches[0]
    has_fired = False
    if switches.entry_fill or switches.exit_fill:
        prior_row = state.slots[symbol].main_row
        has_fired = meet_bar(world, state, symbol, world.exits, row, prior_row)
    if not has_fired:
        evaluate_exit(world, state, symbol, world.exits.close[row], world.exits.known_ms[row])


def walk_sub_bars(
    world: World, candidates: Candidates, state: State, step: int, has_exits: bool
) -> None:
    """The sub-bars of a step in the order in which they become known; without exits: the entry ticks alone (A.8)."""
    switches = world.switches[0]
    in_time = switches.bar_time
    meets_entries = world.has_entries and (in_time or switches.entry_fill or switches.exit_fill)
    now_ms = world.step_ms[step]
    if now_ms < world.from_ms:
        now_ms = world.from_ms - 1
    until_ms = end_of_step_ms(world, step)
    if until_ms > world.to_ms:
        until_ms = world.to_ms
    tick = candidates.ticks_first[step]
    tick_end = candidates.ticks_first[step + 1]
    equity = 0.0
    if not in_time and tick < tick_end:
        equity = marked_equity_usd(world, state)
    while True:
        known_ms = next_event_ms(world, state, now_ms, has_exits and world.has_exits, meets_entries)
        if tick < tick_end and candidates.ticks[tick].known_ms < known_ms:
            known_ms = candidates.ticks[tick].known_ms
        if known_ms > until_ms:
            return
        if in_time and switches.funding and world.has_funding:
            pay_held(world, state, known_ms, False)
        if has_exits and world.has_exits:
            meet_exit_bars(world, state, known_ms)
        if meets_entries:
            meet_entry_bars(world, state, known_ms)
        last_tick = tick
        while last_tick < tick_end and candidates.ticks[last_tick].known_ms == known_ms:
            last_tick += 1
        if last_tick > tick:
            if in_time:
                equity = marked_equity_usd(world, state)
            open_tick(world, candidates, state, tick, last_tick, equity)
            tick = last_tick
        if in_time and switches.funding and world.has_funding:
            pay_held(world, state, known_ms, True)
        drop_idle(state)
        now_ms = known_ms


def next_event_ms(
    world: World, state: State, now_ms: int, has_exits: bool, has_entries: bool
) -> int:
    """When the next sub-bar of a symbol with a position or an order is known; FOREVER_MS if there is none."""
    earliest_ms = FOREVER_MS
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        if has_exits:
            slot.exit_row = next_row(world.exits, symbol, slot.exit_row, now_ms)
            known_ms = known_or_forever_ms(world.exits, symbol, slot.exit_row)
            if known_ms < earliest_ms:
                earliest_ms = known_ms
        if has_entries:
            slot.entry_row = next_row(world.entries, symbol, slot.entry_row, now_ms)
            known_ms = known_or_forever_ms(world.entries, symbol, slot.entry_row)
            if known_ms < earliest_ms:
                earliest_ms = known_ms
    return earliest_ms


def meet_exit_bars(world: World, state: State, known_ms: int) -> None:
    """Exit bars that become known now, symbols ascending."""
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        row = state.slots[symbol].exit_row
        if known_or_forever_ms(world.exits, symbol, row) == known_ms:
            on_exit_bar(world, state, symbol, row)


def meet_entry_bars(world: World, state: State, known_ms: int) -> None:
    """Entry bars that become known now, symbols ascending: orders and resting orders meet them, nothing is decided."""
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        row = slot.entry_row
        is_held = slot.side != 0 or slot.open_order != 0
        if is_held and known_or_forever_ms(world.entries, symbol, row) == known_ms:
            meet_bar(world, state, symbol, world.entries, row, slot.main_row)


def open_tick(
    world: World, candidates: Candidates, state: State, start: int, end: int, equity_usd: float
) -> None:
    """Rank and open the entry candidates of one moment (A.8)."""
    account = state.account[0]
    if account.n_entries >= world.risk[0].max_entry_orders_per_loop:
        return
    account.n_candidates = 0
    now_ms = candidates.ticks[start].known_ms
    for number in range(start, end):
        candidate = candidates.ticks[number]
        slot = state.slots[candidate.symbol]
        if slot.side != 0 or slot.open_order != 0:
            continue
        p = world.risk[world.risk_of[candidate.symbol]]
        if not is_pesc_blocked(slot, candidate.side, candidate.adx, now_ms, p):
            pick(state, number, candidate.confidence, candidate.adx)
    open_ranked(world, candidates.ticks, state, equity_usd, now_ms, True)
