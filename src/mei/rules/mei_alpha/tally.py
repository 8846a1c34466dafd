"""What a run amounts to, added up where it ran (specification part 2, F.1 to F.3): the scalars of a sweep's row.

The sums run in the order of the log and of the curve, as `mei.metrics.replay` runs them, so a row of a sweep is the
report of a replay, bit for bit.
"""

from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from mei.model.bars import DAY_MS, IntArray
from mei.model.replay import CLOSE_LONG, REDUCE_SHORT
from mei.rules.mei_alpha.portfolio import drop_idle
from mei.rules.mei_alpha.walk import finish, walk
from mei.rules.mei_alpha.world import State, World

_TINY = 1e-12
_ALMOST = 0.999999
_DAYS_A_YEAR = 365.0

#: The numbers of one run; money in USD. n_records: trade records, more than the log holds = the run must be repeated.
TALLY_DTYPE = np.dtype(
    [
        ("final_balance", "<f8"),
        ("trades", "<i8"),
        ("wins", "<i8"),
        ("losses", "<i8"),
        ("pnl", "<f8"),
        ("gross_profit", "<f8"),
        ("gross_loss", "<f8"),
        ("fees", "<f8"),
        ("sharpe", "<f8"),
        ("drawdown", "<f8"),
        ("drawdown_frac", "<f8"),
        ("n_records", "<i8"),
        ("blocked_by_confidence", "<i8"),
        ("blocked_by_pesc", "<i8"),
        ("blocked_by_ssf", "<i8"),
        ("blocked_by_reef", "<i8"),
        ("blocked_by_max_positions", "<i8"),
        ("blocked_by_margin", "<i8"),
    ]
)

#: Closes that have something in common.
GROUP_DTYPE = np.dtype([("trades", "<i8"), ("wins", "<i8"), ("pnl", "<f8")])


class Grouping(NamedTuple):
    """Which group a close belongs to: category_of and code_of by reason; where each kind of group starts in a row."""

    category_of: IntArray
    code_of: IntArray
    first_category: int
    first_code: int
    first_symbol: int
    first_side: int


def walk_configs(
    world: World,
    risks: Any,
    start: int,
    end: int,
    balance_usd: float,
    first_walked: int,
    state: State,
    grouping: Grouping,
    tallies: Any,
    groups: Any,
) -> None:
    """Run configurations `start` to `end - 1` one after another over the same candidates.

    risks: RISK_DTYPE, (n_configs, n_records): the portfolio's record and those of symbols with their own. tallies:
    TALLY_DTYPE, (n_configs,); groups: GROUP_DTYPE, (n_configs, n_groups). state: scratch of this thread.
    """
    n_steps = world.run[0].n_steps
    has_steps = first_walked < n_steps or not world.run[0].run_end
    for number in range(start, end):
        own = World(
            world.main,
            world.exits,
            world.entries,
            world.indicators,
            world.symbols,
            risks[number],
            world.steps,
            world.candidates,
            world.ticks,
            world.funding,
            world.run,
        )
        clear_state(own, state, balance_usd)
        if has_steps:
            walk(own, state, 0, n_steps)
        tally = tallies[number]
        tally_curve(own, state, first_walked, n_steps, tally)
        if has_steps and n_steps > 0:
            finish(own, state, n_steps - 1)
        if own.run[0].run_end and first_walked < n_steps:
            tally_last_point(state, tally)
        tally.sharpe = sharpe(own, state, first_walked, n_steps)
        tally_trades(state, grouping, tally, groups[number])


def clear_state(world: World, state: State, balance_usd: float) -> None:
    """The state before the first step of a run that starts with nothing but money."""
    account = state.account[0]
    account.balance_usd = balance_usd
    account.other_equity_usd = 0.0
    account.n_active = 0
    account.n_candidates = 0
    account.n_entries = 0
    account.n_trades = 0
    account.n_positions = 0
    account.blocked_by_confidence = 0
    account.blocked_by_pesc = 0
    account.blocked_by_ssf = 0
    account.blocked_by_reef = 0
    account.blocked_by_max_positions = 0
    account.blocked_by_margin = 0
    for symbol in range(len(world.symbols)):
        slot = state.slots[symbol]
        slot.side = 0
        slot.has_trailing = 0
        slot.has_stop = 0
        slot.exit_order = 0
        slot.add_order = 0
        slot.open_order = 0
        slot.has_entered = 0
        slot.has_left = 0
        slot.main_row = world.symbols[symbol].first - 1
        slot.exit_row = -1
        slot.entry_row = -1
    drop_idle(account, state.active, state.slots)


