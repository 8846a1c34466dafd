"""The replay of momentum_breakout against a plain loop written from the text, and against itself cut in two."""

from __future__ import annotations

import json
from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mei.engines import momentum_breakout as engine
from mei.engines.momentum_breakout_market import prepare
from mei.engines.momentum_breakout_state import start_of
from mei.metrics.replay import max_drawdown, replay_numbers
from mei.model.errors import ConfigError, DataError, OutputError
from mei.model.replay import (
    ACTIONS,
    TRADE_DTYPE,
    InitPosition,
    InitState,
    ReplayInputs,
    ReplayResult,
)
from mei.model.settings import Costs
from mei.report.replay_csv import Brought, brought_by, trades_csv, with_open_trades
from mei.rules.momentum_breakout import portfolio
from mei.rules.momentum_breakout.reasons import reason_text
from mei.rules.momentum_breakout.settings import DEFAULTS
from tests.loop.harness import MINUTE_MS, START_MS, bars_of, random_bars
from tests.momentum_breakout.market import candles_of, with_holes
from tests.oracles.momentum_breakout_loop import plain_loop

COSTS = Costs(1.5, 0.7)
PARAMS: dict[str, Any] = dict(
    lookback=12, stop_bps=15.0, take_profit_bps=25.0, max_hold_bars=20, allocation_frac=0.4
)


def trades_of(result: ReplayResult) -> list[dict[str, Any]]:
    """The replay's trades as the plain loop tells its own."""
    told = []
    for trade in result.trades:
        kind, _, side = ACTIONS[trade["action"]].partition("_")
        fill = {
            "t": int(trade["timestamp_ms"]),
            "action": kind.lower(),
            "side": side.lower(),
            "qty": float(trade["qty"]),
            "price": float(trade["price"]),
            "fee": float(trade["fee_usd"]),
            "pnl": float(trade["pnl_usd"]),
        }
        if kind == "CLOSE":
            fill["reason"] = reason_text(int(trade["reason"]), 0, 0.0, 0.0)
        told.append(fill)
    return told


def left_by(result: ReplayResult) -> InitState:
    """The state at the end of a run, as it comes back from its file."""
    kept = json.loads(json.dumps(result.continuation, allow_nan=False))
    return InitState(2, "test", 0, result.left_usd, result.left_positions, kept)


def gridded_bars(rng: np.random.Generator, n_bars: int) -> Any:
    """A walk on a coarse grid of prices, so that levels are touched exactly and closes repeat; with holes."""
    close = 100.0 + 0.25 * np.cumsum(rng.integers(-3, 4, n_bars))
    open_px = np.concatenate([[100.0], close[:-1]]) + 0.25 * rng.integers(-1, 2, n_bars)
    high = np.maximum(open_px, close) + 0.25 * rng.integers(0, 3, n_bars)
    low = np.minimum(open_px, close) - 0.25 * rng.integers(0, 3, n_bars)
    columns = (open_px, high, low, close)
    bars = bars_of(list(zip(*(column.tolist() for column in columns), strict=True)))
    return bars[rng.random(n_bars) >= 0.05]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_bars=st.integers(1, 160),
    entry_fill=st.sampled_from(["next_open", "signal_close"]),
    slippage_bps=st.sampled_from([0.0, 2.0, 7.5]),
    params=st.fixed_dictionaries(
        {
            "signal": st.sampled_from(["channel", "zscore"]),
            "lookback": st.integers(2, 25),
            "breakout_bps": st.sampled_from([0.0, 10.0]),
            "breakout_z": st.sampled_from([0.5, 1.0, 1.5]),
            "allow_short": st.booleans(),
            "stop_bps": st.sampled_from([0.0, 25.0, 80.0]),
            "take_profit_bps": st.sampled_from([0.0, 25.0, 120.0]),
            "max_hold_bars": st.sampled_from([0, 1, 4, 15]),
            "notional_usd": st.sampled_from([0.0, 1000.0]),
            "allocation_frac": st.sampled_from([0.1, 2.0]),
        }
    ),
)
def test_equals_the_plain_loop(
    seed: int, n_bars: int, entry_fill: Any, slippage_bps: float, params: dict[str, Any]
) -> None:
    bars = gridded_bars(np.random.default_rng(seed), n_bars)
    rows = [(row[0] + MINUTE_MS, *row[1:5]) for row in bars.tolist()]
    costs = Costs(1.5, slippage_bps)
    result = engine.replay(ReplayInputs(candles_of({"BTC/USDT": bars})), params, costs, entry_fill)
    fills, curve = plain_loop(
        rows,
        params,
        fee_bps=costs.fee_bps,
        slippage_bps=slippage_bps,
        cash=10_000.0,
        entry_fill=entry_fill,
    )
    assert result.equity_ms.tolist() == [row[0] for row in rows]
    assert result.equity_usd.tolist() == curve
    assert trades_of(result) == fills
    assert result.n_signals >= sum(fill["action"] == "open" for fill in fills)


