"""Whether a Sharpe ratio survives the number of trials it was picked from.

Sources: D. H. Bailey, M. López de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15 (2012), for the
probabilistic Sharpe ratio, and "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest Overfitting and
Non-Normality", Journal of Portfolio Management 40 (2014), for the expected best of N trials and the deflated ratio.

Sharpe ratios here are those of one period, such as a day: mean over standard deviation of the population (divided by
n), riskless rate 0. `per_period` brings an annualised one down. Sums are plain loops in the order given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from mei.metrics.number import Number, defined, undefined

_NORMAL: Final = NormalDist()
_EULER_MASCHERONI: Final = 0.5772156649015329
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Moments:
    """What the Sharpe ratio of n returns hangs on.

    sharpe: of one period; skew: 0 if symmetric; kurtosis: 3 if normal, not the excess.
    """

    n_returns: int
    sharpe: float
    skew: float
    kurtosis: float


@dataclass(frozen=True, slots=True)
class Trials:
    """Sharpe ratios of everything that was tried: how many, and their variance (sample, divided by n - 1)."""

    n_trials: int
    variance: float


@dataclass(slots=True)
class Spread:
    """Count, mean and summed squared differences of numbers, in one pass; those not finite are left out."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def add(self, value: float) -> None:
        """One more (Welford's update)."""
        if math.isfinite(value):
            self.n += 1
            off = value - self.mean
            self.mean += off / self.n
            self.m2 += off * (value - self.mean)

    def add_all(self, other: Spread) -> None:
        """Those of another (Chan's update)."""
        if other.n == 0:
            return
        n = self.n + other.n
        off = other.mean - self.mean
        self.m2 += other.m2 + off * off * (self.n * other.n / n)
        self.mean += off * (other.n / n)
        self.n = n

    @property
    def variance(self) -> float:
        """Of the sample, divided by n - 1; 0 for fewer than two."""
        return self.m2 / (self.n - 1) if self.n > 1 else 0.0


def moments(returns: Sequence[float]) -> Moments | None:
    """The moments of returns of periods; None for fewer than 2, for returns that do not vary or are not finite."""
    n = len(returns)
    if n < 2:
        return None
    total = 0.0
    for value in returns:
        total += value
    mean = total / n
    second = third = fourth = 0.0
    for value in returns:
        off = value - mean
        square = off * off
        second += square
        third += square * off
        fourth += square * square
    variance = second / n
    deviation = math.sqrt(variance) if variance >= 0.0 else math.nan
    if not (math.isfinite(fourth) and deviation > _TINY):
        return None
    return Moments(
        n_returns=n,
        sharpe=mean / deviation,
        skew=third / n / (variance * deviation),
        kurtosis=fourth / n / (variance * variance),
    )


def trials_of(sharpes: Iterable[float]) -> Trials:
    """Count and variance of the Sharpe ratios of trials (of one period), in one pass; those not finite are left out."""
    spread = Spread()
    for value in sharpes:
        spread.add(value)
    return Trials(spread.n, spread.variance)


def per_period(annualised: float, periods_per_year: int) -> float:
    """The Sharpe ratio of one period, of one that was annualised by the root of the periods."""
    return annualised / math.sqrt(periods_per_year)


def probabilistic_sharpe_ratio(found: Moments | None, benchmark: float = 0.0) -> Number:
    """Probability that the true Sharpe ratio is above `benchmark` (both of one period), given the returns found.

    Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)).
    """
    if found is None:
        return undefined("fewer than 2 returns, or they do not vary", "frac")
    sharpe = found.sharpe
    spread = 1.0 - found.skew * sharpe + (found.kurtosis - 1.0) / 4.0 * sharpe * sharpe
    if found.n_returns < 2 or not spread > 0.0:
        return undefined("the Sharpe ratio's error is not defined", "frac")
    score = (sharpe - benchmark) * math.sqrt(found.n_returns - 1) / math.sqrt(spread)
    if math.isnan(score):
        return undefined("not finite", "frac")
    return defined(_NORMAL.cdf(score), "frac")


def expected_best_sharpe(trials: Trials) -> float:
    """The Sharpe ratio to expect of the best of so many trials if none has any merit, of one period.

    sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e))), g the Euler-Mascheroni constant, Z the inverse of Phi.
    0 for a single trial and for trials that are all alike. Trials that resemble each other count in full, which errs on
    the safe side.
    """
    if trials.n_trials < 2:
        return 0.0
    n = float(trials.n_trials)
    # 1 - x is the mirror image of x, and exact however many trials there are.
    best = -_NORMAL.inv_cdf(1.0 / n)
    second = -_NORMAL.inv_cdf(1.0 / (n * math.e))
    return math.sqrt(trials.variance) * (
        (1.0 - _EULER_MASCHERONI) * best + _EULER_MASCHERONI * second
    )


def deflated_sharpe_ratio(found: Moments | None, trials: Trials) -> Number:
    """Probability that the true Sharpe ratio of the best of `trials` is above what luck alone makes of so many.

    The probabilistic Sharpe ratio against `expected_best_sharpe`. Above 0.95, say, the winner survives.
    """
    if trials.n_trials < 1:
        return undefined("no trial", "frac")
    if not (math.isfinite(trials.variance) and trials.variance >= 0.0):
        return undefined("the variance of the trials is not defined", "frac")
    return probabilistic_sharpe_ratio(found, expected_best_sharpe(trials))
