"""The guided search: the same trials for the same seed, however it is interrupted; better than chance."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mei.cli import main
from mei.metrics.replay import GATES, ReplayNumbers
from mei.workflows.sweep.tpe import Known, Told, objective
from tests.sweeps.markets import CONFIG, killed_at, write_market

SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [0.5, 6.0]}
- {path: indicators.ema_slow_window, values: [15, 60]}
- {path: trade.tp_atr_mult, values: [1.0, 9.0]}
- {path: filters.require_volume_confirmation, values: [0, 1]}
- {path: thresholds.entry.macd_hist_entry_mode, values: [0, 1, 2]}
- {path: trade.leverage, values: [2.0]}
constraints: ["trade.tp_atr_mult > trade.sl_atr_mult"]
lookback: 100
"""
FAST, SLOW = "indicators.ema_fast_window", "indicators.ema_slow_window"
LINE = "sweep --config c.yaml --sweep-spec spec.yaml --tpe --tpe-trials 50 --tpe-batch 16 --output"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a market and a spec of ranges."""
    monkeypatch.chdir(tmp_path)
    write_market(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def searched(folder: Path, output: str, *more: str) -> bytes:
    """The file of a search."""
    assert main.run([*LINE.split(), output, *more]) == 0
    return (folder / output).read_bytes()


def test_same_seed_same_trials_in_any_life(folder: Path) -> None:
    whole = searched(folder, "whole.jsonl")
    assert searched(folder, "again.jsonl", "--threads", "1") == whole
    assert searched(folder, "other.jsonl", "--tpe-seed", "43") != whole
    line = [*LINE.split(), "o.jsonl"]
    for fault in ("torn:2", "appended:1", "appended:1", "torn:1"):
        assert killed_at(folder, line, f"sweep.journal.{fault}")
    assert searched(folder, "o.jsonl") == whole
    assert list(folder.glob("*.journal")) == []


def test_values_are_of_their_kind_and_hold_the_constraints(folder: Path) -> None:
    rows = [json.loads(line) for line in searched(folder, "o.jsonl").splitlines()]
    assert sorted(row["config_id"] for row in rows) == [f"tpe_{n:04d}" for n in range(50)]
    assert [row["total_pnl"] for row in rows] == sorted(
        (r["total_pnl"] for r in rows), reverse=True
    )
    seen: dict[str, set[float]] = {}
    for row in rows:
        for path, value in row["overrides"].items():
            seen.setdefault(path, set()).add(value)
        assert row["overrides"]["trade.tp_atr_mult"] > row["overrides"]["trade.sl_atr_mult"]
    assert seen["filters.require_volume_confirmation"] == {0.0, 1.0}
    assert seen["thresholds.entry.macd_hist_entry_mode"] == {0.0, 1.0, 2.0}
    assert seen["trade.leverage"] == {2.0}
    windows = seen["indicators.ema_slow_window"]
    assert all(value == int(value) and 15 <= value <= 60 for value in windows)
    assert len(windows) > 5
    assert len(seen["trade.sl_atr_mult"]) > 40


def test_it_learns_from_what_it_was_told(folder: Path) -> None:
    """Later batches are better than the first, which is drawn blindly."""
    rows = [json.loads(line) for line in searched(folder, "o.jsonl").splitlines()]
    by_number = {int(row["config_id"][4:]): row["total_pnl"] for row in rows}
    first = [by_number[n] for n in range(16)]
    last = [by_number[n] for n in range(32, 50)]
    assert sorted(last)[len(last) // 2] > sorted(first)[len(first) // 2]


def test_a_row_is_the_replay_of_its_settings(folder: Path, capsys: Any) -> None:
    searched(folder, "o.jsonl")
    assert "TPE: 50 trials in batches of 16 over 6 axes, seed 42" in capsys.readouterr().err
    best = sorted((folder / "o.jsonl.best").glob("[0-9]*.json"))
    assert [path.name[:7] for path in best] == ["01_tpe_", "02_tpe_", "03_tpe_"]


def test_constraints_without_room(folder: Path, capsys: Any) -> None:
    (folder / "spec.yaml").write_text(
        SPEC.replace("tp_atr_mult > trade", "tp_atr_mult > 19 * trade")
    )
    assert main.run([*LINE.split(), "o.jsonl"]) == 2
    assert "must leave room to search in" in capsys.readouterr().err


def test_a_narrow_room_is_searched(folder: Path) -> None:
    """The sampler's own draws hit half a percent of the range too seldom."""
    narrow = SPEC.replace('"trade.tp_atr_mult > trade.sl_atr_mult"', '"trade.sl_atr_mult > 5.97"')
    (folder / "spec.yaml").write_text(narrow)
    rows = [json.loads(line) for line in searched(folder, "o.jsonl").splitlines()]
    assert len(rows) == 50
    assert all(row["overrides"]["trade.sl_atr_mult"] > 5.97 for row in rows)


