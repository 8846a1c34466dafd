"""validate slippage-stress: levels that are replays, and what a drop is measured by."""

from __future__ import annotations

from typing import Any

import pytest

from mei.workflows.validate.slippage import level_text, stress_aggregate
from tests.validate.conftest import Bench

LINE = "validate slippage-stress --config c.yaml"


@pytest.mark.parametrize("semantics", ["strict", "reference"])
def test_a_level_is_a_replay_with_that_slippage(bench: Bench, semantics: str) -> None:
    flags = f"--semantics {semantics} --funding-db candles_dbs/funding_rates.db"
    assert bench.run(f"{LINE} {flags} --slippage-bps 12.5,40,12.5 --reject-flip-bps 40") == 0
    found = bench.json("slippage_stress/summary.json")
    assert [one["slippage_bps"] for one in found["levels"]] == [12.5, 40.0]
    pnls = []
    for level in ("12.5", "40"):
        line = f"replay --config c.yaml {flags} --slippage-bps {level} --output alone.json"
        assert bench.run(line) == 0
        alone = (bench.folder / "alone.json").read_bytes()
        assert (bench.folder / f"slippage_stress/{level}bps/replay.json").read_bytes() == alone
        pnls.append(bench.json("alone.json")["total_pnl"])
    assert pnls[0] > pnls[1]
    assert found["aggregate"]["baseline_total_pnl"] == pnls[0]
    assert found["aggregate"]["pnl_at_reject_bps"] == pnls[1]
    assert found["aggregate"]["slippage_fragility"] == (pnls[0] - pnls[1]) / 10_000.0


def test_the_usual_levels(bench: Bench) -> None:
    assert bench.run(f"{LINE} --out-dir a --output b.json") == 0
    found = bench.json("b.json")
    assert sorted(found) == ["aggregate", "config_path", "elapsed_s", "interval", "levels"]
    assert found["aggregate"]["baseline_bps"] == 10.0
    assert found["aggregate"]["reject_bps"] == 20.0
    names = [one["replay_report_path"] for one in found["levels"]]
    assert names == [f"a/{bps}bps/replay.json" for bps in (10, 20, 30)]
    assert not (bench.folder / "slippage_stress").exists()


def row(bps: float, pnl: float, drawdown: float) -> dict[str, Any]:
    """A level with these numbers, from 1,000 USD on."""
    metrics = {"total_pnl": pnl, "initial_balance": 1000.0, "max_drawdown_pct": drawdown}
    return {"slippage_bps": bps, "metrics": metrics}


@pytest.mark.parametrize(
    ("first", "second", "flips"),
    [(50.0, -25.0, True), (50.0, 0.0, False), (0.0, -5.0, False), (-1.0, -5.0, False)],
)
def test_a_profit_that_turns_is_rejected(first: float, second: float, flips: bool) -> None:
    rows = [row(10.0, first, 0.1), row(20.0, second, 0.3), row(30.0, -90.0, 0.2)]
    assert stress_aggregate(rows, 1) == {
        "baseline_bps": 10.0,
        "baseline_total_pnl": first,
        "reject_bps": 20.0,
        "pnl_at_reject_bps": second,
        "pnl_drop_at_reject_bps": first - second,
        "slippage_fragility": (first - second) / 1000.0,
        "max_drawdown_pct_worst": 0.3,
        "flip_sign_at_reject_bps": flips,
        "reject": flips,
    }


def test_levels_name_folders() -> None:
    assert [level_text(bps) for bps in (10.0, 12.5, 0.1)] == ["10", "12.5", "0.1"]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ("--reject-flip-bps 15", 2, "--reject-flip-bps must be one of --slippage-bps, 10, 20, 30"),
        ("--slippage-bps 0,20", 2, "must be numbers above 0 with commas, was '0,20'"),
        ("--slippage-bps 10,,20", 2, "must be numbers above 0"),
        ("--slippage-bps -5,20", 2, "must be numbers above 0"),
        ("--slippage-bps ten,20", 2, "must be numbers above 0"),
        ("--slippage-bps inf,20", 2, "must be a finite number"),
        ("--slippage-bps nan,20", 2, "must be a finite number"),
        ("--output c.yaml", 2, "is that of --config"),
        ("--output slippage_stress/10bps/replay.json", 2, "must be a file of its own"),
        ("--funding-db none.db", 1, "10 bps: none.db"),
        ("--candles-db none.db", 1, "none.db"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(bench: Bench, flags: str, code: int, words: str) -> None:
    assert bench.run(f"{LINE} {flags}") == code
    assert words in bench.err.splitlines()[-1]
    assert not (bench.folder / "slippage_stress/summary.json").exists()
