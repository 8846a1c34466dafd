"""Every row of a sweep is the report of a replay of the same configuration, bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest

from mei.engines import momentum_breakout as engine
from mei.engines import momentum_breakout_sweep_leaps, momentum_breakout_sweep_portfolio
from mei.metrics.replay import ReplayNumbers, replay_numbers
from mei.model.bars import DAY_MS
from mei.model.errors import ConfigError, DataError, OutputError
from mei.model.replay import InitState, ReplayInputs
from mei.model.settings import Costs
from mei.rules.momentum_breakout.reasons import reason_text
from mei.rules.momentum_breakout.settings import DEFAULTS
from mei.workflows.momentum_rows import MomentumSweep
from tests.loop.harness import MINUTE_MS, START_MS, bars_of, random_bars
from tests.momentum_breakout.market import candles_of, with_holes
from tests.momentum_breakout.test_replay import gridded_bars

COSTS = Costs(1.5, 0.7)
FILLS = ("next_open", "signal_close")
AXES: dict[str, tuple[float, ...]] = {
    "lookback": (2.0, 3.0, 7.0, 12.0, 25.9, 90.0),
    "breakout_bps": (0.0, 5.0, 10.0, 60.0),
    "breakout_z": (0.0, 0.5, 1.0, 1.5),
    "allow_short": (0.0, 1.0, 0.4),
    "stop_bps": (0.0, 1.0, 25.0, 80.0, 300.0, 12_000.0),
    "take_profit_bps": (0.0, 25.0, 80.0, 300.0, 12_000.0),
    "max_hold_bars": (0.0, 1.0, 2.0, 4.7, 15.0, 70.0),
    "notional_usd": (0.0, 0.0, 1000.0, 90_000.0),
    "allocation_frac": (0.1, 0.5, 2.0, 40.0),
}


def random_columns(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """One to all axes with values as a sweep gives them: numbers; some by the path with the strategy's name."""
    names = rng.permutation(list(AXES))[: rng.integers(1, len(AXES) + 1)]
    prefix = "momentum_breakout." if rng.random() < 0.3 else ""
    return {prefix + name: rng.choice(AXES[name], n) for name in names}


def replayed(
    inputs: ReplayInputs, base: Mapping[str, Any], overrides: Mapping[str, float], entry_fill: Any
) -> tuple[ReplayNumbers, tuple[int, int]]:
    """The report of a replay and its long and short signals, with the overrides converted as a sweep converts them."""
    params = dict(base)
    for path, value in overrides.items():
        name = path.removeprefix("momentum_breakout.")
        kind = type(DEFAULTS[name])
        params[name] = value != 0.0 if kind is bool else kind(value)
    result = engine.replay(inputs, params, COSTS, entry_fill)
    reasons = [reason_text(int(reason), 0, 0.0, 0.0) for reason in result.trades["reason"]]
    return replay_numbers(result, reasons), (result.gates["buy_count"], result.gates["sell_count"])


def bits(value: Any) -> Any:
    """Floats as their bytes, at any depth: -0.0 is not 0.0."""
    if isinstance(value, dict):
        return {key: bits(one) for key, one in value.items()}
    return struct.pack("<d", value) if isinstance(value, float) else value


def check_rows(
    inputs: ReplayInputs, base: Mapping[str, Any], columns: Any, n: int, entry_fill: Any
) -> list[ReplayNumbers]:
    """Assert that every row is its replay."""
    sweep = MomentumSweep(inputs, base, COSTS, entry_fill, n_threads=2)
    rows = sweep.run(columns, n)
    found = [sweep.numbers(row) for row in rows]
    for number, numbers in enumerate(found):
        overrides = {path: float(values[number]) for path, values in columns.items()}
        expected, sides = replayed(inputs, base, overrides, entry_fill)
        assert (rows["buys"][number], rows["sells"][number]) == sides
        assert bits(asdict(numbers)) == bits(asdict(expected)), overrides
        assert sweep.total_pnl_usd(rows)[number] == expected.total_pnl_usd
        assert sweep.sharpe_ratios(rows)[number] == expected.sharpe_ratio
    return found