def two_symbols(n_bars: int = 1500) -> dict[str, Any]:
    return {
        "BTC/USDT": with_holes(random_bars(n_bars, 5), 6),
        "ETH/USDT": with_holes(random_bars(n_bars, 7, START_MS + 50 * MINUTE_MS), 8),
    }


def csv_rows(result: ReplayResult, candles: Any, brought: Brought | None = None) -> list[str]:
    text = trades_csv(
        result,
        ["time"] * len(result.trades),
        candles,
        unique_ids=True,
        known_after_ms=MINUTE_MS,
        brought=brought or Brought(),
    )
    return text.splitlines()[1:]


def chain_rows(first: ReplayResult, second: ReplayResult, late: Any, state: InitState) -> list[str]:
    """The trade CSV of a run in two parts."""
    before = csv_rows(first, candles_of(two_symbols()))
    return before + csv_rows(second, late, brought_by(state, None))


@pytest.mark.parametrize("signal", ["channel", "zscore"])
@pytest.mark.parametrize("entry_fill", ["next_open", "signal_close"])
def test_two_halves_are_the_whole(signal: str, entry_fill: Any) -> None:
    """Export at T, through JSON, and go on: with the candles from the start, and with only those after T."""
    params = {**PARAMS, "signal": signal, "breakout_z": 1.5}
    params.update(stop_bps=60.0, take_profit_bps=70.0, max_hold_bars=60)
    inputs = ReplayInputs(candles_of(two_symbols()))
    whole = engine.replay(inputs, params, COSTS, entry_fill)
    peaks = np.maximum.accumulate(whole.equity_usd).tolist()
    n_open = n_pending = n_held = 0
    for cut in range(3, 1500, 73):
        cut_ms = START_MS + cut * MINUTE_MS
        first = engine.replay(changed(inputs, to_ms=cut_ms), params, COSTS, entry_fill)
        continuation = json.loads(json.dumps(first.continuation, allow_nan=False))
        assert continuation["as_of_ms"] == first.equity_ms[-1] <= cut_ms
        for name, bars in two_symbols().items():
            before = bars["close"][bars["timestamp"] + MINUTE_MS <= cut_ms].tolist()
            assert continuation["books"][name]["last_close_px"] == (before[-1] if before else None)
        n_open += sum(book["direction"] != 0 for book in continuation["books"].values())
        n_pending += sum(book["pending"] != 0 for book in continuation["books"].values())
        assert first.left_usd == continuation["cash_usd"]
        with_trades = with_open_trades(first, inputs.candles, MINUTE_MS, Brought())
        state = changed(left_by(first), continuation=json.loads(json.dumps(with_trades)))
        later = {
            name: bars[bars["timestamp"] + MINUTE_MS > cut_ms]
            for name, bars in two_symbols().items()
        }
        for candles in (inputs.candles, candles_of(later)):
            second = engine.replay(
                ReplayInputs(candles, init_state=state), params, COSTS, entry_fill
            )
            equity = [*first.equity_usd.tolist(), *second.equity_usd.tolist()]
            assert equity == whole.equity_usd.tolist()
            assert [*first.equity_ms, *second.equity_ms] == whole.equity_ms.tolist()
            trades = np.concatenate([first.trades, second.trades])
            assert trades.tobytes() == whole.trades.tobytes()
            assert second.continuation == whole.continuation
            assert second.initial_balance_usd == first.final_balance_usd
            n_first = len(first.equity_usd)
            falls = list(zip(peaks[n_first:], second.equity_usd.tolist(), strict=True))
            assert max_drawdown(second.equity_usd, second.peak_usd) == (
                max(peak - usd for peak, usd in falls),
                max((peak - usd) / peak for peak, usd in falls),
            )
            assert chain_rows(first, second, candles, state) == csv_rows(whole, inputs.candles)
        held = {p.symbol: (p.side, p.qty, p.entry_px) for p in first.left_positions}
        assert held == {
            name: (book["direction"], book["qty"], book["entry_px"])
            for name, book in continuation["books"].items()
            if book["direction"]
        }
        n_held += len(held)
        assert first.left_usd + sum(
            p.side * p.qty * (continuation["books"][p.symbol]["last_close_px"] - p.entry_px)
            for p in first.left_positions
        ) == pytest.approx(first.final_balance_usd, rel=1e-12)
    assert n_open == n_held >= 10
    assert (n_pending > 0) == (entry_fill == "next_open")


