"""Order of events, chunks, batches, several instruments, checkpoints: each with services from memory."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.loop.clock import next_cadence_ms
from mei.model.bars import BarArray
from mei.model.errors import ConfigError, StrategyError, VerificationError
from mei.model.orders import Bar, Fill, Order
from mei.model.settings import Costs, LoopSettings
from mei.strategies.base import Params, Strategy
from mei.strategies.momentum_breakout import MomentumBreakout
from tests.loop.harness import (
    MINUTE_MS,
    START_MS,
    OnePreset,
    bars_of,
    make_driver,
    random_bars,
    run_driver,
)

PARAMS = dict(lookback=20, stop_bps=20.0, take_profit_bps=30.0, max_hold_bars=15)


def outputs(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "equity.csv").read_bytes(), (folder / "trades.csv").read_bytes()


def run(
    folder: Path,
    series: dict[str, BarArray],
    settings: LoopSettings,
    batch_bars: int = 100,
    **more: Any,
) -> tuple[Any, Any, Any, OnePreset]:
    folder.mkdir(exist_ok=True)
    services = OnePreset(PARAMS)
    driver, chunks, checkpoints = make_driver(
        folder,
        series,
        more.pop("strategies", [MomentumBreakout]),
        services,
        settings=settings,
        strategy_settings=more.pop("strategy_settings", {}),
        batch_bars=batch_bars,
        **more,
    )
    run_driver(driver)
    return driver, chunks, checkpoints, services


def test_cadence_is_the_next_multiple_since_the_epoch() -> None:
    assert next_cadence_ms(0, 360) == 360 * MINUTE_MS
    assert next_cadence_ms(360 * MINUTE_MS - 1, 360) == 360 * MINUTE_MS
    assert next_cadence_ms(360 * MINUTE_MS, 360) == 720 * MINUTE_MS


def test_batches_of_any_size_give_identical_files(tmp_path: Path) -> None:
    series = {"BTC/USDT": random_bars(1500, 3)}
    settings = LoopSettings(training="off")
    for batch_bars in (1, 37, 1000):
        run(tmp_path / str(batch_bars), series, settings, batch_bars, block_bars=batch_bars + 50)
    assert outputs(tmp_path / "1") == outputs(tmp_path / "37") == outputs(tmp_path / "1000")
    assert len((tmp_path / "1" / "trades.csv").read_text().splitlines()) > 50


def test_every_bar_is_asked_for_and_chunks_cover_the_run(tmp_path: Path) -> None:
    bars = random_bars(1050, 5)
    _, chunks, checkpoints, services = run(
        tmp_path, {"BTC/USDT": bars}, LoopSettings(training="off", chunk_rows=400)
    )
    assert services.asked_rows >= 1050
    first = bars["timestamp"]
    assert chunks.registered == [
        ("BTC/USDT", first[0], first[399], first[399] + MINUTE_MS),
        ("BTC/USDT", first[400], first[799], first[799] + MINUTE_MS),
        ("BTC/USDT", first[800], first[1049], first[1049] + MINUTE_MS),
    ]
    assert len(checkpoints.saved) == 2


def test_trainings_fall_on_the_cadence_also_inside_a_gap(tmp_path: Path) -> None:
    early = random_bars(90, 1, START_MS)
    late = random_bars(90, 2, START_MS + 300 * MINUTE_MS)
    bars = np.concatenate([early, late])
    settings = LoopSettings(train_cron_minutes=60)
    _, _, _, services = run(tmp_path, {"BTC/USDT": bars}, settings)
    first, last = START_MS, int(bars["timestamp"][-1]) + MINUTE_MS
    expected = [m for m in range(0, last + 1, 60 * MINUTE_MS) if first < m <= last]
    assert services.trained_at_ms == expected


def test_max_steps_ends_the_run_after_that_many_chunks(tmp_path: Path) -> None:
    settings = LoopSettings(training="off", chunk_rows=100, max_steps=3)
    driver, chunks, _, _ = run(tmp_path, {"BTC/USDT": random_bars(1000, 1)}, settings)
    assert driver.counts.bars == 300
    assert len(chunks.registered) == 3


def two_symbols() -> dict[str, BarArray]:
    btc, eth = random_bars(900, 7), random_bars(900, 8)
    return {"BTC/USDT": btc[20:], "ETH/USDT": np.concatenate([eth[:300], eth[330:]])}


def test_two_instruments_share_one_account_over_the_union_of_bars(tmp_path: Path) -> None:
    series = two_symbols()
    run(tmp_path, series, LoopSettings(symbols=tuple(series), training="off"))
    lines = (tmp_path / "equity.csv").read_text().splitlines()
    header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    assert header[5:] == ["close_BTC_USDT", "qty_BTC_USDT", "close_ETH_USDT", "qty_ETH_USDT"]
    assert len(rows) == len(rows[0:900]) == 900
    assert rows[0][5] == ""
    assert rows[0][4] == ""
    assert float(rows[320][7]) == float(rows[299][7]), "a missing bar carries its last close"
    assert {row[0] for row in rows} == {str(START_MS + (i + 1) * MINUTE_MS) for i in range(900)}
    for row in rows:
        assert float(row[1]) == float(row[2]) + float(row[3])


@pytest.mark.parametrize("stop_after", [1, 333, 512, 700])
@pytest.mark.parametrize("entry_fill", ["next_open", "signal_close"])
def test_stop_and_resume_gives_the_bytes_of_an_undisturbed_run(
    tmp_path: Path, stop_after: int, entry_fill: Any
) -> None:
    series = two_symbols()
    settings = LoopSettings(
        symbols=tuple(series), training="off", chunk_rows=128, entry_fill=entry_fill
    )
    run(tmp_path / "whole", series, settings)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= stop_after

    _, _, checkpoints, _ = run(tmp_path / "cut", series, settings, should_stop=should_stop)
    saved = json.loads(json.dumps(checkpoints.saved[-1]))
    for name in ("equity.csv", "trades.csv"):
        with (tmp_path / "cut" / name).open("a") as file:
            file.write("rows after the checkpoint\n")
    driver, _, _ = make_driver(
        tmp_path / "cut",
        series,
        [MomentumBreakout],
        OnePreset(PARAMS),
        settings=settings,
        strategy_settings={},
        offsets=saved["offsets"],
    )
    driver.restore(saved["driver"])
    assert run_driver(driver)
    assert outputs(tmp_path / "cut") == outputs(tmp_path / "whole")


def test_outcomes_are_net_of_both_fees_and_carry_stable_ids(tmp_path: Path) -> None:
    settings = LoopSettings(training="off", costs=Costs(4.0, 2.0))
    _, _, _, services = run(tmp_path, {"BTC/USDT": random_bars(800, 4)}, settings)
    rows = [line.split(",") for line in (tmp_path / "trades.csv").read_text().splitlines()[1:]]
    opens, closes = rows[0::2], rows[1::2]
    assert len(services.outcomes) == len(closes)
    for number, (outcome, opened, closed) in enumerate(
        zip(services.outcomes, opens, closes, strict=False), start=1
    ):
        assert outcome.trade_id == f"momentum_breakout/BTC_USDT/{number}"
        assert outcome.known_at_ms == int(closed[0])
        net = float(closed[10]) - float(opened[8]) - float(closed[8])
        notional = float(opened[7]) / (1 + 2e-4 * (1 if opened[4] == "buy" else -1))
        assert outcome.net_pnl_bps == pytest.approx(net / notional * 1e4, rel=1e-9)


def test_parameters_stay_frozen_while_a_position_is_open(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []

    class Watcher(MomentumBreakout):
        def on_bar(self, bar: Bar, params: Params) -> Order | None:
            order = super().on_bar(bar, params)
            seen.append((self.context.direction, params["max_hold_bars"]))
            return order

    class Changing(OnePreset):
        async def presets(
            self, strategy: str, symbol: str, as_of_ms: Any, features: Any, state: Any
        ) -> Any:
            rows = await super().presets(strategy, symbol, as_of_ms, features, state)
            names = ["a" if ms // MINUTE_MS % 2 else "b" for ms in as_of_ms]
            values = {"a": {**PARAMS, "max_hold_bars": 15}, "b": {**PARAMS, "max_hold_bars": 16}}
            return type(rows)(names, rows.changed_at_ms, rows.changes_today, values)

    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": random_bars(600, 9)},
        [Watcher],
        Changing(PARAMS),
        settings=LoopSettings(training="off"),
        strategy_settings={},
    )
    run_driver(driver)
    flat = {hold for direction, hold in seen if direction == 0}
    held = [pair for pair in pairwise(seen) if pair[0][0] != 0 and pair[1][0] != 0]
    assert flat == {15, 16}
    assert len(held) > 50
    assert all(now[1] == then[1] for now, then in held)


@pytest.mark.parametrize(
    ("regime", "prob", "trades"),
    [(-1, 0.0, False), (1, 0.9, False), (2, 0.5, False), (2, 0.7, True)],
)
def test_regime_gate_lets_entries_through_only_in_listed_likely_regimes(
    tmp_path: Path, regime: int, prob: float, trades: bool
) -> None:
    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": random_bars(400, 2)},
        [MomentumBreakout],
        OnePreset(PARAMS, regime, prob),
        settings=LoopSettings(training="off"),
        strategy_settings={"regimes": [2, 3]},
    )
    run_driver(driver)
    assert (len((tmp_path / "trades.csv").read_text().splitlines()) > 1) == trades


class Misbehaving(Strategy):
    name = "misbehaving"
    order: Any = None

    def on_bar(self, bar: Bar, params: Params) -> Order | None:
        if self.order is None:
            raise ValueError("boom")
        return self.order


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (None, "misbehaving failed in on_bar on BTC/USDT at the bar that opened at"),
        (Order("close"), "a close needs a position"),
        (Order("open", direction=0), "direction must be 1 or -1"),
        (Order("hold"), "must be open or close"),  # type: ignore[arg-type]
        ("buy", "must answer with an Order or None, answered 'buy'"),
        (Order("open", direction=1), "an entry must have a size"),
        (
            Order("open", direction=1, notional_usd=-5.0),
            "notional_usd must be a finite number >= 0",
        ),
        (Order("open", direction=1, notional_usd=5.0, stop_bps=float("nan")), "stop_bps must be"),
    ],
)
def test_a_strategy_that_breaks_its_contract_is_named(
    tmp_path: Path, order: Any, words: str
) -> None:
    Misbehaving.order = order
    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": random_bars(5, 1)},
        [Misbehaving],
        OnePreset({}),
        settings=LoopSettings(training="off"),
        strategy_settings={},
    )
    with pytest.raises(StrategyError, match=words):
        run_driver(driver)


def test_hooks_are_called_and_json_attributes_survive(tmp_path: Path) -> None:
    calls: list[str] = []

    class Counting(Strategy):
        name = "counting"

        def on_start(self, context: Any) -> None:
            super().on_start(context)
            self.n_seen = 0
            calls.append("start")

        def on_bar(self, bar: Bar, params: Params) -> Order | None:
            self.n_seen += 1
            if self.n_seen == 3:
                return Order("open", direction=1, notional_usd=100.0)
            if self.n_seen == 6:
                return Order("close", reason="enough")
            return None

        def on_fill(self, fill: Fill) -> None:
            calls.append(f"fill {fill.action} {fill.reason}")

        def on_stop(self) -> None:
            calls.append(f"stop {self.n_seen}")

    bars = bars_of([(100.0, 101.0, 99.0, 100.0)] * 10)
    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": bars},
        [Counting],
        OnePreset({}),
        settings=LoopSettings(training="off"),
        strategy_settings={},
    )
    run_driver(driver)
    assert calls == ["start", "fill open signal", "fill close enough", "stop 10"]
    assert driver.state()["engine"]["legs"][0]["strategy"] == {"n_seen": 10}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2), "state.kept is a builtins.tuple"),
        (float("nan"), "state.kept is nan"),
        (np.float64(1.0), "state.kept is a numpy.float64"),
        ({1: 2}, "state.kept has the key 1"),
        ([1, {"a": {2}}], "state.kept[1].a is a builtins.set"),
    ],
)
def test_state_that_json_would_change_is_refused_at_the_first_checkpoint(
    tmp_path: Path, value: Any, words: str
) -> None:
    class Keeping(Strategy):
        name = "keeping"

        def on_bar(self, bar: Bar, params: Params) -> Order | None:
            self.kept = value
            return None

    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": random_bars(30, 1)},
        [Keeping],
        OnePreset({}),
        settings=LoopSettings(training="off", chunk_rows=10),
        strategy_settings={},
    )
    with pytest.raises(StrategyError, match=re.escape(words)):
        run_driver(driver)


def test_entries_without_equity_are_counted_not_lost(tmp_path: Path) -> None:
    class Always(Strategy):
        name = "always"

        def on_bar(self, bar: Bar, params: Params) -> Order | None:
            return None if self.context.direction else Order("open", 1, allocation_frac=1.0)

    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": random_bars(20, 1)},
        [Always],
        OnePreset({}),
        settings=LoopSettings(training="off", initial_cash=0.0),
        strategy_settings={},
    )
    run_driver(driver)
    assert driver.engine.n_refused_entries == 20


def test_lookback_beyond_the_window_is_refused(tmp_path: Path) -> None:
    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": random_bars(20, 1)},
        [MomentumBreakout],
        OnePreset({**PARAMS, "lookback": 501}),
        settings=LoopSettings(training="off"),
        strategy_settings={},
    )
    with pytest.raises(ConfigError, match="lookback must be at most max_lookback = 500"):
        run_driver(driver)


def test_a_training_that_misses_a_registered_chunk_is_refused(tmp_path: Path) -> None:
    """OnePreset answers every training with `skipped`: after a chunk that means another ledger."""
    settings = LoopSettings(train_cron_minutes=60, chunk_rows=30)
    driver, _, _ = make_driver(
        tmp_path,
        {"BTC/USDT": random_bars(200, 1)},
        [MomentumBreakout],
        OnePreset(PARAMS),
        settings=settings,
        strategy_settings={},
    )
    with pytest.raises(VerificationError, match="must see the chunks registered before it"):
        run_driver(driver)