def days_of(bars: Any, minutes: int) -> Any:
    """The bars as bars of so many minutes, so that few of them make many days."""
    bars = bars.copy()
    bars["timestamp"] = START_MS + (bars["timestamp"] - START_MS) * minutes
    return bars


def inputs_of(bars: Any, minutes: int = 1, **others: Any) -> ReplayInputs:
    candles = candles_of({"BTC/USDT": days_of(bars, minutes)})
    return ReplayInputs(changed(candles, interval_ms=minutes * MINUTE_MS), **others)


@pytest.mark.parametrize("entry_fill", FILLS)
@pytest.mark.parametrize("seed", range(14))
def test_rows_equal_replays(seed: int, entry_fill: Any) -> None:
    """Random axes over markets of a coarse grid (ties, holes, jumps over levels) and over smooth ones."""
    rng = np.random.default_rng(seed)
    n_bars = int(rng.integers(1, 700))
    bars = (
        gridded_bars(rng, n_bars) if seed % 2 else with_holes(random_bars(n_bars + 40, seed), seed)
    )
    base = {"signal": "channel" if seed % 3 else "zscore", "lookback": 9, "breakout_z": 1.0}
    base |= {"stop_bps": 15.0, "take_profit_bps": 25.0, "max_hold_bars": 20}
    bounds: dict[str, Any] = {}
    if seed % 4 == 3:
        bounds = {"from_ms": START_MS + n_bars // 3 * 90 * MINUTE_MS}
        bounds["to_ms"] = START_MS + n_bars // 2 * 180 * MINUTE_MS
    inputs = inputs_of(bars, 90, **bounds)
    found = check_rows(inputs, base, random_columns(rng, 40), 40, entry_fill)
    assert n_bars < 200 or sum(one.total_trades for one in found) > 40


@pytest.mark.parametrize("n_symbols", [1, 2])
@pytest.mark.parametrize("signal", ["channel", "zscore"])
def test_whole_numbers_in_the_file_cut_no_swept_value(signal: str, n_symbols: int) -> None:
    """A file's `stop_bps: 50` is 50.0: what is swept over it keeps its fraction."""
    names = [f"{name}/USDT" for name in "ABC"[:n_symbols]]
    inputs = ReplayInputs(
        candles_of({name: days_of(random_bars(500, seed), 90) for seed, name in enumerate(names)})
    )
    whole: dict[str, Any] = {"signal": signal, "lookback": 9, "breakout_z": 2, "breakout_bps": 5}
    whole |= {"stop_bps": 50, "take_profit_bps": 80, "notional_usd": 0, "allocation_frac": 1}
    columns = {
        "breakout_z": np.array([1.75, 0.5, 1.25, 1.0]),
        "breakout_bps": np.array([0.5, 4.5, 5.5, 7.25]),
        "stop_bps": np.array([25.5, 40.25, 80.75, 0.5]),
        "take_profit_bps": np.array([30.5, 60.25, 0.75, 99.9]),
        "notional_usd": np.array([0.0, 0.5, 1000.25, 7.75]),
        "allocation_frac": np.array([0.15, 0.25, 1.5, 0.75]),
    }
    for name, values in columns.items():
        check_rows(inputs, whole, {name: values}, 4, "next_open")
    found = check_rows(inputs, whole, columns, 4, "next_open")
    assert len({one.total_pnl_usd for one in found}) == 4


@pytest.mark.parametrize("entry_fill", FILLS)
def test_rows_of_many_bars_equal_replays(entry_fill: Any) -> None:
    """More than one block of blocks of the trees, some days without a bar, equity that doubles and is lost."""
    bars = with_holes(random_bars(9000, 3), 4)
    inputs = inputs_of(bars, 7)
    rng = np.random.default_rng(5)
    columns = {name: rng.choice(values, 60) for name, values in AXES.items()}
    found = check_rows(inputs, {"breakout_z": 1.0}, columns, 60, entry_fill)
    assert {"stop", "take_profit", "time", "reverse"} == set().union(
        *(one.by_exit_reason for one in found)
    )
    assert min(one.final_balance_usd for one in found) < 1000.0
    assert max(one.total_trades for one in found) > 500
    assert max(one.final_balance_usd for one in found) > 10_000.0
    assert any(one.sharpe_ratio > 0.0 for one in found)


@pytest.mark.parametrize("entry_fill", FILLS)
def test_a_signal_on_the_last_bar_is_counted(entry_fill: Any) -> None:
    """By the next open it is never filled, by the close it is."""
    bars = bars_of([(100.0, 100.5, 99.5, 100.0)] * 4 + [(100.0, 102.0, 100.0, 102.0)])
    columns = {"stop_bps": np.array([0.0, 50.0]), "lookback": np.array([2.0, 3.0])}
    for found in check_rows(inputs_of(bars), {}, columns, 2, entry_fill):
        assert (found.total_signals, found.total_trades) == (1, 0)
        assert (found.total_fees_usd > 0.0) == (entry_fill == "signal_close")


def test_a_close_without_spread_has_no_z_score() -> None:
    bars = bars_of([(100.0, 100.5, 99.5, 100.0)] * 30 + [(100.0, 109.0, 100.0, 108.0)] * 30)
    columns = {"breakout_z": np.array([0.0, 1.0]), "lookback": np.array([20.0, 5.0])}
    found = check_rows(inputs_of(bars), {"signal": "zscore"}, columns, 2, "next_open")
    assert [one.total_signals for one in found] == [19, 2]


@pytest.mark.parametrize("entry_fill", FILLS)
def test_prices_need_not_be_prices(entry_fill: Any) -> None:
    """Below zero a wider channel is the narrower one; closes outside their bar's range; fills at 0 and less."""
    rng = np.random.default_rng(11)
    bars = gridded_bars(rng, 400)
    for name in ("open", "high", "low", "close"):
        bars[name] = np.round(bars[name] - 100.0 + rng.normal(0.0, 1.0, len(bars)), 1)
    columns = {name: rng.choice(values, 60) for name, values in AXES.items()}
    found = check_rows(inputs_of(bars, 90), {}, columns, 60, entry_fill)
    assert sum(one.total_trades for one in found) > 100


@pytest.mark.parametrize("entry_fill", FILLS)
@pytest.mark.parametrize("signal", ["channel", "zscore"])
def test_rows_of_several_symbols_equal_replays(signal: str, entry_fill: Any) -> None:
    """They share one account, and the days on which one has no bar."""
    series = {
        "BTC/USDT": days_of(with_holes(random_bars(600, 5), 6), 30),
        "ETH/USDT": days_of(with_holes(random_bars(500, 7, START_MS + 50 * MINUTE_MS), 8), 30),
        "SOL/USDT": days_of(gridded_bars(np.random.default_rng(2), 300), 30),
    }
    candles = changed(candles_of(series), interval_ms=30 * MINUTE_MS)
    rng = np.random.default_rng(3)
    columns = {name: rng.choice(values, 50) for name, values in AXES.items()}
    inputs = ReplayInputs(candles, from_ms=START_MS + 40 * 30 * MINUTE_MS)
    found = check_rows(inputs, {"signal": signal, "breakout_z": 1.0}, columns, 50, entry_fill)
    assert max(len(one.by_symbol) for one in found) == 3
    traded = changed(inputs, traded=frozenset({"ETH/USDT"}))
    check_rows(traded, {"signal": signal}, columns, 50, entry_fill)


def test_more_trades_than_there_was_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(momentum_breakout_sweep_portfolio, "_FIRST_CAPACITY", 3)
    series = {"BTC/USDT": random_bars(300, 5), "ETH/USDT": random_bars(300, 6)}
    columns = {"lookback": np.array([5.0, 9.0, 60.0])}
    found = check_rows(ReplayInputs(candles_of(series)), {}, columns, 3, "next_open")
    assert found[0].total_trades > 20


def wide_columns(n: int) -> dict[str, Any]:
    """Few values of some axes and a value of its own each of others, in no order."""
    rng = np.random.default_rng(8)
    columns = {
        name: rng.choice(AXES[name], n) for name in ("lookback", "breakout_bps", "allow_short")
    }
    columns["stop_bps"] = rng.choice([20.0, 40.0, 80.0], n)
    columns["take_profit_bps"] = np.round(rng.uniform(5.0, 90.0, n), 3)
    columns["max_hold_bars"] = rng.choice(AXES["max_hold_bars"], n)
    return columns


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_rows_do_not_depend_on_batches_and_threads(size: int, n_threads: int) -> None:
    """Also one after another in one sweep, which keeps what earlier batches found."""
    inputs = inputs_of(with_holes(random_bars(1500, 3), 4), 20)
    n = 300
    columns = wide_columns(n)
    whole = MomentumSweep(inputs, {}, COSTS, "next_open", n_threads=2).run(columns, n)
    order = np.random.default_rng(1).permutation(n)
    sweep = MomentumSweep(inputs, {}, COSTS, "next_open", n_threads)
    for start in range(0, n, size):
        some = order[start : start + size]
        rows = sweep.run({path: values[some] for path, values in columns.items()}, len(some))
        assert rows.tobytes() == whole[some].tobytes()
    assert len(np.unique(whole["tally"]["final_balance"])) > 200


def test_runs_at_the_same_time_give_the_same_rows() -> None:
    inputs = inputs_of(with_holes(random_bars(1500, 3), 4), 20)
    columns = wide_columns(200)
    sweep = MomentumSweep(inputs, {}, COSTS, "next_open", n_threads=2)
    with ThreadPoolExecutor(4) as pool:
        rows = {one.tobytes() for one in pool.map(lambda _: sweep.run(columns, 200), range(12))}
    assert len(rows) == 1


@pytest.mark.parametrize(("name", "value"), [("_MOST_MOVES", 0), ("_MOST_TABLES", 40_000)])
def test_rows_do_not_depend_on_the_room_there_is(
    name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = inputs_of(with_holes(random_bars(1500, 3), 4), 20)
    columns = wide_columns(200)
    whole = MomentumSweep(inputs, {}, COSTS, "next_open", n_threads=2).run(columns, 200)
    monkeypatch.setattr(momentum_breakout_sweep_leaps, name, value)
    rows = MomentumSweep(inputs, {}, COSTS, "next_open", n_threads=2).run(columns, 200)
    assert rows.tobytes() == whole.tobytes()


@pytest.mark.parametrize("cash_usd", [0.0, -5.0])
@pytest.mark.parametrize("entry_fill", FILLS)
def test_nothing_is_bought_without_equity(cash_usd: float, entry_fill: Any) -> None:
    inputs = inputs_of(random_bars(300, 5), initial_balance_usd=cash_usd)
    (found,) = check_rows(inputs, {"lookback": 9}, {}, 1, entry_fill)
    assert (found.total_signals > 20, found.total_trades, found.final_balance_usd) == (
        True,
        0,
        cash_usd,
    )


@pytest.mark.parametrize("bounds", [{"from_ms": START_MS * 2}, {"to_ms": 1}])
@pytest.mark.parametrize("n_symbols", [1, 2])
def test_a_window_without_bars_changes_nothing(n_symbols: int, bounds: dict[str, int]) -> None:
    names = ("BTC/USDT", "ETH/USDT")[:n_symbols]
    candles = candles_of({name: random_bars(50, 9) for name in names})
    inputs = ReplayInputs(candles, initial_balance_usd=77.0, **bounds)
    for found in check_rows(inputs, {}, {"lookback": np.array([5.0, 9.0])}, 2, "next_open"):
        assert (found.final_balance_usd, found.total_signals) == (77.0, 0)


def test_the_end_of_a_day_is_the_bar_known_before_midnight() -> None:
    """What is known at midnight is the next day's."""
    bars = days_of(with_holes(random_bars(400, 3), 4), 60)
    bars["timestamp"] += DAY_MS - int(bars["timestamp"][0]) % DAY_MS - 60 * MINUTE_MS
    candles = changed(candles_of({"BTC/USDT": bars}), interval_ms=60 * MINUTE_MS)
    columns = {"lookback": np.array([3.0, 9.0, 20.0]), "allocation_frac": np.array([0.5, 1.0, 2.0])}
    found = check_rows(ReplayInputs(candles), {}, columns, 3, "next_open")
    assert all(one.sharpe_ratio != 0.0 for one in found)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"lookback": [9.0, 1.0]}, "lookback must be >= 2, was 1"),
        ({"lookback": [9.0, 501.0]}, "lookback must be at most max_lookback = 500, was 501"),
        ({"lookback": [9.0, float("nan")]}, "lookback must be a finite number, was nan|was nan"),
        ({"max_hold_bars": [9.0, 1e300]}, r"whole number of 2\*\*53 or less, was 1e\+300"),
        ({"stop_bps": [1.0, -1.0]}, r"stop_bps must be >= 0, was -1\.0"),
        ({"stop_bps": [1.0, float("inf")]}, "stop_bps must be a finite number, was inf"),
        (
            {"allocation_frac": [1.0, 0.0]},
            "notional_usd or momentum_breakout.allocation_frac must be",
        ),
    ],
)
def test_wrong_settings_are_named(column: dict[str, list[float]], words: str) -> None:
    sweep = MomentumSweep(inputs_of(random_bars(50, 1)), {}, COSTS, "next_open", 1)
    columns = {path: np.array(values) for path, values in column.items()}
    with pytest.raises(ConfigError, match=words):
        sweep.run(columns, 2)


