"""Strategies that hold a portfolio, in the driver: what they did, when it was decided, what the policy is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mei.loop.driver import Driver
from mei.loop.ports import Regimes
from mei.model.bars import BarArray
from mei.model.errors import StrategyError
from mei.model.orders import Bar, Execution
from mei.model.settings import Costs, LoopSettings
from mei.strategies.base import Params, PortfolioStrategy
from mei.strategies.mei_alpha import MeiAlpha
from mei.strategies.momentum_breakout import MomentumBreakout
from tests.loop.harness import (
    MINUTE_MS,
    START_MS,
    Checkpoints,
    OnePreset,
    make_driver,
    random_bars,
    run_driver,
)
from tests.oracles.mei_alpha.cases import LOOSE

BTC, ETH = "BTC/USDT", "ETH/USDT"
LATER = START_MS + 100 * MINUTE_MS
COSTS = Costs(fee_bps=10.0, slippage_bps=0.0)

#: Minute -> what the scripted strategy executes then: instrument, action, side, qty, pnl.
Script = Mapping[int, list[tuple[str, str, str, float, float]]]
#: Minute -> orders to enter that wait after it.
Orders = Mapping[int, set[str]]


class Scripted(PortfolioStrategy):
    """Does what a script says, at the close of the bar, and remembers what it was told."""

    name = "scripted"

    def __init__(self, script: Script, orders: Orders) -> None:
        self.script, self.orders = script, orders
        self.held: dict[str, float] = {}
        self.ordered: set[str] = set()
        self.profit = 0.0
        self.told: list[tuple[int, float, float, dict[str, Any]]] = []

    def on_step(
        self, close_ms: int, bars: Mapping[str, Bar], params: Mapping[str, Params]
    ) -> list[Execution]:
        minute = (close_ms - START_MS) // MINUTE_MS
        context = self.context
        values = {name: one.get("n") for name, one in params.items()}
        self.told.append((minute, context.cash_usd, context.other_equity_usd, values))
        done: list[Any] = []
        for name, action, side, qty, pnl in self.script.get(minute, []):
            px = bars[name].close
            fee = qty * px * 1e-3
            done.append(Execution(name, action, side, qty, px, px, fee, pnl, "script"))
            sign = 1 if side == "buy" else -1
            self.held[name] = self.held.get(name, 0.0) + sign * qty
            if not self.held[name]:
                del self.held[name]
        self.ordered = set(self.orders.get(minute, ()))
        return done

    def quantities(self) -> Mapping[str, float]:
        return {name: self.held.get(name, 0.0) for name in {*self.held, *self.ordered}}

    def is_entry_ordered(self, instrument: str) -> bool:
        return instrument in self.ordered

    def unrealised_usd(self) -> float:
        return self.profit

    def state(self) -> dict[str, Any]:
        return {"held": self.held, "ordered": sorted(self.ordered)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.held, self.ordered = dict(state["held"]), set(state["ordered"])


class Counting(OnePreset):
    """A preset and a model of its own for each minute; the preset's parameter is the minute."""

    async def regimes(self, symbol: str, as_of_ms: list[int], bars: BarArray) -> Regimes:
        found = await super().regimes(symbol, as_of_ms, bars)
        minutes = [(moment - START_MS) // MINUTE_MS for moment in as_of_ms]
        return replace(found, model_version=minutes, trained_through_ms=dict.fromkeys(minutes, 0))

    async def presets(
        self, strategy: str, symbol: str, as_of_ms: Any, features: Any, state: Any
    ) -> Any:
        rows = await super().presets(strategy, symbol, as_of_ms, features, state)
        minutes = [(moment - START_MS) // MINUTE_MS for moment in as_of_ms]
        values = {f"p{minute}": {"n": float(minute)} for minute in minutes}
        names = [f"p{minute}" for minute in minutes]
        return type(rows)(names, rows.changed_at_ms, rows.changes_today, values)


def run_script(
    folder: Path, script: Script, orders: Orders, n: int = 12
) -> tuple[Driver, Scripted, Counting]:
    """A run of two instruments with a bar a minute."""
    strategy, services = Scripted(script, orders), Counting({})
    series = {BTC: random_bars(n, 1), ETH: random_bars(n, 2)}
    settings = LoopSettings(symbols=(BTC, ETH), training="off", costs=COSTS)
    driver, _, _ = make_driver(
        folder,
        series,
        [],
        services,
        settings=settings,
        strategy_settings={},
        portfolios=[lambda: strategy],
    )
    assert run_driver(driver)
    return driver, strategy, services


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


SCRIPT: Script = {
    3: [(BTC, "open", "buy", 2.0, 0.0), (ETH, "open", "sell", 1.0, 0.0)],
    5: [(BTC, "add", "buy", 1.0, 0.0)],
    6: [(BTC, "reduce", "sell", 1.5, 7.0), (ETH, "close", "buy", 1.0, -4.0)],
    8: [(BTC, "close", "sell", 1.5, 11.0), (BTC, "open", "sell", 1.0, 0.0)],
    10: [(BTC, "close", "buy", 1.0, 1.0)],
}
ORDERS: Orders = {2: {BTC, ETH}, 7: {BTC}}


def test_cash_changes_by_what_was_executed_and_rows_name_the_decision(tmp_path: Path) -> None:
    driver, strategy, _ = run_script(tmp_path, SCRIPT, ORDERS)
    trades = rows_of(tmp_path, "trades.csv")
    actions = [(row["instrument"], row["action"], row["config_id"]) for row in trades]
    assert actions == [
        (BTC, "open", "p2"), (ETH, "open", "p2"), (BTC, "add", "p2"), (BTC, "reduce", "p2"),
        (ETH, "close", "p2"), (BTC, "close", "p2"), (BTC, "open", "p2"), (BTC, "close", "p2"),
    ]  # fmt: skip
    assert [row["model_version"] for row in trades] == ["2"] * 6 + ["7"] * 2
    assert [row["pnl"] for row in trades] == ["", "", "", "7.0", "-4.0", "11.0", "", "1.0"]
    cash = 10_000.0
    for row in trades:
        cash += float(row["pnl"] or 0.0) - float(row["fee"])
    assert driver.engine.cash == pytest.approx(cash)
    equity = rows_of(tmp_path, "equity.csv")
    assert [float(row["qty_BTC_USDT"]) for row in equity] == [
        0, 0, 2, 2, 3, 1.5, 1.5, -1, -1, 0, 0, 0,
    ]  # fmt: skip
    assert float(equity[-1]["equity"]) == driver.engine.cash
    paid = [told[1] for told in strategy.told]
    assert paid == [10_000.0, *(float(row["cash"]) for row in equity[:-1])]


def test_parameters_follow_the_policy_only_while_there_is_nothing_to_protect(
    tmp_path: Path,
) -> None:
    _, strategy, _ = run_script(tmp_path, SCRIPT, ORDERS)
    btc = [told[3][BTC] for told in strategy.told]
    eth = [told[3][ETH] for told in strategy.told]
    assert btc == [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 11, 12]
    assert eth == [1, 2, 2, 2, 2, 2, 7, 8, 9, 10, 11, 12]


def test_outcomes_are_of_whole_positions_and_known_after_the_close(tmp_path: Path) -> None:
    _, _, services = run_script(tmp_path, SCRIPT, ORDERS)
    trades = rows_of(tmp_path, "trades.csv")
    by_id = {one.trade_id: one for one in services.outcomes}
    assert set(by_id) == {
        "scripted/BTC_USDT/1", "scripted/BTC_USDT/2", "scripted/ETH_USDT/1",
    }  # fmt: skip
    first = [trades[i] for i in (0, 2, 3, 5)]
    fees = sum(float(row["fee"]) for row in first)
    notional = float(first[0]["notional"]) + float(first[1]["notional"])
    outcome = by_id["scripted/BTC_USDT/1"]
    assert outcome.net_pnl_bps == pytest.approx((18.0 - fees) / notional * 1e4)
    assert outcome.known_at_ms == START_MS + 8 * MINUTE_MS + 1
    assert by_id["scripted/BTC_USDT/2"].known_at_ms == START_MS + 10 * MINUTE_MS + 1


def test_other_books_count_in_the_equity_a_portfolio_sizes_with(tmp_path: Path) -> None:
    strategy = Scripted({4: [(BTC, "open", "buy", 1.0, 0.0)]}, {})
    strategy.profit = 25.0
    driver, _, _ = make_driver(
        tmp_path,
        {BTC: random_bars(300, 9)},
        [MomentumBreakout],
        OnePreset(
            dict(lookback=10, breakout_bps=0, stop_bps=40, take_profit_bps=80, max_hold_bars=60)
        ),
        settings=LoopSettings(training="off"),
        strategy_settings={"regimes": []},
        portfolios=[lambda: strategy],
    )
    run_driver(driver)
    rows = rows_of(tmp_path, "equity.csv")
    others = {minute: other for minute, _, other, _ in strategy.told}
    values = {int(row["timestamp"]): float(row["position_value"]) for row in rows}
    assert any(others.values())
    for minute, other in others.items():
        assert values[START_MS + minute * MINUTE_MS] == pytest.approx(other + 25.0)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({3: [(BTC, "close", "sell", 1.0, 0.0)]}, "must open and close in turn"),
        (
            {3: [(BTC, "open", "buy", 1.0, 0.0)], 4: [(BTC, "open", "buy", 1.0, 0.0)]},
            "must open and close in turn",
        ),
        ({3: [("DOGE/USDT", "open", "buy", 1.0, 0.0)]}, "failed in on_step"),
    ],
)
def test_a_portfolio_that_breaks_its_contract_is_named(
    tmp_path: Path, script: Script, said: str
) -> None:
    with pytest.raises(StrategyError, match=said) as caught:
        run_script(tmp_path, script, {})
    assert "scripted" in str(caught.value)


