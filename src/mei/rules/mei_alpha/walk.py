"""The portfolio walk: what happens at each step of the timeline, in order (specification part 2, A.3 to A.12)."""

from mei.rules.mei_alpha.book import leave_position
from mei.rules.mei_alpha.codes import END_OF_BACKTEST
from mei.rules.mei_alpha.decisions import evaluate_exit, on_candidate, open_ranked
from mei.rules.mei_alpha.exits import Exit
from mei.rules.mei_alpha.funding import pay_after_step, pay_held
from mei.rules.mei_alpha.market import meet_bar
from mei.rules.mei_alpha.portfolio import drop_idle
from mei.rules.mei_alpha.subbars import equity_usd, walk_exit_blocks, walk_sub_bars
from mei.rules.mei_alpha.world import VISITED, State, World


def walk(world: World, state: State, start: int, end: int) -> None:
    """Steps `start` to `end - 1`. Steps without a candidate, a position or an order only carry the balance on."""
    account = state.account[0]
    for step in range(start, end):
        now, after = world.steps[step], world.steps[step + 1]
        if (
            account.n_active == 0
            and now.first_candidate == after.first_candidate
            and now.first_tick == after.first_tick
        ):
            state.equity[step] = account.balance_usd
            account.n_entries = 0
        else:
            walk_step(world, state, step)


def walk_step(world: World, state: State, step: int) -> None:
    """One step: main bars, entries, sub-bars, funding, equity; in the order in which they become known (bar_time)."""
    run = world.run[0]
    now_ms = world.steps[step].known_ms
    if now_ms > run.resumed_ms:
        state.account[0].n_entries = 0
    if run.bar_time:
        if run.funding and run.has_funding:
            pay_held(world, state, now_ms - 1, now_ms)
        walk_main_bars(world, state, step)
        if run.has_funding:
            pay_step(world, state, step, now_ms)
        state.equity[step] = equity_point_usd(world, state)
        if run.has_exits or run.has_entries:
            walk_sub_bars(world, state, step)
        return
    walk_main_bars(world, state, step)
    if run.has_exits:
        walk_exit_blocks(world, state, step)
    if run.has_entries:
        walk_sub_bars(world, state, step)
    if run.has_funding:
        pay_step(world, state, step, now_ms)
    state.equity[step] = equity_point_usd(world, state)


def pay_step(world: World, state: State, step: int, now_ms: int) -> None:
    """Funding at the end of a step (switch funding)."""
    if world.run[0].funding:
        pay_held(world, state, now_ms, now_ms)
    elif now_ms > world.run[0].resumed_ms:
        pay_after_step(world, state, step)


def equity_point_usd(world: World, state: State) -> float:
    """A point of the curve: the balance, with unrealised profit when marked (switch equity)."""
    if world.run[0].equity:
        return equity_usd(world, state)
    return state.account[0].balance_usd


def walk_main_bars(world: World, state: State, step: int) -> None:
    """Every symbol with a position, an order or a candidate, ascending; then the candidates are ranked and opened."""
    account = state.account[0]
    account.n_candidates = 0
    n_active = account.n_active
    for i in range(n_active):
        state.picks[VISITED, i] = state.active[i]
    number = 0
    candidate = world.steps[step].first_candidate
    end = world.steps[step + 1].first_candidate
    while number < n_active or candidate < end:
        symbol = world.run[0].n_symbols
        if number < n_active:
            symbol = state.picks[VISITED, number]
        has_candidate = candidate < end and world.candidates[candidate].symbol <= symbol
        if has_candidate and world.candidates[candidate].symbol < symbol:
            symbol = world.candidates[candidate].symbol
        else:
            number += 1
        if advance(world, state, symbol, step):
            on_main_bar(world, state, symbol)
        if has_candidate:
            state.slots[symbol].main_row = world.candidates[candidate].base_row
            on_candidate(world, state, candidate)
            candidate += 1
    if account.n_candidates > 0:
        equity = equity_usd(world, state)
        now_ms = world.steps[step].known_ms
        open_ranked(world, state, world.candidates, equity, now_ms)
    drop_idle(account, state.active, state.slots)


def advance(world: World, state: State, symbol: int, step: int) -> bool:
    """Move a listed symbol to its bar of this step; whether there is one inside the window."""
    slot = state.slots[symbol]
    if slot.side == 0 and slot.open_order == 0:
        return False
    row = slot.main_row + 1
    if row >= world.symbols[symbol].end or world.main[row].step != step:
        return False
    slot.main_row = row
    run = world.run[0]
    known_ms = world.main[row].known_ms
    return run.from_ms <= known_ms and known_ms <= run.to_ms and known_ms > run.resumed_ms


def on_main_bar(world: World, state: State, symbol: int) -> None:
    """A main bar comes to a symbol with a position or an order: orders, range, exits on its close."""
    run = world.run[0]
    slot = state.slots[symbol]
    row = slot.main_row
    bar = world.main[row]
    has_fired = False
    if run.entry_fill or run.exit_fill or run.excursions:
        slot.main_row = row - 1
        has_fired = meet_bar(world, state, symbol, bar, run.main_interval_ms, False)
        slot.main_row = row
    if not has_fired:
        evaluate_exit(world, state, symbol, bar.close, bar.known_ms)


def finish(world: World, state: State, last_step: int) -> None:
    """Close what is open at the end of the run (A.12), symbols ascending; orders not filled are dropped.

    The reference closes at the last bar of the whole data set, run_end = window at the last one seen.
    """
    run = world.run[0]
    account = state.account[0]
    now_ms = world.steps[last_step].known_ms
    for i in range(account.n_active):
        symbol = state.active[i]
        slot = state.slots[symbol]
        whose = world.symbols[symbol]
        slot.open_order = 0
        row = slot.main_row if run.run_end else whose.end - 1
        if slot.side == 0 or (run.run_end and row < whose.first):
            continue
        px = world.main[row].close if row >= whose.first else 0.0
        leaving = Exit(END_OF_BACKTEST, 1.0, 0.0, 0.0)
        p = world.risk[whose.risk]
        leave_position(run, p, account, slot, state.log, symbol, px, leaving, now_ms)
    drop_idle(account, state.active, state.slots)
