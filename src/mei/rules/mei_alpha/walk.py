"""The portfolio walk: what happens at each step of the timeline, in order (specification part 2, A.3 to A.12)."""

from mei.rules.mei_alpha.book import drop_idle, leave_position
from mei.rules.mei_alpha.codes import END_OF_BACKTEST
from mei.rules.mei_alpha.decisions import evaluate_exit, on_candidate, open_ranked
from mei.rules.mei_alpha.funding import pay_after_step, pay_held
from mei.rules.mei_alpha.market import meet_bar
from mei.rules.mei_alpha.portfolio import marked_equity_usd
from mei.rules.mei_alpha.subbars import walk_exit_blocks, walk_sub_bars
from mei.rules.mei_alpha.world import Candidates, State, World


def walk(world: World, candidates: Candidates, state: State, start: int, end: int) -> None:
    """Steps `start` to `end - 1`. Steps without a candidate, a position or an order only carry the balance on."""
    for step in range(start, end):
        is_idle = (
            state.account[0].n_active == 0
            and candidates.main_first[step] == candidates.main_first[step + 1]
            and candidates.ticks_first[step] == candidates.ticks_first[step + 1]
        )
        if is_idle:
            state.equity[step] = state.account[0].balance_usd
        else:
            walk_step(world, candidates, state, step)


def walk_step(world: World, candidates: Candidates, state: State, step: int) -> None:
    """One step: main bars, entries, sub-bars, funding, equity; in the order in which they become known (bar_time)."""
    switches = world.switches[0]
    account = state.account[0]
    now_ms = world.step_ms[step]
    account.n_entries = 0
    if switches.funding and switches.bar_time and world.has_funding:
        pay_held(world, state, now_ms, False)
    walk_main_bars(world, candidates, state, step)
    if switches.bar_time:
        if switches.funding and world.has_funding:
            pay_held(world, state, now_ms, True)
        state.equity[step] = equity_point_usd(world, state)
        walk_sub_bars(world, candidates, state, step, True)
        return
    if world.has_exits:
        walk_exit_blocks(world, state, step)
    if world.has_entries:
        walk_sub_bars(world, candidates, state, step, False)
    if world.has_funding:
        if switches.funding:
            pay_held(world, state, now_ms, True)
        else:
            pay_after_step(world, state, step)
    state.equity[step] = equity_point_usd(world, state)


def equity_point_usd(world: World, state: State) -> float:
    """A point of the curve: the balance, with unrealised profit when marked (switch equity)."""
    if world.switches[0].equity:
        return marked_equity_usd(world, state)
    return state.account[0].balance_usd


def walk_main_bars(world: World, candidates: Candidates, state: State, step: int) -> None:
    """Every symbol with a position, an order or a candidate, ascending; then the candidates are ranked and opened."""
    account = state.account[0]
    account.n_candidates = 0
    n_active = account.n_active
    for i in range(n_active):
        state.visited[i] = state.active[i]
    number = 0
    candidate = candidates.main_first[step]
    end = candidates.main_first[step + 1]
    while number < n_active or candidate < end:
        symbol = -1
        if number < n_active:
            symbol = state.visited[number]
        has_candidate = candidate < end and (
            symbol < 0 or candidates.main[candidate].symbol <= symbol
        )
        if has_candidate:
            is_listed = candidates.main[candidate].symbol == symbol
            symbol = candidates.main[candidate].symbol
            if is_listed:
                number += 1
        else:
            number += 1
        if advance(world, state, symbol, step):
            on_main_bar(world, state, symbol)
        if has_candidate:
            state.slots[symbol].main_row = candidates.main[candidate].base_row
            on_candidate(world, candidates, state, candidate)
            candidate += 1
    if account.n_candidates > 0:
        equity = marked_equity_usd(world, state)
        open_ranked(world, candidates.main, state, equity, world.step_ms[step], False)
    drop_idle(state)


def advance(world: World, state: State, symbol: int, step: int) -> bool:
    """Move a listed symbol to its bar of this step; whether there is one inside the window."""
    slot = state.slots[symbol]
    if slot.side == 0 and slot.open_order == 0:
        return False
    row = slot.main_row + 1
    if row >= world.main.end[symbol] or world.step_of_row[row] != step:
        return False
    slot.main_row = row
    known_ms = world.main.known_ms[row]
    return world.from_ms <= known_ms and known_ms <= world.to_ms


def on_main_bar(world: World, state: State, symbol: int) -> None:
    """A main bar comes to a symbol with a position or an order: orders, range, exits on its close."""
    slot = state.slots[symbol]
    row = slot.main_row
    switches = world.switches[0]
    has_fired = False
    if switches.entry_fill or switches.exit_fill:
        slot.main_row = row - 1
        has_fired = meet_bar(world, state, symbol, world.main, row, row - 1)
        slot.main_row = row
    if not has_fired:
        evaluate_exit(world, state, symbol, world.main.close[row], world.main.known_ms[row])


def finish(world: World, state: State, last_step: int) -> None:
    """Close what is open at the end of the run (A.12), symbols ascending; orders not filled are dropped.

    The reference closes at the last bar of the whole data set, run_end = window at the last one seen.
    """
    for i in range(state.account[0].n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        slot.open_order = 0
        if slot.side == 0:
            continue
        row = world.main.end[symbol] - 1
        if world.switches[0].run_end:
            row = slot.main_row
            if row < world.main.first[symbol]:
                continue
        px = world.main.close[row] if row >= world.main.first[symbol] else 0.0
        leave_position(
            world, state, symbol, px, 1.0, END_OF_BACKTEST, 0.0, 0.0, world.step_ms[last_step]
        )
    drop_idle(state)