MEI_ALPHA = {
    **LOOSE,
    "trade.enable_pyramiding": True,
    "trade.add_min_profit_atr": 0.2,
    "trade.add_cooldown_minutes": 3,
    "trade.enable_partial_tp": True,
    "trade.tp_partial_min_notional_usd": 0.0,
    "trade.min_notional_usd": 50.0,
    "trade.min_atr_pct": 0.0,
}
ALPHA_SETTINGS = {"lookback": 30, "settings": MEI_ALPHA, "symbols": {}}
TIGHT = {"sl_atr_mult": 1.5, "tp_atr_mult": 1.2, "allocation_pct": 0.04}


def alpha_series() -> dict[str, BarArray]:
    """Three walks, two of them later, one with a hole."""
    sol = random_bars(420, 6, START_MS + 50 * MINUTE_MS, spread=0.003)
    return {
        ETH: random_bars(500, 4, spread=0.003),
        BTC: random_bars(450, 5, LATER, spread=0.003),
        "SOL/USDT": sol[(sol["timestamp"] < LATER) | (sol["timestamp"] > LATER + 9 * MINUTE_MS)],
    }


def run_alpha(
    folder: Path, settings: LoopSettings, **options: Any
) -> tuple[Driver, Checkpoints, OnePreset]:
    folder.mkdir(exist_ok=True)
    services = OnePreset(TIGHT)
    make: Callable[..., Any] = partial(
        make_driver,
        folder,
        alpha_series(),
        [],
        services,
        settings=settings,
        strategy_settings=ALPHA_SETTINGS,
        portfolios=[MeiAlpha],
    )
    driver, _, checkpoints = make(**options)
    return driver, checkpoints, services


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("equity.csv", "trades.csv")}