def tally_curve(world: World, state: State, first: int, end: int, tally: Any) -> None:
    """Largest falls from a peak, in money and as a fraction: two maxima on their own."""
    start = first if world.run[0].run_end else 0
    peak = 0.0
    deepest = 0.0
    deepest_frac = 0.0
    for step in range(start, end):
        equity = state.equity[step]
        if step == start or equity > peak:
            peak = equity
        fall = peak - equity
        if fall > deepest:
            deepest = fall
        # A division only where it can find something.
        if fall > deepest_frac * peak * _ALMOST and peak > _TINY and fall / peak > deepest_frac:
            deepest_frac = fall / peak
    tally.drawdown = deepest
    tally.drawdown_frac = deepest_frac
    # The peak waits here for the point after the end of the run.
    tally.gross_profit = peak


def tally_last_point(state: State, tally: Any) -> None:
    """The point after the end-of-run closes."""
    equity = state.account[0].balance_usd
    peak = tally.gross_profit
    if equity > peak:
        peak = equity
    fall = peak - equity
    if fall > tally.drawdown:
        tally.drawdown = fall
    if peak > _TINY and fall / peak > tally.drawdown_frac:
        tally.drawdown_frac = fall / peak


def last_equity(world: World, state: State, step: int, end: int) -> float:
    """The newest point at a step: after the last one, that of the end-of-run closes (run_end = window)."""
    if step == end - 1 and world.run[0].run_end:
        return state.account[0].balance_usd
    return state.equity[step]


def next_day_end(world: World, step: int, end: int) -> int:
    """The last step of the UTC day that `step` lies in."""
    next_day_ms = (world.steps[step].known_ms // DAY_MS + 1) * DAY_MS
    while step + 1 < end and world.steps[step + 1].known_ms < next_day_ms:
        step += 1
    return step


def sharpe(world: World, state: State, first: int, end: int) -> float:
    """Mean over standard deviation of the returns of UTC days, annualised with 365; 0 when there are too few."""
    start = first if world.run[0].run_end else 0
    n_returns = 0
    total = 0.0
    mean = 0.0
    squares = 0.0
    for is_second_pass in range(2):
        step = start
        before = 0.0
        n_days = 0
        while step < end:
            step = next_day_end(world, step, end)
            now = last_equity(world, state, step, end)
            if n_days > 0:
                gain = (now - before) / before if abs(before) > _TINY else 0.0
                if is_second_pass:
                    squares += (gain - mean) * (gain - mean)
                else:
                    total += gain
                    n_returns += 1
            before = now
            n_days += 1
            step += 1
        if n_returns == 0:
            return 0.0
        mean = total / n_returns
    deviation = sqrt(squares / n_returns)
    if deviation < _TINY:
        return 0.0
    return (mean / deviation) * sqrt(_DAYS_A_YEAR)


def count(group: Any, pnl_usd: float) -> None:
    """Count one close."""
    group.trades += 1
    if pnl_usd > 0.0:
        group.wins += 1
    group.pnl += pnl_usd


def tally_trades(state: State, grouping: Grouping, tally: Any, groups: Any) -> None:
    """Closes by tier, category, code, symbol and side, and fees of all records, in log order."""
    account = state.account[0]
    tally.final_balance = account.balance_usd
    tally.n_records = account.n_trades
    tally.blocked_by_confidence = account.blocked_by_confidence
    tally.blocked_by_pesc = account.blocked_by_pesc
    tally.blocked_by_ssf = account.blocked_by_ssf
    tally.blocked_by_reef = account.blocked_by_reef
    tally.blocked_by_max_positions = account.blocked_by_max_positions
    tally.blocked_by_margin = account.blocked_by_margin
    tally.trades, tally.wins, tally.losses = 0, 0, 0
    tally.pnl, tally.gross_profit, tally.gross_loss = 0.0, 0.0, 0.0
    fees = -0.0
    for i in range(len(groups)):
        groups[i].trades = 0
        groups[i].wins = 0
        groups[i].pnl = 0.0
    n_records = account.n_trades if account.n_trades < len(state.log) else len(state.log)
    for i in range(n_records):
        record = state.log[i]
        fees += record.fee_usd
        if record.action < CLOSE_LONG or record.action > REDUCE_SHORT:
            continue
        pnl = record.pnl_usd
        tally.trades += 1
        tally.pnl += pnl
        if pnl > 0.0:
            tally.wins += 1
            tally.gross_profit += pnl
        elif pnl < 0.0:
            tally.losses += 1
            tally.gross_loss += pnl
        count(groups[record.confidence], pnl)
        count(groups[grouping.first_category + grouping.category_of[record.reason]], pnl)
        count(groups[grouping.first_code + grouping.code_of[record.reason]], pnl)
        count(groups[grouping.first_symbol + record.symbol], pnl)
        count(groups[grouping.first_side + record.action % 2], pnl)
    tally.fees = fees
