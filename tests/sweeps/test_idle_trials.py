"""Combinations that never trade count as trials, and make luck look no more harmless."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.sweeps.markets import write_market

AXES = "axes:\n- {path: trade.sl_atr_mult, values: [0.5, 1.0, 1.5, 2.0]}\n"
#: So near to the average a price never is, but for the first.
NEAR = ", ".join(["0.2", *(f"{n}.0e-12" for n in range(1, 91))])
IDLE = f"- {{path: thresholds.entry.max_dist_ema_fast, values: [{NEAR}]}}\n"
LINE = "sweep --config c.yaml --sweep-spec idle.yaml --output o.jsonl --rerun 400 --ledger"


def deflated(spec: str) -> dict[float, Any]:
    """Stop -> deflated ratio, of those of a sweep of `spec` that trade."""
    Path("idle.yaml").write_text(f"{spec}lookback: 100\n")
    assert main.run([*LINE.split(), "none"]) == 0
    reports = [json.loads(path.read_text()) for path in Path().glob("o.jsonl.best/[0-9]*.json")]
    return {
        one["overrides"]["trade.sl_atr_mult"]: one["deflated_sharpe_ratio"]
        for one in reports
        if one["total_trades"] > 0
    }


def test_combinations_that_never_trade_do_not_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_market(tmp_path)
    before, after = deflated(AXES), deflated(AXES + IDLE)
    rows = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert len(rows) == 364
    assert sum(row["total_trades"] > 0 for row in rows) == 4
    assert before.keys() == after.keys() == {0.5, 1.0, 1.5, 2.0}
    assert all(0.0 < after[stop] < before[stop] for stop in before)
    # What the ledger keeps is of those that trade, too.
    assert main.run([*LINE.split(), "kept.sqlite"]) == 0
    with contextlib.closing(sqlite3.connect("kept.sqlite")) as conn:
        kept = conn.execute("SELECT n_trials, n_sharpes FROM sweep_trials").fetchall()
    assert kept == [(364, 4)]


def test_luck_of_one_that_trades_among_many_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_market(tmp_path)
    found = deflated(AXES.replace("0.5, 1.0, 1.5, 2.0", "1.0") + IDLE)
    assert found == {1.0: None}
    assert "cannot be told: the variance of the trials is not defined" in capsys.readouterr().err
