"""Which rows become candidates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mei.model.errors import DataError
from mei.workflows.factory.shortlist import Shortlist, shortlist

BASE: dict[str, Any] = {"global": {"trade": {"sl_atr_mult": 2.0}}}


def row(sl: float, drawdown: float, pnl: float, trades: int = 50, **more: Any) -> dict[str, Any]:
    return {
        "overrides": {"trade.sl_atr_mult": sl},
        "total_pnl": pnl,
        "max_drawdown_pct": drawdown,
        "profit_factor": 1.0,
        "sharpe_ratio": 0.0,
        "win_rate": 0.5,
        "total_trades": trades,
    } | more


def listed(folder: Path, rows: list[dict[str, Any]], **more: int) -> Shortlist:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    terms = {"per_mode": 2, "max_rank": 10, "min_trades": 20} | more
    return shortlist(str(path), BASE, "base.yaml", **terms)


def found(which: Shortlist) -> list[tuple[float, list[str]]]:
    return [
        (one.made.document["global"]["trade"]["sl_atr_mult"], one.places)
        for one in which.candidates
    ]


def test_both_orders_each_file_once(tmp_path: Path) -> None:
    # balanced = 0.3 PnL + 20 x 1 + 15 x 0 - 100 DD: 3.0 first (49), 4.0 (43), 1.0 (22), 2.0 (21)
    rows = [row(1.0, 0.01, 10.0), row(2.0, 0.02, 10.0), row(3.0, 0.1, 130.0), row(4.0, 0.1, 110.0)]
    which = listed(tmp_path, rows)
    assert found(which) == [
        (1.0, ["dd #1"]),
        (2.0, ["dd #2"]),
        (3.0, ["balanced #1"]),
        (4.0, ["balanced #2"]),
    ]
    assert which.passed_over == []


def test_a_file_found_twice_takes_no_place(tmp_path: Path) -> None:
    rows = [row(1.0, 0.01, 900.0), row(2.0, 0.02, 800.0), row(3.0, 0.03, 700.0), row(4.0, 0.9, 9.0)]
    rows.append(row(5.0, 0.95, 8.0))
    assert found(listed(tmp_path, rows)) == [
        (1.0, ["dd #1", "balanced #1"]),
        (2.0, ["dd #2", "balanced #2"]),
        (3.0, ["balanced #3"]),
        (4.0, ["balanced #4"]),
    ]
    # 2.0 and 2 are the same file: a sweep counts in floats, so does the file.
    twice = [row(1.0, 0.01, 9.0), row(1, 0.01, 9.0), row(2.0, 0.02, 1.0)]
    assert found(listed(tmp_path, twice, per_mode=1, max_rank=2)) == [
        (1.0, ["dd #1", "balanced #1", "balanced #2"])
    ]


def test_no_rank_beyond_the_largest(tmp_path: Path) -> None:
    rows = [row(1.0, 0.01, 10.0), row(2.0, 0.02, 10.0), row(3.0, 0.03, 10.0)]
    assert [one for one, _ in found(listed(tmp_path, rows, max_rank=1))] == [1.0]
    assert [one for one, _ in found(listed(tmp_path, rows, per_mode=9))] == [1.0, 2.0, 3.0]


def test_few_trades_have_no_rank(tmp_path: Path) -> None:
    rows = [row(1.0, 0.01, 10.0, trades=19), row(2.0, 0.02, 10.0, trades=20)]
    assert found(listed(tmp_path, rows)) == [(2.0, ["dd #1", "balanced #1"])]
    none = listed(tmp_path, rows, min_trades=21)
    assert none.candidates == []
    assert [line.split(":")[0] for line in none.passed_over] == ["dd", "balanced"]
    assert "at least 21 trades" in none.passed_over[0]
    assert len(listed(tmp_path, rows, min_trades=0).candidates) == 2


def test_what_makes_no_file_is_passed_over_and_told(tmp_path: Path) -> None:
    rows = [
        row(1.0, 0.001, 10.0, overrides={}),
        row(1.0, 0.002, 10.0, overrides={"trade.sl_atr_mult": -1.0}),
        row(1.0, 0.003, 10.0, overrides=[["trade.sl_atr_mult", 5.0]]),
    ]
    which = listed(tmp_path, rows, per_mode=5)
    assert found(which) == [(5.0, ["dd #3", "balanced #3"])]
    assert which.passed_over[0].startswith("dd #1: ")
    assert "has no overrides" in which.passed_over[0]
    assert "sl_atr_mult must be" in which.passed_over[1]
    assert len(which.passed_over) == 4


def test_a_row_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n[\n")
    with pytest.raises(DataError, match=r"rows.jsonl:1: "):
        shortlist(str(tmp_path / "rows.jsonl"), BASE, "b", per_mode=1, max_rank=1, min_trades=0)
