"""What one thread of a card does in a sweep of momentum_breakout: the rules of the CPU on arrays with an axis more.

Of one symbol: an exit of a signal (`find_exit`), then, when all are there, a configuration that leaps over them
(`leap`). Of several: a configuration step by step (`walk_portfolio`). What configurations have in common lies side by
side: groups are configurations with the same signals, walks are configurations of a batch.
"""

from typing import NamedTuple

import numpy as np

from mei.model.bars import IntArray
from mei.rules.momentum_breakout.leaps import Run, walk_case
from mei.rules.momentum_breakout.portfolio import walk_step
from mei.rules.momentum_breakout.ranges import Ranges, extremes_in
from mei.rules.momentum_breakout.records import Bars, RecordArray
from mei.rules.momentum_breakout.routes import UNKNOWN, Exits, Found, Track, bar_of, find_exits
from mei.rules.momentum_breakout.signals import SideArray
from mei.rules.momentum_breakout.tally import (
    clear,
    note_point,
    note_symbol,
    note_trades,
    sharpe,
)

#: Where a group's own part lies: signals (or steps with a signal) number first to end - 1; its rows of exits.
PLACE_DTYPE = np.dtype([("first", "<i8"), ("end", "<i8"), ("n_rows", "<i8")])
#: The equity at the end of a day, of one walk.
POINT_DTYPE = np.dtype([("equity", "<f8")])
#: Actions a book can take on one bar: its order fills, and the position so opened is stopped. What leaves a position
#: at the close, or opens one there, is alone on its bar.
MOST_ACTIONS = 2


class Leaps(NamedTuple):
    """Groups over the bars of one symbol.

    track, closes, first_bar, cash_usd: as of `leaps.Run`. day_ends: DAY_DTYPE, (n_days,). signals: SIGNAL_DTYPE, group
    after group; group_of: the group of each. first_from: (n_groups, n_blocks), as of `Found`. settings: SETTING_DTYPE,
    (n_groups, n_rows). places: PLACE_DTYPE, (n_groups,). keys, leavings: as of `Exits`, (n_rows, n_signals).
    """

    track: Track
    closes: Ranges
    day_ends: RecordArray
    first_bar: int
    cash_usd: float
    signals: RecordArray
    group_of: IntArray
    first_from: IntArray
    settings: RecordArray
    places: RecordArray
    keys: IntArray
    leavings: RecordArray


class Portfolios(NamedTuple):
    """Groups over the bars of several symbols.

    sides: (n_groups, n_rows). candidates: steps with a signal, group after group. places: PLACE_DTYPE, (n_groups,).
    start_books, start_account, day_ends: as of `portfolio_cases.walk_portfolios`.
    """

    bars: Bars
    sides: SideArray
    candidates: IntArray
    places: RecordArray
    first_step: int
    start_books: RecordArray
    start_account: RecordArray
    day_ends: RecordArray


class Accounts(NamedTuple):
    """What walks change: BOOK_DTYPE (n_walks, n_symbols), ACCOUNT_DTYPE (n_walks,), the trades of one step
    (n_walks, MOST_ACTIONS * n_symbols), POINT_DTYPE (n_walks, n_days)."""

    books: RecordArray
    account: RecordArray
    trades: RecordArray
    days: RecordArray


def find_exit(number: int, leaps: Leaps) -> None:
    """Fill cell `number` of the tables of exits, row after row, with all that a walk asks of it.

    Walks run side by side, so none may be the first to look up what others read: only a row that a single walk reads
    (`is_whole` 0) is left to that walk, which looks at far fewer cells than there are.
    """
    row, column = number // len(leaps.signals), number % len(leaps.signals)
    group = leaps.group_of[column]
    place = leaps.places[group]
    if row >= place.n_rows:
        return
    found = Found(leaps.signals[place.first : place.end], leaps.first_from[group])
    exits = Exits(
        leaps.settings[group],
        leaps.keys[:, place.first : place.end],
        leaps.leavings[:, place.first : place.end],
    )
    own = column - place.first
    if exits.settings[row].is_whole == 0:
        exits.keys[row, own] = UNKNOWN
        return
    find_exits(found, own, own + 1, leaps.track, exits, row)
    leaving = exits.leavings[row, own]
    opened_at = found.signals[own].bar + (0 if leaps.track.fills_at_close != 0 else 1)
    left_at = bar_of(exits.keys[row, own])
    if left_at > opened_at and leaving.low_px > leaving.high_px:
        leaving.low_px, leaving.high_px = extremes_in(leaps.closes, opened_at, left_at - 1)


def leap(
    number: int,
    leaps: Leaps,
    group_of: IntArray,
    cases: RecordArray,
    terms: RecordArray,
    days: RecordArray,
    tallies: RecordArray,
    groups: RecordArray,
) -> None:
    """Walk `number` of a batch, over exits that are all there.

    group_of, cases, terms: of each walk. days: DAY_DTYPE, (n_walks, n_days), scratch. tallies, groups: as of
    `leaps.walk_cases`.
    """
    own = days[number]
    for day in range(len(leaps.day_ends)):
        own[day].end = leaps.day_ends[day].end
        own[day].close = leaps.day_ends[day].close
        own[day].equity = 0.0
    place = leaps.places[group_of[number]]
    found = Found(leaps.signals[place.first : place.end], leaps.first_from[group_of[number]])
    exits = Exits(
        leaps.settings[group_of[number]],
        leaps.keys[:, place.first : place.end],
        leaps.leavings[:, place.first : place.end],
    )
    run = Run(leaps.track, leaps.closes, own, leaps.first_bar, leaps.cash_usd)
    clear(tallies[number], groups[number])
    walk_case(run, found, exits, cases[number], terms[number], tallies[number], groups[number])
    note_symbol(tallies[number], groups[number])


def walk_portfolio(
    number: int,
    market: Portfolios,
    group_of: IntArray,
    terms: RecordArray,
    accounts: Accounts,
    tallies: RecordArray,
    groups: RecordArray,
) -> None:
    """Walk `number` of a batch: `portfolio.walk`, added up as it goes, so that neither curve nor log is kept.

    group_of, terms: of each walk. The sums run in the order of the curve and of the log, each on its own, as they do
    where those are kept.
    """
    place = market.places[group_of[number]]
    sides = market.sides[group_of[number]]
    candidates = market.candidates[place.first : place.end]
    books, trades, days = accounts.books[number], accounts.trades[number], accounts.days[number]
    for symbol in range(len(books)):
        books[symbol] = market.start_books[symbol]
    accounts.account[number] = market.start_account[0]
    account, tally = accounts.account[number], tallies[number]
    clear(tally, groups[number])
    n_steps = len(market.bars.known_ms)
    step, day, next_candidate = market.first_step, 0, 0
    while step < n_steps:
        end = step
        if account.n_busy == 0:
            while next_candidate < len(candidates) and candidates[next_candidate] < step:
                next_candidate += 1
            end = n_steps
            if next_candidate < len(candidates):
                end = candidates[next_candidate]
        if end > step:
            # The curve is flat until then: a point that repeats the last one changes no sum.
            account.equity_usd = account.cash_usd + 0.0
        else:
            end = step + 1
            account.n_trades = 0
            walk_step(step, market.bars, sides, terms[number], books, account, trades)
            note_trades(trades, account.n_trades, tally, groups[number])
        note_point(tally, account.equity_usd)
        while day < len(days) and market.day_ends[day].end < end:
            days[day].equity = account.equity_usd
            day += 1
        step = end
    tally.final_balance = account.equity_usd if market.first_step < n_steps else account.cash_usd
    tally.sharpe = sharpe(days)