def test_bars_before_the_window_only_feed_the_signals() -> None:
    bars = random_bars(600, 9)
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}))
    first_row = int(np.flatnonzero(all_sides(inputs)[300:])[0]) + 300
    from_ms, to_ms = START_MS + (first_row + 1) * MINUTE_MS, START_MS + 550 * MINUTE_MS
    result = engine.replay(changed(inputs, from_ms=from_ms, to_ms=to_ms), PARAMS, COSTS)
    assert result.equity_ms[[0, -1]].tolist() == [from_ms, to_ms]
    # Lookback bars of past are all it takes, and a cold start in their place would miss the first signal.
    warm = bars[first_row - 12 : 550]
    same = engine.replay(
        ReplayInputs(candles_of({"BTC/USDT": warm}), from_ms=from_ms), PARAMS, COSTS
    )
    assert result.trades.tobytes() == same.trades.tobytes()
    assert result.equity_usd.tolist() == same.equity_usd.tolist()
    cold = engine.replay(ReplayInputs(candles_of({"BTC/USDT": warm[12:]})), PARAMS, COSTS)
    assert len(result.trades) > 4
    assert cold.trades.tobytes() != result.trades.tobytes()
    sides = all_sides(inputs)[first_row:550]
    assert result.n_signals == np.count_nonzero(sides)
    numbers = replay_numbers(result, [""] * len(result.trades))
    assert numbers.gates["total_checks"] == len(sides) == len(result.equity_ms)
    assert numbers.gates["signals_generated"] == result.n_signals
    assert (result.gates["buy_count"], result.gates["sell_count"]) == (
        np.count_nonzero(sides == 1),
        np.count_nonzero(sides == -1),
    )


def all_sides(inputs: ReplayInputs) -> Any:
    settings = engine.checked_settings(PARAMS)
    market = prepare(inputs, settings["lookback"])
    windows = engine.windows(market, engine.window_key(settings))
    return engine.signals(market, windows, engine.signal_key(settings)).sides


def test_a_window_without_bars_changes_nothing() -> None:
    inputs = ReplayInputs(candles_of({"BTC/USDT": random_bars(50, 9)}), initial_balance_usd=77.0)
    for bounds in ({"from_ms": START_MS * 2}, {"to_ms": 1}):
        result = engine.replay(changed(inputs, **bounds), PARAMS, COSTS)
        assert len(result.trades) == len(result.equity_usd) == result.n_signals == 0
        assert result.final_balance_usd == 77.0


def test_only_traded_symbols_exist() -> None:
    candles = candles_of(two_symbols())
    both = ReplayInputs(candles, traded=frozenset({"ETH/USDT"}))
    alone = ReplayInputs(candles.restricted_to(["ETH/USDT"]))
    left, right = (engine.replay(inputs, PARAMS, COSTS) for inputs in (both, alone))
    assert left.symbols == right.symbols == ("ETH/USDT",)
    assert left.trades.tobytes() == right.trades.tobytes()
    assert left.equity_ms.tolist() == right.equity_ms.tolist()


def test_compiled_walk_gives_the_bits_of_the_plain_one() -> None:
    inputs = ReplayInputs(candles_of(two_symbols(400)))
    params = engine.checked_settings(PARAMS)
    market = prepare(inputs, params["lookback"])
    windows = engine.windows(market, engine.window_key(params))
    found = engine.signals(market, windows, engine.signal_key(params))
    start = start_of(inputs, market, params)
    terms = engine.terms_of(params, COSTS, "next_open")
    compiled = engine.walk(market, found, terms, start)
    books, account = start.books.copy().view(np.recarray), start.account.copy().view(np.recarray)
    trades = np.zeros(1000, dtype=TRADE_DTYPE).view(np.recarray)
    curve = np.zeros_like(compiled.curve)
    portfolio.walk(
        market.bars,
        found.sides,
        found.candidates,
        0,
        terms.view(np.recarray),
        books,
        account,
        trades,
        curve,
    )
    assert curve.tolist() == compiled.curve.tolist()
    assert account.n_trades[0] == len(compiled.trades) > 20
    assert trades[: len(compiled.trades)].tobytes() == compiled.trades.tobytes()
    assert books.tobytes() == compiled.books.tobytes()


