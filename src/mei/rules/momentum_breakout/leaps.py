"""The walk over one symbol that leaps: from a signal to the exit of its position, from there to the next signal.

Prices, costs and sizes are those of `portfolio.walk`, by the same functions in the same order; what is left out are
bars on which nothing is decided. Of those the curve's extremes and its point at the end of each day are found without
a look at every bar.
"""

from typing import NamedTuple

import numpy as np

from mei.model.bars import IntArray
from mei.rules.accounting import order_qty, pnl_usd
from mei.rules.costs import fee_usd, fill_px
from mei.rules.momentum_breakout.ranges import Ranges, extremes_in
from mei.rules.momentum_breakout.records import Record, RecordArray
from mei.rules.momentum_breakout.routes import (
    UNKNOWN,
    Exits,
    Found,
    Track,
    bar_of,
    fill_row,
    find_exits,
    next_signal_of,
    reason_of,
)
from mei.rules.momentum_breakout.sizing import entry_notional_usd, equity_at_px
from mei.rules.momentum_breakout.tally import (
    clear,
    note_close,
    note_point,
    note_stretch,
    note_symbol,
    sharpe,
)

#: One configuration: rows of the tables of exits, and where its numbers go.
CASE_DTYPE = np.dtype([("stop", "<i8"), ("target", "<i8"), ("plan", "<i8"), ("row", "<i8")])


class Run(NamedTuple):
    """One symbol's bars, which may trade from number `first_bar` on.

    closes: ranges of all bars. days: `tally.DAY_DTYPE`, of the bars that may trade, scratch of one thread. cash_usd: at
    the start.
    """

    track: Track
    closes: Ranges
    days: RecordArray
    first_bar: int
    cash_usd: float


def walk_cases(
    run: Run,
    found: Found,
    exits: Exits,
    cases: RecordArray,
    terms: RecordArray,
    tallies: RecordArray,
    groups: RecordArray,
) -> None:
    """Run configurations one after another over the same signals.

    cases, terms: CASE_DTYPE and TERMS_DTYPE, (n_cases,). tallies: TALLY_DTYPE, (n_rows,); groups: GROUP_DTYPE,
    (n_rows, n_groups). Of `exits` the settings are given; the rest is filled here.
    """
    for row in range(len(exits.settings)):
        fill_row(found, run.track, exits, row)
    for number in range(len(cases)):
        row = cases[number].row
        clear(tallies[row], groups[row])
        walk_case(run, found, exits, cases[number], terms[number], tallies[row], groups[row])
        note_symbol(tallies[row], groups[row])


def walk_case(
    run: Run,
    found: Found,
    exits: Exits,
    case: Record,
    terms: Record,
    tally: Record,
    groups: RecordArray,
) -> None:
    """One configuration from the first signal to the last bar."""
    days = run.days
    n_bars = len(run.track.prices)
    delay = 0 if terms.fills_at_close != 0 else 1
    cash_usd, qty, entry_px = run.cash_usd, 0.0, 0.0
    fees = -0.0
    day, direction, number = 0, 0, 0
    if len(found.signals) > 0 and found.signals[0].bar + delay > run.first_bar:
        note_point(tally, cash_usd + 0.0)
    while number < len(found.signals) and cash_usd + 0.0 > 0.0:
        signal = found.signals[number]
        if exits.keys[case.stop, number] == UNKNOWN:
            find_exits(found, number, number + 1, run.track, exits, case.stop)
        if exits.keys[case.target, number] == UNKNOWN:
            find_exits(found, number, number + 1, run.track, exits, case.target)
        if exits.keys[case.plan, number] == UNKNOWN:
            find_exits(found, number, number + 1, run.track, exits, case.plan)
        row = earliest(exits.keys, number, case.stop, case.target, case.plan)
        leaving = exits.leavings[row, number]
        key = exits.keys[row, number]
        opened_at, left_at = signal.bar + delay, bar_of(key)
        equity_usd = cash_usd + 0.0
        day = note_days(days, day, opened_at, equity_usd, 0, 0.0, 0.0)
        direction = signal.side
        notional_usd = entry_notional_usd(terms.notional_usd, terms.allocation_frac, equity_usd)
        entry_px = fill_px(signal.entry_ref_px, direction, terms.slippage_bps)
        qty = order_qty(notional_usd, signal.entry_ref_px)
        fee = fee_usd(qty, entry_px, terms.fee_bps)
        cash_usd -= fee
        fees += fee
        if left_at > opened_at:
            if leaving.low_px > leaving.high_px:
                low_px, high_px = extremes_in(run.closes, opened_at, left_at - 1)
                leaving.low_px, leaving.high_px = low_px, high_px
            if not note_held(tally, leaving, cash_usd, direction, qty, entry_px):
                for bar in range(opened_at, left_at):
                    close_px = run.track.prices[bar].close
                    note_point(tally, equity_at_px(cash_usd, direction, qty, entry_px, close_px))
        day = note_days(days, day, left_at, cash_usd, direction, qty, entry_px)
        if left_at == n_bars:
            break
        leaving_px = fill_px(leaving.ref_px, -direction, terms.slippage_bps)
        fee = fee_usd(qty, leaving_px, terms.fee_bps)
        pnl = pnl_usd(direction, qty, entry_px, leaving_px)
        cash_usd += pnl
        cash_usd -= fee
        fees += fee
        note_close(tally, groups, reason_of(key, terms.fills_at_close), direction, pnl)
        note_point(tally, cash_usd + 0.0)
        direction = 0
        number = next_signal_of(key)
    if direction == 0:
        note_point(tally, cash_usd + 0.0)
    day = note_days(days, day, n_bars, cash_usd, direction, qty, entry_px)
    last_px = run.track.prices[n_bars - 1].close
    tally.final_balance = equity_at_px(cash_usd, direction, qty, entry_px, last_px)
    tally.fees = fees
    tally.sharpe = sharpe(days)


def earliest(keys: IntArray, number: int, stop: int, target: int, plan: int) -> int:
    """The row of the three whose exit of signal `number` comes first; the plan's where there is none."""
    row = plan
    if keys[target, number] < keys[row, number]:
        row = target
    if keys[stop, number] < keys[row, number]:
        row = stop
    return row


def note_days(
    days: RecordArray,
    day: int,
    before: int,
    cash_usd: float,
    direction: int,
    qty: float,
    entry_px: float,
) -> int:
    """Write the points of days that end before bar `before`, from `day` on; the day after the last one written."""
    while day < len(days) and days[day].end < before:
        days[day].equity = equity_at_px(cash_usd, direction, qty, entry_px, days[day].close)
        day += 1
    return day


def note_held(
    tally: Record, leaving: Record, cash_usd: float, direction: int, qty: float, entry_px: float
) -> bool:
    """The points of the curve while a position is held, by their extremes; False if it takes a look at each of them."""
    best_px = leaving.high_px if direction > 0 else leaving.low_px
    worst_px = leaving.low_px if direction > 0 else leaving.high_px
    best_usd = equity_at_px(cash_usd, direction, qty, entry_px, best_px)
    worst_usd = equity_at_px(cash_usd, direction, qty, entry_px, worst_px)
    return note_stretch(tally, best_usd, worst_usd)
