"""Mei Alpha in the learning loop trades what its replay trades, bit for bit; its settings, and what they refuse."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mei.cli.main import run
from mei.data.research import read_series, scan_series
from mei.data.sample import sample_bars
from mei.data.strategy_faults import written
from mei.engines.mei_alpha import SymbolConfigs, replay
from mei.model.replay import ACTIONS, ReplayInputs, ReplayResult
from mei.model.semantics import STRICT
from mei.policy.schemas import load_schemas
from mei.rules.mei_alpha.codes import END_OF_BACKTEST
from mei.rules.mei_alpha.keys import BY_PATH, DEFAULTS
from mei.rules.mei_alpha.reasons import reason_text
from mei.strategies.mei_alpha import MeiAlpha
from tests.backtest_runner.conftest import ROOT, Bench
from tests.backtest_runner.test_replay_equality import as_action, write_candles
from tests.momentum_breakout.market import candles_of, with_holes
from tests.oracles.mei_alpha.cases import LOOSE

#: The fee of the replay is that of the rules.
FEE_BP, SLIPPAGE_BP, CASH = 3.5, 0.9, 12_345.0
SYMBOLS = ("ETH/USDT", "BTC/USDT", "SOL/USDT")
END_TS = "2024-01-02T08:00"
LIVELY = {
    path: value
    for path, value in {
        **LOOSE,
        "trade.enable_pyramiding": True,
        "trade.add_min_profit_atr": 0.2,
        "trade.add_cooldown_minutes": 3,
        "trade.enable_partial_tp": True,
        "trade.tp_partial_min_notional_usd": 0.0,
        "trade.min_notional_usd": 50.0,
        "trade.min_atr_pct": 0.0,
        "filters.require_btc_alignment": True,
        "market_regime.enable_regime_filter": True,
    }.items()
    if value != DEFAULTS[path]
}
PRESET = {
    "allocation_pct": 0.04,
    "sl_atr_mult": 1.7,
    "tp_atr_mult": 1.9,
    "breakeven_start_atr": 0.6,
    "trailing_start_atr": 0.9,
    "trailing_distance_atr": 0.7,
}


def as_tree(settings: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as the sections of a strategy file."""
    tree: dict[str, Any] = {}
    for path, value in settings.items():
        *sections, name = path.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = written(BY_PATH[path].kind, value)
    return tree


def config_folder(bench: Bench, section: dict[str, Any] | None, **files: Any) -> str:
    """A config folder with this section of mei_alpha, a preset `wanted`, and files of Mei Alpha."""
    folder = bench.folder / "config"
    shutil.copytree(ROOT / "config", folder)
    path = folder / "strategy_schemas" / "mei_alpha.yaml"
    schema = yaml.safe_load(path.read_text())
    schema["presets"]["wanted"] = PRESET
    path.write_text(yaml.safe_dump(schema, sort_keys=False))
    (folder / "strategy.yaml").write_text(yaml.safe_dump({"mei_alpha": section}))
    for name, document in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return str(folder)