@pytest.mark.parametrize("capacity", [0, 1, -1, 10_000])
def test_trades_beyond_the_capacity_are_not_lost(capacity: int) -> None:
    """-1: one less than there are."""
    inputs = ReplayInputs(candles_of(two_symbols(400)))
    params = engine.checked_settings(PARAMS)
    market = prepare(inputs, params["lookback"])
    windows = engine.windows(market, engine.window_key(params))
    found = engine.signals(market, windows, engine.signal_key(params))
    start, terms = (
        start_of(inputs, market, params),
        engine.terms_of(params, COSTS, "next_open"),
    )
    whole = engine.replay(inputs, params, COSTS)
    room = len(whole.trades) - 1 if capacity < 0 else capacity
    walked = engine.walk(market, found, terms, start, capacity=room)
    assert walked.trades.tobytes() == whole.trades.tobytes()
    assert walked.curve.tolist() == whole.equity_usd.tolist()
    balances = walked.trades["balance_usd"]
    paid = walked.trades["pnl_usd"] - walked.trades["fee_usd"]
    assert np.allclose(balances, 10_000.0 + np.cumsum(paid), rtol=0, atol=1e-9)


def test_positions_of_an_init_state_are_taken_over() -> None:
    """A stop of 100 bps from the entry price 100; the first bar opens at 98.5, beyond it."""
    held = InitPosition("BTC/USDT", 1, 2.0, 100.0, 0.0, 1, 1.0, 200.0)
    state = InitState(1, "test", 0, 500.0, (held,))
    bars = bars_of([(98.5, 98.6, 98.0, 98.2), (98.2, 98.3, 98.1, 98.2)])
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}), init_state=state)
    result = engine.replay(inputs, {"stop_bps": 100.0}, Costs(0.0, 0.0))
    assert result.initial_balance_usd == 500.0
    (trade,) = result.trades
    assert ACTIONS[trade["action"]] == "CLOSE_LONG"
    assert (float(trade["price"]), float(trade["pnl_usd"])) == (98.5, -3.0)
    assert result.final_balance_usd == 497.0


def test_a_position_without_bars_stays_at_its_entry_price() -> None:
    held = InitPosition("ETH/USDT", -1, 2.0, 100.0, 0.0, 1, 1.0, 200.0)
    inputs = ReplayInputs(
        candles_of({"BTC/USDT": random_bars(5, 1)}), init_state=InitState(1, "t", 0, 500.0, (held,))
    )
    result = engine.replay(inputs, PARAMS, COSTS)
    assert result.symbols == ("BTC/USDT", "ETH/USDT")
    assert result.equity_usd.tolist() == [500.0] * 5
    assert result.continuation is not None
    assert result.continuation["books"]["ETH/USDT"]["direction"] == -1


def test_a_position_is_marked_at_the_last_close_before_the_window() -> None:
    held = InitPosition("ETH/USDT", 1, 2.0, 90.0, 0.0, 1, 1.0, 200.0)
    eth = bars_of([(100.0, 100.0, 100.0, 100.0), (100.0, 101.0, 100.0, 101.0)])
    inputs = ReplayInputs(
        candles_of({"BTC/USDT": random_bars(9, 1), "ETH/USDT": eth}),
        from_ms=START_MS + 5 * MINUTE_MS,
        init_state=InitState(1, "t", 0, 500.0, (held,)),
    )
    result = engine.replay(inputs, PARAMS, COSTS)
    assert result.equity_usd.tolist() == [500.0 + 2.0 * 11.0] * 5
    assert result.initial_balance_usd == 500.0


