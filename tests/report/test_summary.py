"""summary.json: what it holds agrees with the files, and broken files are named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mei.learning.gate import Verdict
from mei.model.errors import OutputError
from mei.report.labels import format_duration, format_number, headlines
from mei.report.manifest import (
    canonical_json,
    changed_outputs,
    output_hashes,
    read_json,
    write_json,
)
from mei.report.rows import TRADES_HEADER, equity_header, equity_row
from mei.report.summary import SCORE_FIELDS, build_summary
from tests.report.conftest import MadeUpRun, write_run


def summary_of(run: MadeUpRun, **more: object) -> dict:  # type: ignore[type-arg]
    return build_summary(
        run.equity_csv,
        run.trades_csv,
        run.trainings,
        run.settings,
        run=run.run,
        **more,  # type: ignore[arg-type]
    )


def test_profit_of_the_trades_is_the_change_of_equity(made_up_run: MadeUpRun) -> None:
    summary = summary_of(made_up_run)
    performance, trades = summary["performance"], summary["trades"]
    change = performance["final_equity"]["value"] - performance["initial_equity"]["value"]
    assert trades["net_pnl"]["value"] == pytest.approx(change)
    assert trades["n_trades"]["value"] == 50
    assert summary["costs"]["n_actions"]["value"] == 100
    assert summary["costs"]["n_open_positions"]["value"] == 0


def test_costs_keep_fees_and_slippage_apart(made_up_run: MadeUpRun) -> None:
    costs = summary_of(made_up_run)["costs"]
    notional = costs["traded_notional"]["value"]
    assert costs["fees"]["value"] == pytest.approx(notional * 1e-4)
    assert costs["slippage"]["value"] == pytest.approx(notional * 2e-4, rel=1e-3)


def test_exposure_is_the_share_of_bars_held(made_up_run: MadeUpRun) -> None:
    assert summary_of(made_up_run)["performance"]["exposure"]["value"] == pytest.approx(25 / 60)


def test_positions_that_cancel_out_still_are_exposure(tmp_path: Path) -> None:
    symbols = ["BTC/USDT", "ETH/USDT"]
    rows = [
        equity_row(60_000, 100.0, 100.0, 0.0, [10.0, None], [0.0, 0.0]),
        equity_row(120_000, 100.0, 100.0, 0.0, [10.0, 5.0], [1.0, -2.0]),
    ]
    equity_csv, trades_csv = tmp_path / "equity.csv", tmp_path / "trades.csv"
    equity_csv.write_text("\n".join([equity_header(symbols), *rows]) + "\n")
    trades_csv.write_text(f"{TRADES_HEADER}\n")
    summary = build_summary(equity_csv, trades_csv, [], {"initial_cash": 100}, run={})
    assert summary["performance"]["exposure"]["value"] == 0.5


def test_annualised_numbers_carry_their_periods(made_up_run: MadeUpRun) -> None:
    performance = summary_of(made_up_run, periods_per_year=252)["performance"]
    names = [name for name, number in performance.items() if "periods_per_year" in number]
    assert names == ["cagr", "volatility", "sharpe_ratio", "sortino_ratio", "calmar_ratio"]
    assert {performance[name]["periods_per_year"] for name in names} == {252}


def test_presets_are_listed_with_counts_and_results(made_up_run: MadeUpRun) -> None:
    presets = summary_of(made_up_run)["breakdown"]["preset"]
    assert {name: group["n_trades"]["value"] for name, group in presets.items()} == {
        "fast": 17,
        "medium": 17,
        "slow": 16,
    }


def test_regimes_are_split_only_when_known(made_up_run: MadeUpRun) -> None:
    assert "regime" not in summary_of(made_up_run)["breakdown"]
    summary = summary_of(made_up_run, regime_of=lambda strategy, symbol, ms: str(ms // 60_000 % 2))
    assert sorted(summary["breakdown"]["regime"]) == ["1"]


def test_trainings_are_counted_by_outcome_with_reasons(made_up_run: MadeUpRun) -> None:
    trainings = summary_of(made_up_run)["trainings"]
    assert trainings["n"] == 8
    assert trainings["by_status"] == {"completed": 5, "failed": 1, "skipped": 2}
    assert trainings["by_decision"] == {"promoted": 2, "rejected": 3}
    assert trainings["by_reason"]["fit <failed> & why"] == 1
    assert trainings["timeline"][0]["delta_standard_error"] == 0.008


def test_reasons_that_differ_in_a_number_only_are_counted_together(made_up_run: MadeUpRun) -> None:
    made_up_run.trainings[:] = [
        {"status": "too_small", "reason": f"{points} of 2000 points"} for points in (300, 660)
    ]
    assert summary_of(made_up_run)["trainings"]["by_reason"] == {"N of N points": 2}


def test_scores_have_the_names_the_gate_gives_them() -> None:
    assert set(SCORE_FIELDS) <= {field.name for field in fields(Verdict)}


def test_summary_is_the_same_bytes_every_time_and_has_no_nan(made_up_run: MadeUpRun) -> None:
    first, second = summary_of(made_up_run), summary_of(made_up_run)
    assert canonical_json(first) == canonical_json(second)
    assert b"NaN" not in canonical_json(first)


def test_run_without_trades_or_trainings_is_summed_up_too(tmp_path: Path) -> None:
    run = write_run(tmp_path, n_bars=20)
    summary = build_summary(run.equity_csv, run.trades_csv, [], run.settings, run=run.run)
    assert summary["trades"]["win_rate"] == {
        "value": None,
        "unit": "frac",
        "reason": "no closed trade",
    }
    assert [line.value for line in headlines(summary) if line.label == "Sharpe ratio"] == ["n/a"]


def test_run_without_bars_is_summed_up_too(tmp_path: Path) -> None:
    run = write_run(tmp_path, n_bars=0)
    summary = build_summary(run.equity_csv, run.trades_csv, [], run.settings, run=run.run)
    assert summary["performance"]["total_return"]["reason"] == "no rows"
    assert headlines(summary)


@pytest.mark.parametrize(
    ("name", "line", "broken", "message"),
    [
        ("equity.csv", 1, "time,equity", "line 1 must start with timestamp"),
        ("equity.csv", 5, "1,2", "line 5 must have 5 columns, has 2"),
        ("equity.csv", 5, "1,x,2,3,4", "must hold numbers"),
        ("trades.csv", 1, "time", "line 1 must be timestamp"),
        ("trades.csv", 2, "1,2,3", "line 2 must be a trade"),
        ("trades.csv", 2, "", "line 2 must be a trade"),
    ],
)
def test_broken_file_is_named_with_its_line(
    made_up_run: MadeUpRun, name: str, line: int, broken: str, message: str
) -> None:
    path = made_up_run.equity_csv.parent / name
    lines = path.read_text().splitlines()
    lines[line - 1] = broken
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(OutputError, match=message) as caught:
        summary_of(made_up_run)
    assert name in str(caught.value)


def test_trades_that_do_not_alternate_are_named_with_their_line(made_up_run: MadeUpRun) -> None:
    path = made_up_run.trades_csv
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], *lines[4:]]) + "\n")
    with pytest.raises(OutputError, match="line 4 must open and close in turn"):
        summary_of(made_up_run)


def test_absent_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"equity\.csv"):
        build_summary(tmp_path / "equity.csv", tmp_path / "t.csv", [], {"initial_cash": 1}, run={})


def test_manifest_round_trips_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert read_json(path) is None
    write_json(path, {"b": 1, "a": {"z": None, "y": 0.1}})
    assert read_json(path) == {"a": {"y": 0.1, "z": None}, "b": 1}
    assert path.read_bytes().index(b'"a"') < path.read_bytes().index(b'"b"')
    with pytest.raises(OutputError, match="NaN"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) is not None


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_broken_manifest_is_an_error_not_a_default(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"run\.json must hold"):
        read_json(path)


def test_changed_outputs_are_found_by_their_hashes(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_text(name)
    hashes = output_hashes(tmp_path, ["c.csv", "a.csv", "b.csv"])
    assert changed_outputs(tmp_path, hashes) == []
    (tmp_path / "a.csv").write_text("other")
    (tmp_path / "b.csv").unlink()
    assert changed_outputs(tmp_path, hashes) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ({"value": -0.0503, "unit": "frac"}, "-5.03 %"),
        ({"value": 1234.5, "unit": "usd"}, "1,234.50 USDT"),
        ({"value": 2.5, "unit": "bps"}, "+2.50 bps"),
        ({"value": 1200, "unit": "count"}, "1,200"),
        ({"value": None, "unit": "ratio", "reason": "no loss"}, "n/a"),
        ({}, "n/a"),
    ],
)
def test_numbers_are_written_with_their_unit(number: dict, text: str) -> None:  # type: ignore[type-arg]
    assert format_number(number, "USDT") == text


def test_durations_are_written_with_their_two_largest_parts() -> None:
    assert format_duration(90_061_000) == "1 d 1 h"
    assert format_duration(3_660_000) == "1 h 1 min"
    assert format_duration(59_999) == "0 min"


@pytest.mark.slow
def test_year_of_minutes_takes_under_60_mb(tmp_path: Path) -> None:
    write_run(tmp_path, n_bars=525_600)
    # VmHWM, not ru_maxrss: the latter starts at what the parent of the process had in use
    script = (
        "import sys; from pathlib import Path\n"
        "from mei.report.summary import build_summary; from mei.report.html import write_report\n"
        "def peak_kb():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return int(next(line for line in lines if line.startswith('VmHWM')).split()[1])\n"
        "folder, before = Path(sys.argv[1]), peak_kb()\n"
        "equity, trades = folder / 'equity.csv', folder / 'trades.csv'\n"
        "summary = build_summary(equity, trades, [], {'initial_cash': 1e4}, run={})\n"
        "write_report(folder / 'report.html', summary, equity, trades)\n"
        "print((peak_kb() - before) / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    print(f"a year of minutes took {float(done.stdout):.1f} MB")
    assert float(done.stdout) > 0.0
    assert float(done.stdout) < 60.0
