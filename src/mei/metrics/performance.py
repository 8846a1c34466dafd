"""Return and risk of an equity curve. Ratios come from daily equity (UTC days, last value)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from mei.metrics.equity import Drawdown, EquityScan
from mei.metrics.number import Number, defined, undefined
from mei.model.bars import DAY_MS

#: Crypto trades every day of the year.
PERIODS_PER_YEAR = 365


def performance(scan: EquityScan, periods_per_year: int = PERIODS_PER_YEAR) -> dict[str, Number]:
    """Every number of the equity curve by name, in a fixed order.

    Fractions are of 1 (0.05 = 5 %); `max_drawdown` is a positive fraction of the peak.
    """
    if scan.n_rows == 0:
        return {"total_return": undefined("no rows", "frac")}
    returns = daily_returns(scan)
    growth = cagr(scan, periods_per_year)
    depth = scan.deepest.depth_frac if scan.deepest is not None else 0.0
    span_ms = scan.last_ms - scan.first_ms
    return {
        "total_return": defined(scan.last_equity / scan.first_equity - 1.0, "frac"),
        "cagr": growth,
        "volatility": volatility(returns, periods_per_year),
        "sharpe_ratio": sharpe_ratio(returns, periods_per_year),
        "sortino_ratio": sortino_ratio(returns, periods_per_year),
        "calmar_ratio": calmar_ratio(growth, depth, periods_per_year),
        "max_drawdown": defined(depth, "frac"),
        "longest_under_water": defined(scan.longest_under_water_ms, "ms"),
        "under_water": (
            defined(scan.under_water_ms / span_ms, "frac")
            if span_ms > 0
            else undefined("a single row", "frac")
        ),
        "exposure": defined(scan.rows_in_market / scan.n_rows, "frac"),
        "initial_equity": defined(scan.first_equity, "usd"),
        "final_equity": defined(scan.last_equity, "usd"),
        "min_equity": defined(scan.min_equity, "usd"),
    }


def daily_equity(scan: EquityScan) -> list[tuple[int, float]]:
    """(day number since the epoch, last equity) of every UTC day; one without rows repeats the last."""
    days: list[tuple[int, float]] = []
    for close_ms, equity in zip(scan.day_close_ms, scan.day_equity, strict=True):
        day = (close_ms - 1) // DAY_MS
        if days:
            days += [(missing, days[-1][1]) for missing in range(days[-1][0] + 1, day)]
        days.append((day, equity))
    return days


def daily_returns(scan: EquityScan) -> list[float]:
    """Simple return of each UTC day, the first one from the initial equity."""
    levels = [scan.first_equity, *(equity for _, equity in daily_equity(scan))]
    return [_change(old, new) for old, new in itertools.pairwise(levels)]


def monthly_returns(scan: EquityScan) -> list[tuple[str, float]]:
    """("2023-01", simple return) of every UTC month, the first one from the initial equity."""
    months: list[tuple[str, float]] = []
    for day, equity in daily_equity(scan):
        name = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m")
        if months and months[-1][0] == name:
            months[-1] = (name, equity)
        else:
            months.append((name, equity))
    levels = [scan.first_equity, *(equity for _, equity in months)]
    changes = map(_change, levels, levels[1:])
    return [(name, change) for (name, _), change in zip(months, changes, strict=False)]


def cagr(scan: EquityScan, periods_per_year: int) -> Number:
    """Growth a year, compounded, over the time between the first and the last row."""
    years = (scan.last_ms - scan.first_ms) / (DAY_MS * periods_per_year)
    if scan.last_ms - scan.first_ms < DAY_MS:
        return undefined("less than a day", "frac", periods_per_year)
    if scan.last_equity <= 0.0:
        return undefined("equity ended at or below zero", "frac", periods_per_year)
    log_growth = math.log(scan.last_equity / scan.first_equity) / years
    if log_growth > 700.0:
        return undefined("too large to annualise", "frac", periods_per_year)
    return defined(math.expm1(log_growth), "frac", periods_per_year)


def volatility(returns: Sequence[float], periods_per_year: int) -> Number:
    """Sample standard deviation of daily returns, annualised."""
    if len(returns) < 2:
        return undefined("fewer than 2 days", "frac", periods_per_year)
    return defined(_deviation(returns) * math.sqrt(periods_per_year), "frac", periods_per_year)


def sharpe_ratio(returns: Sequence[float], periods_per_year: int) -> Number:
    """Mean over sample standard deviation of daily returns, annualised; riskless rate 0."""
    if len(returns) < 2:
        return undefined("fewer than 2 days", "ratio", periods_per_year)
    deviation = _deviation(returns)
    if deviation == 0.0:
        return undefined("daily returns do not vary", "ratio", periods_per_year)
    return defined(
        _mean(returns) / deviation * math.sqrt(periods_per_year), "ratio", periods_per_year
    )


def sortino_ratio(returns: Sequence[float], periods_per_year: int) -> Number:
    """Mean of daily returns over the root mean square of the losing ones (all days), annualised."""
    if len(returns) < 2:
        return undefined("fewer than 2 days", "ratio", periods_per_year)
    downside = math.sqrt(_mean([change * change if change < 0.0 else 0.0 for change in returns]))
    if downside == 0.0:
        return undefined("no losing day", "ratio", periods_per_year)
    return defined(
        _mean(returns) / downside * math.sqrt(periods_per_year), "ratio", periods_per_year
    )


def calmar_ratio(growth: Number, depth_frac: float, periods_per_year: int) -> Number:
    """CAGR over the deepest drawdown."""
    if growth.value is None:
        return undefined(f"CAGR: {growth.reason}", "ratio", periods_per_year)
    if depth_frac == 0.0:
        return undefined("no drawdown", "ratio", periods_per_year)
    return defined(growth.value / depth_frac, "ratio", periods_per_year)


def worst_drawdowns(scan: EquityScan, count: int) -> list[Drawdown]:
    """The `count` deepest drawdowns kept, deepest first, earlier first among equals."""
    return sorted(scan.drawdowns, key=lambda drawdown: (-drawdown.depth_frac, drawdown.peak_ms))[
        :count
    ]


def _change(old: float, new: float) -> float:
    """Simple return; an account at or below zero has nothing left to grow."""
    return new / old - 1.0 if old > 0.0 else 0.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
