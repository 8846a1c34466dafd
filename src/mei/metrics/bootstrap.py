"""What else the same trades could have come to: their results drawn again, or in another order.

Numbers are drawn from the `random.Random` that is handed in, one path after another, so that a seed fixes every one of
them; sums of a path are plain sums in its order (specification part 3, section 8).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

#: Names of `Path`, as reports call them.
STATISTICS: Final = ("final_balance", "total_return_pct", "max_drawdown_pct")


class Path(NamedTuple):
    """Where one order of results leads. Balance in USD; return and drawdown are fractions."""

    final_balance_usd: float
    total_return_frac: float
    max_drawdown_frac: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of n values: mean, standard deviation of the sample (0 for one value), and quantiles (0.025 to 0.975)."""

    n: int
    mean: float
    stdev: float
    p02_5: float
    p05: float
    p50: float
    p95: float
    p97_5: float


def _bootstrap(results_usd: Sequence[float], random: Random) -> Sequence[float]:
    return random.choices(results_usd, k=len(results_usd))


def _shuffle(results_usd: Sequence[float], random: Random) -> Sequence[float]:
    permuted = list(results_usd)
    random.shuffle(permuted)
    return permuted


_DRAWS: Final[Mapping[str, Callable[[Sequence[float], Random], Sequence[float]]]] = {
    "bootstrap": _bootstrap,
    "shuffle": _shuffle,
}
#: `bootstrap` draws n results with replacement, `shuffle` takes each once in another order.
METHODS: Final = tuple(_DRAWS)


def path_of(results_usd: Sequence[float], initial_balance_usd: float) -> Path:
    """A balance above 0 that goes through the results in their order; the drawdown is from its highest so far."""
    balance = peak = initial_balance_usd
    deepest = 0.0
    for result in results_usd:
        balance += result
        if balance > peak:
            peak = balance
        deepest = max(deepest, (peak - balance) / peak)
    return Path(balance, (balance - initial_balance_usd) / initial_balance_usd, deepest)


def resample(
    results_usd: Sequence[float],
    initial_balance_usd: float,
    n_paths: int,
    methods: Sequence[str],
    random: Random,
) -> dict[str, dict[str, Distribution]]:
    """For each method (of METHODS), each of STATISTICS over `n_paths` paths.

    The methods share `random` in the order given: the second goes on where the first stopped.
    """
    found = {}
    for method in methods:
        draw = _DRAWS[method]
        paths = [path_of(draw(results_usd, random), initial_balance_usd) for _ in range(n_paths)]
        columns = zip(*paths, strict=True)
        found[method] = dict(zip(STATISTICS, map(distribution, columns), strict=True))
    return found


def distribution(values: Sequence[float]) -> Distribution:
    """Of finite values, at least one; the sum of the mean is exact before it is rounded once."""
    ordered = sorted(values)
    n = len(ordered)
    return Distribution(
        n,
        math.fsum(ordered) / n,
        statistics.stdev(ordered) if n > 1 else 0.0,
        *(quantile(ordered, q) for q in (0.025, 0.05, 0.5, 0.95, 0.975)),
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    """Of ascending values, linear between the two around position q * (n - 1)."""
    position = q * (len(ordered) - 1)
    below = int(position)
    if below + 1 >= len(ordered):
        return ordered[below]
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (position - below)