def test_entries_without_equity_are_counted() -> None:
    inputs = ReplayInputs(candles_of({"BTC/USDT": random_bars(300, 5)}), initial_balance_usd=0.0)
    result = engine.replay(inputs, PARAMS, COSTS)
    assert len(result.trades) == 0
    assert result.gates["refused_without_equity"] == result.n_signals
    assert result.n_signals > 20


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"lokback": 3}, "found 'lokback', did you mean 'lookback'"),
        ({"lookback": 3.5}, r"momentum_breakout\.lookback must be a whole number, was 3\.5"),
        ({"lookback": 1}, "lookback must be >= 2, was 1"),
        ({"lookback": 501}, "lookback must be at most max_lookback = 500, was 501"),
        ({"signal": "chanel"}, "signal must be channel or zscore, was 'chanel'"),
        ({"stop_bps": -1.0}, "stop_bps must be >= 0"),
        ({"stop_bps": float("nan")}, "stop_bps must be a finite number"),
        ({"allow_short": 1}, "allow_short must be true or false"),
        ({"regimes": [2, 3]}, "regimes must be empty in a replay"),
        ({"allocation_frac": 0.0}, "notional_usd or momentum_breakout.allocation_frac must be > 0"),
    ],
)
def test_wrong_settings_are_named(params: dict[str, Any], words: str) -> None:
    inputs = ReplayInputs(candles_of({"BTC/USDT": random_bars(5, 1)}))
    with pytest.raises(ConfigError, match=words):
        engine.replay(inputs, params, COSTS)


def test_inputs_it_has_no_use_for_are_refused() -> None:
    candles = candles_of({"BTC/USDT": random_bars(5, 1)})
    for extra in ({"exit_candles": candles}, {"entry_candles": candles}):
        with pytest.raises(ConfigError, match="must be replayed without e"):
            engine.replay(ReplayInputs(candles, **extra), PARAMS, COSTS)
    with pytest.raises(ConfigError, match="needs candles of a known length"):
        engine.replay(ReplayInputs(changed(candles, interval_ms=0)), PARAMS, COSTS)


def test_prices_that_are_no_numbers_are_refused() -> None:
    bars = random_bars(5, 1)
    bars["low"][3] = np.nan
    with pytest.raises(DataError, match=f"low of BTC/USDT at {START_MS + 3 * MINUTE_MS} is nan"):
        engine.replay(ReplayInputs(candles_of({"BTC/USDT": bars})), PARAMS, COSTS)


def test_equity_that_overflows_is_refused() -> None:
    inputs = ReplayInputs(candles_of({"BTC/USDT": random_bars(300, 1)}))
    params = {**PARAMS, "notional_usd": 1.7e308}
    with pytest.raises(OutputError, match="equity must hold finite numbers"):
        engine.replay(inputs, params, Costs(1000.0, 1000.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": "mei_alpha"}, "must be of momentum_breakout, layout 1, was of 'mei_alpha'"),
        ({"interval_ms": 1}, "must be of bars of 60000 ms, was of 1 ms"),
        ({"books": None}, "books is no mapping"),
        ({"books": {"BTC/USDT": 1}}, "books.BTC/USDT is no mapping"),
        ({"cash_usd": "1"}, "cash_usd is no finite number"),
        ({"cash_usd": 1.0}, "balance must be 1.0 as in its continuation, is "),
        ({"equity_peak_usd": float("inf")}, "equity_peak_usd is neither null nor a finite number"),
        ({"n_positions": 1.5}, "n_positions is no whole number"),
        ({"books": {"BTC/USDT": {}}}, r"books\.BTC/USDT\.direction is missing"),
    ],
)
def test_foreign_continuations_are_refused(change: dict[str, Any], words: str) -> None:
    inputs = ReplayInputs(candles_of({"BTC/USDT": random_bars(50, 1)}))
    first = engine.replay(inputs, PARAMS, COSTS)
    state = left_by(first)
    state = changed(state, continuation={**dict(first.continuation or {}), **change})
    with pytest.raises((ConfigError, DataError), match=words):
        engine.replay(changed(inputs, init_state=state), PARAMS, COSTS)


HELD_BOOK = {
    "direction": (2, r"\.direction is not -1, 0 or 1"),
    "qty": (0.0, "holds a position whose qty or entry_px is not above 0"),
    "entry_px": (-1.0, "holds a position whose qty or entry_px is not above 0"),
    "stop_px": (None, r"\.stop_px is no finite number"),
    "bars_held": (1.5, r"\.bars_held is no whole number"),
    "window": ({"open_ms": [], "high": [], "low": [], "close": [None]}, "of another length"),
    "opened_ms": (7, "the position of BTC/USDT must be that of its continuation, is not"),
}


