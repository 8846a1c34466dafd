"""What a run amounts to, added up where it ran: the scalars of a sweep's row.

The sums run in the order of the log and of the curve, as `mei.metrics.replay` runs them, so a row of a sweep is the
report of a replay, bit for bit.
"""

from math import inf, sqrt

import numpy as np

from mei.model.bars import FloatArray
from mei.model.replay import CLOSE_LONG, CLOSE_SHORT
from mei.rules.momentum_breakout.reasons import STOP
from mei.rules.momentum_breakout.records import Record, RecordArray

_TINY = 1e-12
_DAYS_A_YEAR = 365.0
#: Fraction of the peak by which a bound is kept clear of what rounding could do.
_SLACK_FRAC = 1e-9

#: The numbers of one run; money in USD. trades: closes. Those of WORKING serve while it goes on: points of the curve
#: (or stretches of them) that are no finite numbers; the highest point so far; and a level at or above which no point
#: can deepen either drawdown before there is a higher one.
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
        ("n_broken", "<i8"),
        ("peak", "<f8"),
        ("clear_from", "<f8"),
    ]
)

WORKING = ("n_broken", "peak", "clear_from")

#: A UTC day with bars that may trade: its last bar (or step), the close of that, and the point of the curve there.
DAY_DTYPE = np.dtype([("end", "<i8"), ("close", "<f8"), ("equity", "<f8")])

#: Closes that have something in common: of a reason (stop, target, time, reverse), a side (long, short), a symbol.
GROUP_DTYPE = np.dtype([("trades", "<i8"), ("wins", "<i8"), ("pnl", "<f8")])
#: Where the groups of sides and of symbols begin; reasons begin at 0, from `reasons.STOP` on.
FIRST_REASON, FIRST_SIDE, FIRST_SYMBOL = STOP, 4, 6


def clear(tally: Record, groups: RecordArray) -> None:
    """Before the first point of the curve and the first record of the log."""
    tally.final_balance = 0.0
    tally.trades, tally.wins, tally.losses = 0, 0, 0
    tally.pnl, tally.gross_profit, tally.gross_loss = 0.0, 0.0, 0.0
    tally.fees = -0.0
    tally.sharpe, tally.drawdown, tally.drawdown_frac = 0.0, 0.0, 0.0
    tally.n_broken = 0
    tally.peak, tally.clear_from = -inf, inf
    for i in range(len(groups)):
        groups[i].trades = 0
        groups[i].wins = 0
        groups[i].pnl = 0.0


def note_point(tally: Record, equity_usd: float) -> None:
    """One point of the curve: largest falls from a peak, in money and as a fraction, two maxima on their own."""
    if not (-inf < equity_usd < inf):
        tally.n_broken += 1
    if equity_usd > tally.peak:
        note_peak(tally, equity_usd)
    elif equity_usd < tally.clear_from:
        note_fall(tally, equity_usd)


def note_peak(tally: Record, equity_usd: float) -> None:
    """A point above all before it. What falls short of both drawdowns by the slack cannot deepen them."""
    tally.peak = equity_usd
    tally.clear_from = inf
    if equity_usd > _TINY:
        free_usd = tally.drawdown_frac * equity_usd
        if tally.drawdown < free_usd:
            free_usd = tally.drawdown
        tally.clear_from = equity_usd - free_usd + _SLACK_FRAC * equity_usd


def note_fall(tally: Record, equity_usd: float) -> None:
    """A point at or below the peak; the next ones only matter below it."""
    peak = tally.peak
    fall = peak - equity_usd
    if fall > tally.drawdown:
        tally.drawdown = fall
    if peak > _TINY and fall / peak > tally.drawdown_frac:
        tally.drawdown_frac = fall / peak
    tally.clear_from = equity_usd


def note_stretch(tally: Record, best_usd: float, worst_usd: float) -> bool:
    """Points of the curve between these two, both among them; False if their order matters, and nothing was noted.

    It does when there is a new peak among them and a fall that might deepen a drawdown. No fall is larger than that
    from the best to the worst, since rounding keeps the order; as a fraction, the smallest peak is the one there was.
    """
    if not (worst_usd > -inf and best_usd < inf):
        tally.n_broken += 1
    peak = tally.peak
    if best_usd <= peak:
        if worst_usd < tally.clear_from:
            note_fall(tally, worst_usd)
        return True
    fall = best_usd - worst_usd
    if fall > tally.drawdown or peak <= _TINY or fall / peak > tally.drawdown_frac:
        return False
    note_peak(tally, best_usd)
    return True


def count_close(group: Record, pnl_usd: float) -> None:
    """Count one close."""
    group.trades += 1
    group.wins += 1 if pnl_usd > 0.0 else 0
    group.pnl += pnl_usd


def note_close(
    tally: Record, groups: RecordArray, reason: int, direction: int, pnl_usd: float
) -> None:
    """One close in the sums of the run, of its reason and of its side; pnl before fees."""
    tally.trades += 1
    tally.pnl += pnl_usd
    # Adding 0.0 leaves a sum as it is, and takes no branch that cannot be foreseen.
    tally.wins += 1 if pnl_usd > 0.0 else 0
    tally.losses += 1 if pnl_usd < 0.0 else 0
    tally.gross_profit += pnl_usd if pnl_usd > 0.0 else 0.0
    tally.gross_loss += pnl_usd if pnl_usd < 0.0 else 0.0
    count_close(groups[reason - FIRST_REASON], pnl_usd)
    count_close(groups[FIRST_SIDE if direction > 0 else FIRST_SIDE + 1], pnl_usd)


def note_symbol(tally: Record, groups: RecordArray) -> None:
    """The closes of the only symbol are all closes."""
    group = groups[FIRST_SYMBOL]
    group.trades, group.wins, group.pnl = tally.trades, tally.wins, tally.pnl


def note_trades(trades: RecordArray, n_trades: int, tally: Record, groups: RecordArray) -> None:
    """A whole log of `portfolio.walk`, in its order."""
    for i in range(n_trades):
        trade = trades[i]
        tally.fees += trade.fee_usd
        if trade.action == CLOSE_LONG or trade.action == CLOSE_SHORT:
            direction = 1 if trade.action == CLOSE_LONG else -1
            note_close(tally, groups, trade.reason, direction, trade.pnl_usd)
            count_close(groups[FIRST_SYMBOL + trade.symbol], trade.pnl_usd)


def sharpe(days: RecordArray) -> float:
    """Mean over standard deviation of the returns from day to day, annualised with 365; 0 when there are too few."""
    n_returns = len(days) - 1
    if n_returns < 1:
        return 0.0
    total = 0.0
    for day in range(n_returns):
        total += day_return(days[day].equity, days[day + 1].equity)
    mean = total / n_returns
    squares = 0.0
    for day in range(n_returns):
        difference = day_return(days[day].equity, days[day + 1].equity) - mean
        squares += difference * difference
    deviation = sqrt(squares / n_returns)
    if deviation < _TINY:
        return 0.0
    return (mean / deviation) * sqrt(_DAYS_A_YEAR)


def day_return(before_usd: float, now_usd: float) -> float:
    """The simple return of a day; 0 on next to nothing."""
    if -_TINY <= before_usd <= _TINY:
        return 0.0
    return (now_usd - before_usd) / before_usd


def note_days_of(curve: FloatArray, first_step: int, days: RecordArray) -> None:
    """The points at the ends of days; curve[0] is that of `first_step`."""
    for day in range(len(days)):
        days[day].equity = curve[days[day].end - first_step]
