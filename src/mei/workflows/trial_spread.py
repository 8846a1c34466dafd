"""How the Sharpe ratios of all that was tried are spread: of trials that traded, which the others must not narrow.

A trial that never trades has a Sharpe ratio of 0, and so has every other such trial: were they counted, a thousand of
them would make luck look harmless. They count as trials, which errs on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from mei.metrics.overfitting import Spread, Trials
from mei.workflows.sweep.engine import SweepEngine

_DAYS_A_YEAR: Final = 365.0


def add_rows(spread: Spread, engine: SweepEngine, rows: Any) -> None:
    """Add the annualised Sharpe ratios of a sweep's rows."""
    add_traded(
        spread,
        zip(engine.sharpe_ratios(rows).tolist(), engine.total_trades(rows).tolist(), strict=True),
    )


def add_traded(spread: Spread, trials: Iterable[tuple[float, float]]) -> None:
    """Add the annualised Sharpe ratios of trials; each comes with its number of trades."""
    for sharpe, n_trades in trials:
        if n_trades > 0:
            spread.add(sharpe)


def trials_so_spread(n_trials: int, spread: Spread) -> Trials:
    """So many trials, whose annualised Sharpe ratios are spread so; per day.

    The variance is NaN, that is not known, when fewer than two of several trials traded.
    """
    is_known = spread.n > 1 or n_trials < 2
    return Trials(n_trials, spread.variance / _DAYS_A_YEAR if is_known else math.nan)