@pytest.mark.parametrize("name", sorted(HELD_BOOK))
def test_books_that_no_run_can_have_left_are_refused(name: str) -> None:
    bars = random_bars(400, 5)
    inputs = ReplayInputs(candles_of({"BTC/USDT": bars}))
    first = next(
        run
        for cut in range(100, 400)
        if (run := engine.replay(changed(inputs, to_ms=START_MS + cut * MINUTE_MS), PARAMS, COSTS))
        and run.left_positions
    )
    state = left_by(first)
    engine.replay(changed(inputs, init_state=state), PARAMS, COSTS)
    value, words = HELD_BOOK[name]
    kept: dict[str, Any] = json.loads(json.dumps(state.continuation))
    kept["books"]["BTC/USDT"][name] = value
    with pytest.raises(DataError, match=words):
        engine.replay(changed(inputs, init_state=changed(state, continuation=kept)), PARAMS, COSTS)
    with pytest.raises(ConfigError, match="holds BTC/USDT, which this run does not trade"):
        engine.replay(
            changed(inputs, init_state=state, traded=frozenset({"ETH/USDT"})), PARAMS, COSTS
        )


def test_a_continuation_with_too_short_a_past_is_refused() -> None:
    bars = random_bars(90, 1)
    first = engine.replay(
        ReplayInputs(candles_of({"BTC/USDT": bars[:60]})), {**PARAMS, "lookback": 12}, COSTS
    )
    state = left_by(first)
    longer = {**PARAMS, "lookback": 30}
    later = ReplayInputs(candles_of({"BTC/USDT": bars[60:]}), init_state=state)
    with pytest.raises(ConfigError, match="lookback = 30 needs that many bars of BTC/USDT"):
        engine.replay(later, longer, COSTS)
    everything = ReplayInputs(candles_of({"BTC/USDT": bars}), init_state=state)
    assert len(engine.replay(everything, longer, COSTS).equity_usd) == 30


@pytest.mark.parametrize(("n_first", "is_enough"), [(10, True), (60, False)])
def test_whether_the_past_is_whole_is_handed_on(n_first: int, is_enough: bool) -> None:
    """10 bars are all there are; of 60 only the newest 12 are handed on, and that there were more."""
    bars = random_bars(90, 1)
    state = None
    for piece in (bars[:n_first], bars[:0]):
        inputs = ReplayInputs(candles_of({"BTC/USDT": piece}), init_state=state)
        result = engine.replay(inputs, PARAMS, COSTS)
        state = left_by(result)
    longer = ReplayInputs(candles_of({"BTC/USDT": bars[n_first:]}), init_state=state)
    if is_enough:
        assert len(engine.replay(longer, {**PARAMS, "lookback": 30}, COSTS).equity_usd) == 80
    else:
        with pytest.raises(ConfigError, match="carries 12 and the candles hold 0"):
            engine.replay(longer, {**PARAMS, "lookback": 30}, COSTS)


def test_every_setting_belongs_to_one_stage() -> None:
    stages = (
        engine.WINDOW_SETTINGS,
        engine.SIGNAL_SETTINGS,
        engine.WALK_SETTINGS,
        engine.UNUSED,
    )
    names = [name for stage in stages for name in stage]
    assert sorted(names) == sorted(DEFAULTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("signal", "zscore"), ("lookback", 13), ("breakout_bps", 5.0), ("allow_short", False)],
)
def test_settings_of_a_stage_are_in_its_key(name: str, value: Any) -> None:
    one, other = engine.checked_settings({}), engine.checked_settings({name: value})
    assert engine.signal_key(one) != engine.signal_key(other)
    is_window = name in engine.WINDOW_SETTINGS
    assert (engine.window_key(one) != engine.window_key(other)) == is_window


def test_thresholds_of_a_zscore_are_in_its_key() -> None:
    one = engine.checked_settings({"signal": "zscore"})
    other = engine.checked_settings({"signal": "zscore", "breakout_z": 1.0})
    unread = engine.checked_settings({"signal": "zscore", "breakout_bps": 1.0})
    assert engine.signal_key(one) != engine.signal_key(other)
    assert engine.signal_key(one) == engine.signal_key(unread)


def test_windows_of_another_key_are_refused() -> None:
    market = prepare(ReplayInputs(candles_of({"BTC/USDT": random_bars(50, 1)})), 12)
    one, other = engine.checked_settings({"lookback": 12}), engine.checked_settings({})
    with pytest.raises(ConfigError, match="must be given its windows"):
        engine.signals(
            market, engine.windows(market, engine.window_key(one)), engine.signal_key(other)
        )