@pytest.fixture(params=["next_open", "signal_close"])
def alpha(request: pytest.FixtureRequest) -> LoopSettings:
    return LoopSettings(
        symbols=tuple(alpha_series()), training="off", chunk_rows=64, entry_fill=request.param
    )


def test_mei_alpha_gives_the_same_bytes_however_often_it_is_cut(
    tmp_path: Path, alpha: LoopSettings
) -> None:
    driver, _, _ = run_alpha(tmp_path / "whole", alpha)
    assert run_driver(driver)
    kinds = {row["action"] for row in rows_of(tmp_path / "whole", "trades.csv")}
    assert kinds == {"open", "add", "reduce", "close"}
    folder, offsets, saved = tmp_path / "cut", None, None
    for stop_after in (90, 37, 61, 5, 1, 1, 83, 10_000):
        asked = iter(range(1, 10**6))
        driver, checkpoints, _ = run_alpha(
            folder,
            alpha,
            offsets=offsets,
            should_stop=lambda asked=asked, last=stop_after: next(asked) >= last,
        )
        if saved is not None:
            driver.restore(saved["driver"])
        is_at_end = run_driver(driver)
        if is_at_end:
            break
        saved = json.loads(json.dumps(checkpoints.saved[-1], allow_nan=False))
        offsets = saved["offsets"]
        for name in ("equity.csv", "trades.csv"):
            with (folder / name).open("a") as file:
                file.write("rows after the checkpoint\n")
    assert is_at_end
    assert outputs(folder) == outputs(tmp_path / "whole")


def test_mei_alpha_gives_the_same_bytes_in_batches_of_any_size(
    tmp_path: Path, alpha: LoopSettings
) -> None:
    found = []
    for size in (1, 7, 400):
        driver, _, _ = run_alpha(tmp_path / str(size), alpha, batch_bars=size)
        run_driver(driver)
        found.append(outputs(tmp_path / str(size)))
    assert found[0] == found[1] == found[2]


def test_mei_alpha_knows_nothing_of_later_bars(tmp_path: Path, alpha: LoopSettings) -> None:
    driver, _, _ = run_alpha(tmp_path / "whole", alpha)
    run_driver(driver)
    whole = outputs(tmp_path / "whole")
    for cut in (140, 260, 411):
        cut_ms = START_MS + cut * MINUTE_MS
        past = {
            name: bars[bars["timestamp"] + MINUTE_MS <= cut_ms]
            for name, bars in alpha_series().items()
        }
        (tmp_path / str(cut)).mkdir()
        shorter, _, _ = make_driver(
            tmp_path / str(cut),
            past,
            [],
            OnePreset(TIGHT),
            settings=alpha,
            strategy_settings=ALPHA_SETTINGS,
            portfolios=[MeiAlpha],
        )
        run_driver(shorter)
        for name, content in outputs(tmp_path / str(cut)).items():
            lines = whole[name].splitlines()
            kept = [lines[0], *(row for row in lines[1:] if int(row.split(b",")[0]) <= cut_ms)]
            assert content.splitlines() == kept
