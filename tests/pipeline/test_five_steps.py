"""Sweep, deploy, trade on paper, export, replay from there: what the backtest said is what the trader does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paper_trader.market import make_market
from tests.pipeline.paper import SPEC, House, Trader, deals, hour_ms, replayed

pytestmark = pytest.mark.slow

N_HOURS = 420
SWEPT, EXPORTED = 300, 370


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Candles of the sweep are there; the rest of the feed comes later."""
    market = make_market(tmp_path / "candles_dbs", 12, N_HOURS)
    market.feed(hour_ms(SWEPT))
    return House(tmp_path, market)


@pytest.fixture
def traders(house: House) -> Iterator[list[Trader]]:
    """Processes of a test."""
    started: list[Trader] = []
    yield started
    for trader in started:
        trader.kill()


def test_from_sweep_to_paper_and_back(house: House, traders: list[Trader]) -> None:
    # 1 Sweep.
    sweep = ("sweep", "--config", "config/strategy_overrides.yaml", "--sweep-spec", "spec.yaml")
    house.run(*sweep, "--interval", "1h", "--output", "sweep.jsonl")
    best = json.loads((house.folder / "sweep.jsonl").read_text().splitlines()[0])

    # 2 Deploy: shown first, then done; the strategy file then gives the row's numbers.
    before = house.strategy.read_bytes()
    deploy = ("deploy_sweep.py", "--sweep-results", "sweep.jsonl", "--rank", "1")
    shown = house.run(*deploy, "--dry-run").stderr
    assert "trade.sl_atr_mult: 1.5 →" in shown
    assert house.strategy.read_bytes() == before
    assert not (house.folder / "strategy_changelog.json").exists()
    house.run(*deploy, "--close-paper", "--yes")
    backups = list(house.strategy.parent.glob("*.bak.*"))
    assert [backup.read_bytes() for backup in backups] == [before]
    changelog = json.loads((house.folder / "strategy_changelog.json").read_text())
    assert changelog["current_version"] == "v6.001"
    report = house.replay("deployed.json", "--end-ts", str(hour_ms(SWEPT)))
    assert report["total_pnl"] == best["total_pnl"]
    assert report["total_trades"] == best["total_trades"]

    # 3 Paper: the trader starts where the sweep's candles end and sees the feed as it comes.
    trader = Trader(house)
    traders.append(trader)
    assert trader.state()["as_of_ms"] == hour_ms(SWEPT)
    for number in (310, 311, 335, EXPORTED):
        state = trader.come(hour_ms(number))
    assert len(state["positions"]) > 0
    n_before = len(trader.trades())
    assert n_before > 10

    # 4 Export, in both versions.
    export = ("export_state.py", "--source", "paper", "--output")
    house.run(*export, "v2.json", "--format", "v2")
    house.run(*export, "v1.json")
    held = json.loads((house.folder / "v1.json").read_text())["positions"]
    assert {one["symbol"] for one in held} == {one["symbol"] for one in state["positions"]}

    # The trader dies and comes back, and trades the rest of the feed.
    trader.kill()
    trader = Trader(house)
    traders.append(trader)
    final = trader.come(hour_ms(N_HOURS))

    # 5 Replay from the export: what came after on paper, trade for trade, to the last bit.
    second = house.replay("second.json", "--init-state", "v2.json")
    paper = deals(trader.trades())
    assert replayed(second) == paper[n_before:]
    assert len(paper) - n_before > 10
    # And all of it is what an uninterrupted replay gives, trades and curve.
    whole = house.replay("whole.json", "--start-ts", str(hour_ms(SWEPT) + 1))
    assert replayed(whole) == paper
    *curve, _ = whole["equity_curve"]
    assert curve[-1] == [hour_ms(N_HOURS), final["equity_usd"]]
    # Version 1 carries balance and positions.
    first = house.replay(
        "first.json", "--init-state", "v1.json", "--start-ts", str(hour_ms(EXPORTED) + 1)
    )
    assert first["initial_balance"] == pytest.approx(state["balance_usd"], abs=1e-4)


def test_another_choice_is_deployed_while_the_trader_runs(
    house: House, traders: list[Trader]
) -> None:
    windows = SPEC.replace(
        "lookback: 30", "- {path: indicators.ema_slow_window, values: [9, 12]}\nlookback: 30"
    )
    (house.folder / "spec.yaml").write_text(windows)
    sweep = ("sweep", "--config", "config/strategy_overrides.yaml", "--sweep-spec", "spec.yaml")
    house.run(*sweep, "--interval", "1h", "--output", "sweep.jsonl")
    rows = [json.loads(line) for line in (house.folder / "sweep.jsonl").read_text().splitlines()]
    rank = 1 + next(
        i for i, row in enumerate(rows) if row["overrides"]["indicators.ema_slow_window"] == 12
    )
    trader = Trader(house)
    traders.append(trader)
    state = trader.come(hour_ms(340))
    assert state["positions"]
    n_before = len(trader.trades())

    deploy = ("deploy_sweep.py", "--sweep-results", "sweep.jsonl", "--rank", str(rank))
    house.run(*deploy, "--close-paper", "--yes")
    closed = trader.trades()[n_before:]
    assert {row["symbol"] for row in closed} == {one["symbol"] for one in state["positions"]}
    assert {(row["type"], row["action"], row["reason"]) for row in closed} == {
        ("SYSTEM", "CLOSE", "deploy_sweep close")
    }
    assert trader.state()["positions"] == []

    after = trader.come(hour_ms(341))
    assert after["config_id"] != state["config_id"]
    assert (after["config_fault"], after["last_error"]) == ("", "")
    # Flat, it goes on as a replay does that begins here with its balance and the new file.
    last = trader.come(hour_ms(N_HOURS))
    assert last["balance_usd"] != after["balance_usd"]
