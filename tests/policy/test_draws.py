"""Draws: bit for bit those of plain Python, uniform, normal, independent across every counter."""

from __future__ import annotations

import math
import statistics
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from mei.policy import draws
from tests.policy import oracle

BAR_MS = 60_000
FIRST_MS = 1_672_531_260_000
SERIES = draws.series_key(42, "momentum_breakout", "BTC/USDT")
FAST, SLOW = draws.preset_key("fast"), draws.preset_key("slow")


def _uniforms(
    n: int, preset: np.uint64 = FAST, component: int = 0, series: np.uint64 = SERIES
) -> NDArray[np.float64]:
    return np.array(
        [draws.uniform(series, FIRST_MS + BAR_MS * i, preset, component) for i in range(n)]
    )


def test_keys_and_draws_are_those_of_plain_python() -> None:
    assert int(SERIES) == oracle.key("series", 42, "momentum_breakout", "BTC/USDT")
    assert int(FAST) == oracle.key("preset", "fast")
    for i, component in product(range(3000), (0, 9)):
        close_ms = FIRST_MS + BAR_MS * i
        u = oracle.uniform(int(SERIES), close_ms, int(FAST), component)
        assert draws.uniform(SERIES, close_ms, FAST, component) == u
        assert draws.normal(SERIES, close_ms, FAST, component) == oracle.quantile(u)


@pytest.mark.parametrize(
    "u", [2.0**-53, 1e-12, 1e-6, 0.0749, 0.075, 0.4, 0.5, 0.925, 0.9251, 1 - 2.0**-53]
)
def test_quantiles_are_right_from_end_to_end(u: float) -> None:
    exact = statistics.NormalDist().inv_cdf(u)
    assert draws.normal_of_uniform(u) == pytest.approx(exact, rel=1e-14, abs=1e-16)
    assert draws.normal_of_uniform(u) == oracle.quantile(u)


def test_log_agrees_with_the_library_to_the_last_digits() -> None:
    values = [2.0**-53, 1e-300, 1e-9, 0.1, math.sqrt(0.5), 0.99999, 1.0, 1.5, 1e9]
    assert [draws.log(x) for x in values] == pytest.approx([math.log(x) for x in values], rel=1e-15)


def test_a_uniform_is_never_zero_or_one() -> None:
    # The hash can be anything; the map of its extremes decides.
    assert (0 + 0.5) * 2.0**-52 > 0.0
    assert ((2**52 - 1) + 0.5) * 2.0**-52 < 1.0


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    n, n_bins = 20_000, 100
    u = _uniforms(n)
    counts, _ = np.histogram(u, n_bins, (0, 1))
    chi2 = float(((counts - n / n_bins) ** 2 / (n / n_bins)).sum())
    assert 50 < chi2 < 160  # 99 degrees of freedom: both ends are beyond 1 in 10,000
    ranks = np.arange(1, n + 1) / n
    ks = max(
        float(np.abs(np.sort(u) - ranks).max()), float(np.abs(np.sort(u) - ranks + 1 / n).max())
    )
    assert ks * math.sqrt(n) < 1.95


def test_draws_are_independent_across_bars_presets_components_seeds_and_instruments() -> None:
    n = 20_000
    base = _uniforms(n)
    others = {
        "next bar": np.roll(base, -1),
        "preset": _uniforms(n, preset=SLOW),
        "component": _uniforms(n, component=1),
        "seed": _uniforms(n, series=draws.series_key(43, "momentum_breakout", "BTC/USDT")),
        "instrument": _uniforms(n, series=draws.series_key(42, "momentum_breakout", "ETH/USDT")),
        "strategy": _uniforms(n, series=draws.series_key(42, "mei_alpha", "BTC/USDT")),
    }
    for name, other in others.items():
        assert abs(float(np.corrcoef(base, other)[0, 1])) * math.sqrt(n) < 4.0, name
        grid, _, _ = np.histogram2d(base, other, 10, [[0, 1], [0, 1]])
        chi2 = float(((grid - n / 100) ** 2 / (n / 100)).sum())
        assert 50 < chi2 < 160, name
