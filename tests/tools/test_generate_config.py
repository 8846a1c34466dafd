"""generate_config: rankings, conversions, and files whose replay is the row they were made of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from mei.data.config_id import config_id
from mei.data.strategy_yaml import load_layers
from mei.model.semantics import STRICT
from mei.model.yaml12 import dump_yaml, load_yaml, parse_yaml
from tests.tools.loading import exit_code, tool
from tests.workflows.databases import HOUR_MS, write_candles

BASE = """
version: v6.001   # a comment
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2}}
symbols:
  ETH: {trade: {sl_atr_mult: 9.0, leverage: 2.0}}
"""
SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [0.3, 2.5]}
- {path: indicators.ema_slow_window, values: [21.6, 34]}
- {path: thresholds.entry.macd_hist_entry_mode, values: [1, 2.0]}
- {path: trade.entry_min_confidence, values: [0, 1.9]}
- {path: trade.enable_pyramiding, values: [0.4]}
- {path: thresholds.entry.ave_avg_atr_window, values: [30.5]}
lookback: 200
"""


class Bench:
    """Runs the tool in a folder with a base and a file of rows."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""
        (folder / "base.yaml").write_text(BASE)

    def rows(self, *rows: dict[str, Any]) -> None:
        """Put rows into the file."""
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (self.folder / "rows.jsonl").write_text(text)

    def run(self, flags: str = "", base: str = "--base-config base.yaml") -> int:
        """The exit code; with the base and no filter unless told otherwise."""
        self._capsys.readouterr()
        line = f"--sweep-results rows.jsonl --min-trades 0 {base} {flags}"
        code = exit_code(tool("generate_config"), line.split())
        self.out, self.err = self._capsys.readouterr()
        return code

    def made(self, overrides: Any, flags: str = "") -> Any:
        """The document made of one row."""
        self.rows({"overrides": overrides, "total_pnl": 1.0, "total_trades": 30})
        assert self.run(flags) == 0, self.err
        return parse_yaml(self.out, "stdout")


@pytest.fixture(name="bench")
def _bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, capsys)


@pytest.mark.parametrize("rank", [1, 5])
def test_the_replay_of_the_file_is_the_row(bench: Bench, rank: int, tmp_path: Path) -> None:
    write_candles(tmp_path, "1h", HOUR_MS, 500)
    (tmp_path / "spec.yaml").write_text(SPEC)
    # Strict takes no number that has to be cut.
    sweep = "sweep --config base.yaml --sweep-spec spec.yaml --output rows.jsonl"
    assert main.run(sweep.split()) == 2
    sweep += " --semantics strict,config_errors=defaults"
    assert main.run(sweep.split()) == 0
    row = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[rank - 1])
    assert bench.run(f"--rank {rank} -o made.yaml") == 0
    replay = "replay --config made.yaml --lookback 200 --output report.json"
    assert main.run(replay.split()) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    names = set(row) - {"config_id", "overrides"}
    assert row["total_trades"] > 3
    assert {name: report[name] for name in names} == {name: row[name] for name in names}


def test_values_are_converted_as_the_sweep_converts_them(bench: Bench) -> None:
    overrides = {
        "thresholds.entry.macd_hist_entry_mode": 1.0,
        "trade.add_min_confidence": 1.9,
        "thresholds.entry.pullback_confidence": 7,
        "trade.max_open_positions": 3.6,
        "trade.enable_partial_tp": 0.2,
        "trade.enable_ssf_filter": 0.0,
        "trade.tp_atr_mult": 5,
        "trade.entry_cooldown_s": -2.0,
        "indicators.ave_avg_atr_window": 40.9,
    }
    document = bench.made(overrides)["global"]
    trade, entry = document["trade"], document["thresholds"]["entry"]
    assert entry["macd_hist_entry_mode"] == "sign"
    assert trade["add_min_confidence"] == "medium"
    assert entry["pullback_confidence"] == "high"
    assert trade["max_open_positions"] == 3
    assert trade["enable_partial_tp"] is True
    assert trade["enable_ssf_filter"] is False
    assert type(trade["tp_atr_mult"]) is float
    assert trade["entry_cooldown_s"] == 0
    assert entry["ave_avg_atr_window"] == document["indicators"]["ave_avg_atr_window"] == 40
    # What was there and is not swept stays, whatever its kind.
    assert trade["entry_min_confidence"] == "low"
    assert document["indicators"]["ema_slow_window"] == 21
    (bench.folder / "made.yaml").write_text(bench.out)
    layers = load_layers(Path("made.yaml"), live=False, semantics=STRICT, tell=print)
    assert layers.portfolio["trade.max_open_positions"] == 3


def test_both_forms_and_words_give_the_same_file(bench: Bench) -> None:
    mapping = {"trade.sl_atr_mult": 1.5, "trade.reverse_entry_signal": 1}
    first = bench.made(mapping)
    assert first == bench.made([["trade.sl_atr_mult", 1.5], ["trade.reverse_entry_signal", True]])
    assert first == bench.made({"trade.sl_atr_mult": 1.5, "trade.reverse_entry_signal": "True"})
    words = {"trade.add_min_confidence": "Low", "thresholds.entry.macd_hist_entry_mode": "none"}
    document = bench.made(words)["global"]
    assert document["trade"]["add_min_confidence"] == "low"
    assert document["thresholds"]["entry"]["macd_hist_entry_mode"] == "none"


def test_the_head_says_where_it_is_from(bench: Bench) -> None:
    bench.rows(
        {"overrides": {}, "total_pnl": 99.0},
        {
            "overrides": {"trade.sl_atr_mult": 1.5, "no.such": 2},
            "total_pnl": 12.345,
            "total_trades": 31,
            "win_rate": 0.5128,
            "profit_factor": None,
            "max_drawdown_pct": 0.0321,
        },
    )
    assert bench.run("--rank 2 --show-diff") == 0
    head = bench.out.splitlines()[:6]
    assert head[0].startswith("# Generated by generate_config.py at 20")
    document = parse_yaml(bench.out, "stdout")
    assert head[1:] == [
        f"# config_id: {config_id(document)}",
        "# Source: rows.jsonl rank #2 by pnl",
        "# Backtest: PnL $12.35 | 31 trades | WR 51.3% | PF inf | DD 3.2%",
        "# Base: base.yaml",
        "# Overrides applied: 1",
    ]
    assert "no" not in document["global"]
    assert "left out, no sweep can set it: no.such" in bench.err
    assert "  trade.sl_atr_mult: 2.0 (default) → 1.5" in bench.err
    assert "symbols.ETH.trade.sl_atr_mult was 9.0, set as well" in bench.err
    assert document["symbols"] == {"ETH": {"trade": {"sl_atr_mult": 1.5, "leverage": 2.0}}}


def test_the_live_layer_keeps_its_values(bench: Bench) -> None:
    (bench.folder / "base.yaml").write_text(f"{BASE}live: {{trade: {{leverage: 1.5}}}}\n")
    document = bench.made({"trade.leverage": 4})
    assert document["live"] == {"trade": {"leverage": 1.5}}
    assert document["global"]["trade"]["leverage"] == 4.0
    assert "live.trade.leverage stays 1.5 and wins with --live" in bench.err


def test_what_an_alias_shares_is_set_by_itself(bench: Bench) -> None:
    text = "global: {trade: &t {leverage: 3.0}}\nlive: {trade: *t}\n"
    (bench.folder / "base.yaml").write_text(text)
    document = bench.made({"trade.leverage": 4})
    assert document["global"]["trade"]["leverage"] == 4.0
    assert document["live"]["trade"]["leverage"] == 3.0


def scored(name: str, **fields: Any) -> dict[str, Any]:
    """A row by its name."""
    return {"config_id": name, "overrides": {"trade.leverage": 1}, "total_trades": 30} | fields


@pytest.mark.parametrize(
    ("sort_by", "order"),
    [
        ("pnl", "cabed"),
        ("dd", "bcaed"),
        ("pf", "bacde"),
        ("wr", "acbde"),
        ("sharpe", "cabde"),
        ("trades", "cabde"),
        # a: 9 + 40 + 15 - 10 = 54; b: 3 + 200 - 1 = 202; c, halved: (30 + 20 + 30 - 5) / 2 = 37.5;
        # d: nothing but a drawdown of 100 %, -100; e: -3 + 0 - 100.
        ("balanced", "bacde"),
    ],
)
def test_rows_are_sorted(bench: Bench, sort_by: str, order: str) -> None:
    bench.rows(
        scored(
            "a", total_pnl=30, profit_factor=2, win_rate=0.6, sharpe_ratio=1, max_drawdown_pct=0.1
        ),
        scored("b", total_pnl=10, profit_factor=None, win_rate=0.4, max_drawdown_pct=0.01),
        scored(
            "c", total_pnl=100, profit_factor=1, win_rate=0.5, sharpe_ratio=2, max_drawdown_pct=0.05
        )
        | {"total_trades": 19 if sort_by == "balanced" else 31},
        scored("d", total_pnl=None if sort_by in ("pnl", "dd") else 0),
        scored("e", total_pnl=-10 if sort_by == "balanced" else 0)
        | ({"max_drawdown_pct": 0.9} if sort_by == "dd" else {}),
    )
    assert bench.run(f"--show-top 5 --sort-by {sort_by}", base="") == 0
    lines = bench.out.splitlines()
    assert "".join(line[-1] for line in lines[1:]) == order
    assert len(lines) == 6
    assert bench.run(f"--show-top 2 --sort-by {sort_by}", base="") == 0
    assert len(bench.out.splitlines()) == 3


def test_few_trades_are_passed_over(bench: Bench) -> None:
    bench.rows(
        {"overrides": {"trade.leverage": 1}, "total_pnl": 9, "total_trades": 19},
        {"overrides": {"trade.leverage": 2}, "total_pnl": 1, "total_trades": 20},
    )
    assert bench.run("--min-trades 20") == 0
    assert parse_yaml(bench.out, "x")["global"]["trade"]["leverage"] == 2.0
    assert bench.run("--min-trades 0") == 0
    assert parse_yaml(bench.out, "x")["global"]["trade"]["leverage"] == 1.0
    assert bench.run("--min-trades 21") == 1
    assert "at least 21 trades, has 2 rows" in bench.err
    bench.run("--show-top 1")
    assert bench.err.startswith(" rank")
    assert bench.out.startswith("# Generated")


@pytest.mark.parametrize(
    ("row", "flags", "words"),
    [
        ({"trade.leverage": 1}, "--rank 2", "--rank must be 1 to 1, was 2"),
        ({"trade.leverage": 1}, "--rank 0", "was 0"),
        ({"trade.leverage": 1}, "--base-config none.yaml", "none.yaml is none"),
        ({"trade.leverage": 1}, "--sweep-results none.jsonl", "none.jsonl must be the JSON Lines"),
        ({}, "", "must have overrides to apply"),
        ({"lookback": 3}, "", "must name settings of Mei Alpha, lookback are none"),
        ({"trade.leverage": "x"}, "", "rows.jsonl:1: trade.leverage must be a number, was 'x'"),
        ({"trade.add_min_confidence": "hihg"}, "", "a number or one of low, medium, high"),
        ({"trade.leverage": [1]}, "", "must be a number, was a list"),
        ({"trade.leverage": 10**400}, "", "trade.leverage must be a finite number"),
        ({"trade.leverage": 0}, "", "global.trade.leverage must be above 0, was 0.0"),
        ({"indicators.ema_fast_window": 30}, "", "must be below indicators.ema_slow_window (21)"),
        ({"trade.tp_atr_mult": 1}, "-o no/made.yaml", "no/made.yaml must be writable"),
    ],
)
def test_what_stands_in_the_way_is_told(
    bench: Bench, row: dict[str, Any], flags: str, words: str
) -> None:
    bench.rows({"overrides": row, "total_pnl": 1.0, "total_trades": 30})
    assert bench.run(flags) == 1
    assert bench.out == ""
    assert words in bench.err
    assert bench.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "the root must be a mapping"),
        ("global: [1]", "global must be a mapping, was a list"),
        ("global: {trade: 3}", "global.trade must be a mapping, was 3"),
        ("symbols: 3", "symbols must be a mapping"),
        ("global: {trad: {}}", "did you mean 'trade'"),
        ("a: [", "base.yaml:1"),
    ],
)
def test_a_base_that_is_wrong_is_told(bench: Bench, text: str, words: str) -> None:
    (bench.folder / "base.yaml").write_text(text)
    bench.rows({"overrides": {"trade.leverage": 1}, "total_pnl": 1.0})
    assert bench.run() == 1
    assert words in bench.err


def test_a_base_is_needed_and_may_be_empty(bench: Bench) -> None:
    bench.rows({"overrides": {"trade.leverage": 1}, "total_pnl": 1.0})
    assert bench.run(base="") == 1
    assert "--base-config must name" in bench.err
    (bench.folder / "base.yaml").write_text("global:\n  trade:\n")
    assert bench.run("-o made.yaml") == 0
    assert load_yaml(Path("made.yaml")) == {"global": {"trade": {"leverage": 1.0}}}


def test_config_id_is_of_the_content_alone() -> None:
    one = parse_yaml("b: 1 # x\na: [1.5, yes]\n", "x")
    assert config_id(one) == config_id({"a": [1.5, "yes"], "b": 1})
    assert config_id({"a": 1}) != config_id({"a": 1.0})
    # echo -n '{"1":"é","a":null}' | sha256sum
    expected = "ebfc2016ba1f5524f62061759b482824879246b34ac35630e2a1a9f5bb41556c"
    assert config_id({"a": None, 1: "é"}) == expected


def test_text_that_looks_like_something_else_stays_text() -> None:
    words = "null ~ yes NaN .inf << = 12:30 2024-01-01 1_000"
    texts = f"{words} 1e-3 1e5 .5 1. 010 0o7 0x1F 0b1".split()
    document = {
        "texts": [*texts, "", "- x", "a: b", "# c", "é"],
        "numbers": [1, 1.0, 1e-5, 1e22, True, None, 2**64 - 1, -0.0, 0.1],
        **dict.fromkeys(texts, math.inf),
    }
    back = parse_yaml(dump_yaml(document), "x")
    assert repr(back) == repr(document)