def test_what_a_replay_refuses_is_refused() -> None:
    inputs = inputs_of(random_bars(50, 1))
    with pytest.raises(ConfigError, match="regimes must be empty in a replay"):
        MomentumSweep(inputs, {"regimes": [2]}, COSTS, "next_open", 1)
    with pytest.raises(ConfigError, match="must be replayed without exit candles"):
        MomentumSweep(changed(inputs, exit_candles=inputs.candles), {}, COSTS, "next_open", 1)
    state = InitState(1, "test", 0, 500.0)
    with pytest.raises(ConfigError, match="always starts clean"):
        MomentumSweep(changed(inputs, init_state=state), {}, COSTS, "next_open", 1)
    empty = candles_of({"BTC/USDT": random_bars(5, 1)[:0]})
    with pytest.raises(DataError, match="needs at least one candle"):
        MomentumSweep(ReplayInputs(empty), {}, COSTS, "next_open", 1)


@pytest.mark.parametrize("n_symbols", [1, 2])
def test_equity_that_overflows_is_refused(n_symbols: int) -> None:
    series = {name: random_bars(300, 1) for name in ("BTC/USDT", "ETH/USDT")[:n_symbols]}
    params = {"lookback": 12, "notional_usd": 1.7e308}
    costs = Costs(1000.0, 1000.0)
    sweep = MomentumSweep(ReplayInputs(candles_of(series)), params, costs, "next_open", 1)
    with pytest.raises(OutputError, match="equity must hold finite numbers"):
        sweep.run({}, 1)


def test_rows_hold_nothing_but_numbers_of_their_own() -> None:
    """Fixed size, no padding, no objects: they are written to disk as they are."""
    sweep = MomentumSweep(inputs_of(random_bars(50, 1)), {}, COSTS, "next_open", 1)
    assert not sweep.row_dtype.hasobject
    assert sweep.row_dtype.itemsize == 8 * (11 + 3 * 7 + 2)
    rows = sweep.run({}, 3)
    assert (rows.shape, rows.dtype) == ((3,), sweep.row_dtype)
    assert sweep.run({}, 0).shape == (0,)