@pytest.fixture(scope="module")
def three_symbols(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of three symbols with an outage in common and holes of their own; one begins later."""
    folder = tmp_path_factory.mktemp("three-symbols")
    series = {
        name: with_holes(sample_bars(name, days=2), i, 0.01) for i, name in enumerate(SYMBOLS)
    }
    series["SOL/USDT"] = series["SOL/USDT"][200:]
    write_candles(folder, series)
    return folder


def run_loop(bench: Bench, research: Path, **environment: str) -> None:
    """One run over three symbols that must succeed."""
    settings = {
        "STRATEGIES": "mei_alpha",
        "SYMBOLS": ",".join(SYMBOLS),
        "RESEARCH_DIR": str(research),
        "END_TS": END_TS,
        "FEE_BP": str(FEE_BP),
        "SLIPPAGE_BP": str(SLIPPAGE_BP),
        "INITIAL_CASH": str(CASH),
    }
    code, _, err = bench.loop(**(settings | environment))
    assert code == 0, err


def replay_of(bench: Bench, configs: SymbolConfigs, fill: Any, lookback: int) -> ReplayResult:
    """The replay over the same candles."""
    series = {}
    for symbol in SYMBOLS:
        end_ms = bench.end_ms(END_TS)
        scan = scan_series(bench.research, symbol, "1m", "keep", None, end_ms)
        series[symbol] = np.concatenate(list(read_series(scan)))
    inputs = ReplayInputs(candles_of(series), initial_balance_usd=CASH, lookback=lookback)
    return replay(inputs, configs, replace(STRICT, entry_fill=fill))


def actions_of(result: ReplayResult) -> list[tuple[Any, ...]]:
    """The replay's trades in the loop's words, slippage apart; not those of its end."""
    actions = []
    for trade in result.trades[result.trades["reason"] != END_OF_BACKTEST]:
        kind, _, side = ACTIONS[trade["action"]].partition("_")
        is_buy = (kind in ("OPEN", "ADD")) == (side == "LONG")
        details = (float(trade["detail_1"]), float(trade["detail_2"]))
        words = (
            result.symbols[trade["symbol"]],
            kind.lower(),
            "buy" if is_buy else "sell",
            reason_text(int(trade["reason"]), int(trade["confidence"]), *details),
        )
        qty, price = float(trade["qty"]), float(trade["price"])
        money = (qty * price, float(trade["fee_usd"]), float(trade["pnl_usd"]))
        actions.append((int(trade["timestamp_ms"]), *words, qty, price, *money))
    return actions


def rows_of(bench: Bench, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(bench.outputs()[name].decode())))


@pytest.mark.parametrize("fill", ["next_open", "signal_close"])
@pytest.mark.parametrize("is_file", [False, True])
def test_it_is_the_replay(bench: Bench, three_symbols: Path, fill: str, is_file: bool) -> None:
    own = {"trade.leverage_high": 2.0, "indicators.rsi_window": 9}
    costs = {"trade.slippage_bps": SLIPPAGE_BP}
    tuned = costs | {f"trade.{name}": value for name, value in PRESET.items()}
    whole = {**DEFAULTS, **LIVELY, **tuned}
    if is_file:
        document = {"global": as_tree(LIVELY), "symbols": {"ETH": as_tree(own)}}
        section: dict[str, Any] = {"strategy_file": "alpha.yaml", "trade.leverage_low": 1.5}
        config = config_folder(bench, section | {"lookback": 60}, alpha=document)
        whole["trade.leverage_low"] = 1.5
        configs = SymbolConfigs(whole, {"ETH/USDT": {**whole, **own}})
    else:
        words = {path: written(BY_PATH[path].kind, value) for path, value in LIVELY.items()}
        config = config_folder(bench, {**words, "lookback": 60})
        configs = SymbolConfigs(whole)
    run_loop(
        bench,
        three_symbols,
        CONFIG_DIR=config,
        POLICY="fixed:wanted",
        TRAINING="off",
        ENTRY_FILL=fill,
    )
    result = replay_of(bench, configs, fill, 60)
    trades = rows_of(bench, "trades.csv")
    found = [as_action(row)[:-1] for row in trades]
    assert found == actions_of(result)
    assert {row["action"] for row in trades} == {"open", "add", "reduce", "close"}
    assert {row["config_id"] for row in trades} == {"wanted"}
    assert len(trades) > 100
    equity = rows_of(bench, "equity.csv")
    n_points = len(equity)
    assert result.equity_ms.tolist()[:n_points] == [int(row["timestamp"]) for row in equity]
    assert result.equity_usd.tolist()[:n_points] == [float(row["equity"]) for row in equity]
    assert len(result.equity_ms) - n_points in (0, 1)
    for row in trades:
        paid = float(row["notional"]) * SLIPPAGE_BP / 1e4
        assert float(row["slippage"]) == pytest.approx(paid, rel=2e-4)


def test_it_learns_beside_momentum_and_every_trade_is_told(
    bench: Bench, three_symbols: Path
) -> None:
    words = {path: written(BY_PATH[path].kind, value) for path, value in LIVELY.items()}
    config = config_folder(bench, {**words, "lookback": 60})
    strategies = "momentum_breakout,mei_alpha"
    run_loop(bench, three_symbols, CONFIG_DIR=config, STRATEGIES=strategies, DECISION_LOG="true")
    trades = [row for row in rows_of(bench, "trades.csv") if row["strategy"] == "mei_alpha"]
    presets = {row["config_id"] for row in trades}
    assert {"tight", "medium", "wide"} <= presets
    assert {row["model_version"] for row in trades} >= {"", "1"}
    summary = json.loads(bench.outputs()["summary.json"])
    closes = sum(row["action"] == "close" for row in rows_of(bench, "trades.csv"))
    assert summary["trades"]["n_trades"]["value"] == closes
    opens = sum(row["action"] == "open" for row in rows_of(bench, "trades.csv"))
    assert summary["costs"]["n_open_positions"]["value"] == opens - closes
    cash = CASH
    for row in rows_of(bench, "trades.csv"):
        cash += float(row["pnl"] or 0.0) - float(row["fee"])
    assert float(rows_of(bench, "equity.csv")[-1]["cash"]) == pytest.approx(cash)
    decided = rows_of(bench, "decisions.csv")
    assert {row["strategy"] for row in decided} == {"momentum_breakout", "mei_alpha"}
    shown = {
        (row["timestamp"], row["instrument"]): row["preset"]
        for row in decided
        if row["strategy"] == "mei_alpha"
    }
    for row in trades:
        if row["action"] != "open":
            assert shown[row["timestamp"], row["instrument"]] == row["config_id"]
    first = bench.outputs()
    run_loop(bench, three_symbols, STRATEGIES=strategies, RERUN="true", BATCH_BARS="61")
    again = bench.outputs()
    for name in ("equity.csv", "trades.csv", "decisions.csv", "summary.json"):
        assert again[name] == first[name], name


def test_prefix_invariance(
    bench: Bench, three_symbols: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {path: written(BY_PATH[path].kind, value) for path, value in LIVELY.items()}
    for name, value in {
        "STRATEGIES": "mei_alpha",
        "SYMBOLS": ",".join(SYMBOLS),
        "RESEARCH_DIR": str(three_symbols),
        "END_TS": "2024-01-01T13:00",
        "CONFIG_DIR": config_folder(bench, {**words, "lookback": 60}),
    }.items():
        bench.setenv(name, value)
    capsys.readouterr()
    code = run(["verify", "prefix-invariance", "--cuts", "1"])
    out = capsys.readouterr()
    assert code == 0, out.err
    assert "prefix invariance holds: 1 bars, 2 runs" in out.out


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"trade.sl_atr_mlt": 2.0}, "did you mean 'trade.sl_atr_mult'?"),
        ({"trade.leverage": "much"}, "mei_alpha.trade.leverage must be a number, was 'much'"),
        ({"trade.entry_min_confidence": "some"}, "must be one of low, medium, high"),
        ({"trade.slippage_bps": 1.0}, "a run takes it from SLIPPAGE_BP"),
        ({"indicators.rsi_window": 0}, "indicators.rsi_window must be"),
        ({"lookback": 1.5}, "mei_alpha.lookback must be a whole number"),
        ({"engine.exit_interval": "1m"}, "engine.exit_interval must be empty in the loop"),
        ({"strategy_file": "absent.yaml"}, "a strategy file must exist"),
        ({"strategy_file": "wrong.yaml"}, "global.trade.leverag is not a setting"),
    ],
)
def test_wrong_settings_are_one_line(bench: Bench, section: dict[str, Any], said: str) -> None:
    config = config_folder(bench, section, wrong={"global": {"trade": {"leverag": 3}}})
    code, _, err = bench.loop(STRATEGIES="mei_alpha", CONFIG_DIR=config)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_layers_of_symbols_that_a_run_has_not_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layers = ", ".join(f"{name}: {{trade: {{leverage: 2}}}}" for name in ("BTC", "ETHUSDT", "XRP"))
    (tmp_path / "alpha.yaml").write_text(f"symbols: {{{layers}}}\n")
    configured = {"strategy_file": "alpha.yaml"}
    settings = MeiAlpha.resolved(configured, tmp_path, ("BTC/USDT", "BTC/USDC", "ETH/USDT"))
    assert set(settings["symbols"]) == {"BTC/USDT", "BTC/USDC", "ETH/USDT"}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/alpha.yaml: without effect, SYMBOLS has no such symbol: symbols.XRP"
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [("max_open_positions", "found 'max_open_positions'"), ("slippage_bps", "set by SLIPPAGE_BP")],
)
def test_a_preset_sets_sizing_and_exits_of_a_symbol_only(
    bench: Bench, name: str, said: str
) -> None:
    config = config_folder(bench, {})
    path = Path(config) / "strategy_schemas" / "mei_alpha.yaml"
    schema = yaml.safe_load(path.read_text())
    schema["parameters"][name] = {"type": "int", "min": 0, "max": 9}
    for values in schema["presets"].values():
        values[name] = 3
    path.write_text(yaml.safe_dump(schema, sort_keys=False))
    code, _, err = bench.loop(STRATEGIES="mei_alpha", CONFIG_DIR=config, TRAINING="off")
    assert code == 2
    assert said in err


def test_the_preset_medium_is_the_built_in_configuration() -> None:
    presets = load_schemas()["mei_alpha"].presets
    assert list(presets) == ["tight", "medium", "wide"]
    assert dict(presets["medium"]) == {
        name: DEFAULTS[f"trade.{name}"] for name in presets["medium"]
    }
    for name in ("sl_atr_mult", "tp_atr_mult", "trailing_start_atr", "trailing_distance_atr"):
        assert presets["tight"][name] < presets["medium"][name] < presets["wide"][name]
