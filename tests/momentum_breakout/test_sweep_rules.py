"""What a sweep leaps with, against plain loops; and compiled leaps against the same functions in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mei.engines import momentum_breakout as engine
from mei.engines import momentum_breakout_sweep_leaps as one_symbol
from mei.engines.bind import bind_cpu
from mei.engines.momentum_breakout_market import prepare
from mei.engines.momentum_breakout_sweep_parts import Piece, configs_of
from mei.model.replay import ReplayInputs
from mei.model.settings import Costs
from mei.rules.momentum_breakout import leaps, passage, ranges, routes, tally
from tests.loop.harness import random_bars
from tests.momentum_breakout.market import candles_of, with_holes

COSTS = Costs(1.5, 0.7)


@pytest.mark.parametrize("n_values", [1, 7, 8, 9, 63, 64, 65, 512, 513, 4097, 5000])
def test_a_search_finds_what_a_scan_finds(n_values: int) -> None:
    """Grid values: levels are met exactly, and many values are equal."""
    rng = np.random.default_rng(n_values)
    values = np.round(np.cumsum(rng.integers(-2, 3, n_values)) / 4.0, 2)
    starts = np.array(passage.level_starts(n_values), dtype=np.int64)
    nodes = one_symbol.tree_of(values, starts)
    search = bind_cpu(passage.first_at_or_below)
    n_none = 0
    for _ in range(400):
        first = int(rng.integers(0, n_values + 1))
        level = float(rng.choice(values)) + float(rng.choice([-40.0, -0.25, -0.1, 0.0, 0.1]))
        met = np.flatnonzero(values[first:] <= level)
        expected = first + int(met[0]) if len(met) else n_values
        n_none += expected == n_values
        assert search(nodes, starts, n_values, first, level) == expected
    assert n_none > 0


@pytest.mark.parametrize("n_values", [1, 2, 31, 32, 33, 64, 65, 200, 1025, 5000])
def test_extremes_are_those_of_the_stretch(n_values: int) -> None:
    rng = np.random.default_rng(n_values)
    values = rng.normal(0.0, 1.0, n_values)
    found = one_symbol.ranges_of(values)
    extremes = bind_cpu(ranges.extremes_in)
    for _ in range(400):
        first, last = sorted(rng.integers(0, n_values, 2).tolist())
        stretch = values[first : last + 1]
        assert extremes(found, first, last) == (stretch.min(), stretch.max())


def test_a_stretch_is_noted_as_its_points_are() -> None:
    """Whenever note_stretch takes a stretch, drawdowns, peak and what comes after are those of point by point."""
    rng = np.random.default_rng(4)
    n_taken = n_left = 0
    for _ in range(300):
        pair = np.zeros(2, dtype=tally.TALLY_DTYPE).view(np.recarray)
        groups = np.zeros((2, 7), dtype=tally.GROUP_DTYPE).view(np.recarray)
        for number in range(2):
            tally.clear(pair[number], groups[number])
        start = 100.0
        for _ in range(30):
            points = np.round(start + np.cumsum(rng.normal(-0.02, 1.0, rng.integers(1, 9))), 2)
            start = float(points[-1])
            if tally.note_stretch(pair[0], float(points.max()), float(points.min())):
                n_taken += 1
            else:
                n_left += 1
                for point in points:
                    tally.note_point(pair[0], float(point))
            for point in points:
                tally.note_point(pair[1], float(point))
            for name in ("drawdown", "drawdown_frac", "peak"):
                assert pair[name][0] == pair[name][1]
    assert min(n_taken, n_left) > 500


def test_compiled_leaps_give_the_bits_of_plain_ones() -> None:
    inputs = ReplayInputs(candles_of({"BTC/USDT": with_holes(random_bars(600, 3), 4)}))
    params = engine.checked_settings({"lookback": 9, "stop_bps": 15.0, "take_profit_bps": 20.0})
    market = prepare(inputs, 9)
    stages = one_symbol.OneSymbol(market, 10_000.0, COSTS, "next_open")
    columns = {"max_hold_bars": np.array([0.0, 5.0, 5.0]), "stop_bps": np.array([9.0, 15.0, 15.0])}
    configs = configs_of(columns, 3, params)
    window = engine.window_key(params)
    piece = Piece(window, 0.0, True, np.arange(3))
    compiled = stages.run_piece(stages.base(window, 0.0), piece, configs)

    def plain(rule: Any, *_: Any) -> Any:
        return lambda *arguments: rule(*(as_records(one) for one in arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_symbol, "bind_cpu", plain)
        again = one_symbol.OneSymbol(market, 10_000.0, COSTS, "next_open")
        interpreted = again.run_piece(again.base(window, 0.0), piece, configs)
    assert compiled[0]["trades"].min() > 20
    for left, right in zip(compiled, interpreted, strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def as_records(value: Any) -> Any:
    """Arrays of records with fields as attributes, at any depth of named tuples."""
    if isinstance(value, np.ndarray) and value.dtype.names:
        return value.view(np.recarray)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(as_records(one) for one in value))
    return value


def test_keys_sort_by_bar_and_turn() -> None:
    """By the next open: time or reversal, stop, target; by the close: stop, target, time, reversal."""
    stop, target, time, reverse = range(4)
    for fills_at_close, order in (
        (0, (time, reverse, stop, target)),
        (1, (stop, target, time, reverse)),
    ):
        keys = [
            routes.exit_key(bar, kind, 2**32 - 1, fills_at_close)
            for bar in (0, 5, 2**28)
            for kind in order
        ]
        assert keys == sorted(keys)
        assert [routes.bar_of(key) for key in keys] == [0] * 4 + [5] * 4 + [2**28] * 4
        reasons = [routes.reason_of(key, fills_at_close) - 2 for key in keys[:4]]
        assert reasons == list(order)
        assert {routes.next_signal_of(key) for key in keys} == {2**32 - 1}
        assert max(keys) < 2**63
    assert leaps.CASE_DTYPE.itemsize % 8 == 0
