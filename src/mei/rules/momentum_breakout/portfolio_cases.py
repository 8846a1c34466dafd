"""Configurations over several symbols: `portfolio.walk` for one after another, each added up where it ran."""

from mei.model.bars import FloatArray, IntArray
from mei.rules.momentum_breakout.portfolio import walk
from mei.rules.momentum_breakout.records import Bars, RecordArray
from mei.rules.momentum_breakout.signals import SideArray
from mei.rules.momentum_breakout.tally import (
    clear,
    note_days_of,
    note_point,
    note_trades,
    sharpe,
)


def walk_portfolios(
    bars: Bars,
    sides: SideArray,
    candidates: IntArray,
    first_step: int,
    terms: RecordArray,
    start_books: RecordArray,
    start_account: RecordArray,
    books: RecordArray,
    account: RecordArray,
    trades: RecordArray,
    curve: FloatArray,
    days: RecordArray,
    tallies: RecordArray,
    groups: RecordArray,
) -> int:
    """Run configurations over the same signals; the most trades one had: if `trades` cannot hold so many, repeat.

    terms: TERMS_DTYPE, tallies: TALLY_DTYPE, (n_configs,); groups: GROUP_DTYPE, (n_configs, n_groups). books, account,
    trades, curve (a value each step from first_step on) and days (DAY_DTYPE) are scratch.
    """
    most = 0
    for number in range(len(terms)):
        for symbol in range(len(books)):
            books[symbol] = start_books[symbol]
        account[0] = start_account[0]
        walk(
            bars,
            sides,
            candidates,
            first_step,
            terms[number : number + 1],
            books,
            account,
            trades,
            curve,
        )
        tally = tallies[number]
        clear(tally, groups[number])
        for step in range(len(curve)):
            note_point(tally, curve[step])
        tally.final_balance = curve[len(curve) - 1] if len(curve) > 0 else account[0].cash_usd
        note_days_of(curve, first_step, days)
        tally.sharpe = sharpe(days)
        n_trades = account[0].n_trades
        if n_trades > most:
            most = n_trades
        note_trades(
            trades, n_trades if n_trades < len(trades) else len(trades), tally, groups[number]
        )
    return most