def test_few_trades_are_believed_by_half_and_losses_in_full() -> None:
    def numbers(pnl: float, trades: int) -> ReplayNumbers:
        money = dict.fromkeys(
            ("avg_trade_pnl_usd", "avg_win_usd", "avg_loss_usd", "total_fees_usd", "sharpe_ratio"),
            0.0,
        )
        return ReplayNumbers(
            initial_balance_usd=0.0,
            final_balance_usd=pnl,
            total_trades=trades,
            total_wins=0,
            total_losses=0,
            profit_factor=0.0,
            total_signals=0,
            max_drawdown_usd=0.0,
            max_drawdown_frac=0.0,
            gates=dict.fromkeys(GATES, 0),
            **money,
        )

    assert objective(numbers(100.0, 20)) == 100.0
    assert objective(numbers(100.0, 19)) == 50.0
    assert objective(numbers(-100.0, 19)) == -100.0
    assert objective(numbers(float("nan"), 30)) == float("-inf")


@pytest.mark.parametrize("n", [3, 10, 40])
def test_the_best_and_the_latest_are_known(n: int) -> None:
    rng = random.Random(7)
    told = [Told(i, float(rng.choice((-math.inf, 1.0, 2.0, 3.0))), np.zeros(1)) for i in range(n)]
    known = Known(most_best=8, most_latest=5)
    for one in told:
        known.add(one)
    best = sorted(told, key=lambda one: (-one.score, one.number))[:8]
    expected = sorted({one.number for one in (*best, *told[-5:])})
    assert [one.number for one in known.kept()] == expected


@pytest.mark.parametrize(
    ("axes", "constraint"),
    [
        ({FAST: [8, 30], SLOW: [21, 50]}, f"{FAST} != 30 or {SLOW} == 50"),
        # Against the file's slow window, 21.
        ({FAST: [8, 40]}, f"{FAST} != 40"),
    ],
)
def test_what_a_file_may_not_have_is_not_tried(
    folder: Path, axes: dict[str, list[int]], constraint: str
) -> None:
    """The values listed go together, not all that lie between them."""
    swept = [{"path": path, "values": values} for path, values in axes.items()]
    spec = {"axes": swept, "constraints": [constraint], "lookback": 100}
    (folder / "spec.yaml").write_text(json.dumps(spec))
    rows = [json.loads(line) for line in searched(folder, "o.jsonl").splitlines()]
    assert len(rows) == 50
    base = yaml.safe_load(CONFIG)
    tried = set()
    for row in rows:
        windows = {path.partition(".")[2]: int(value) for path, value in row["overrides"].items()}
        indicators = base["global"]["indicators"] | windows
        assert indicators["ema_fast_window"] < indicators["ema_slow_window"]
        tried.add(tuple(indicators.items()))
    assert len(tried) > 5
    for windows in tried:
        config = {"global": base["global"] | {"indicators": dict(windows)}}
        (folder / "one.yaml").write_text(json.dumps(config))
        line = f"replay --config {folder / 'one.yaml'} --lookback 100 --output one.json"
        assert main.run(line.split()) == 0
