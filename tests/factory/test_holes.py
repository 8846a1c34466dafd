"""Data that the window of a sweep lacks: told in the reports, or the run stops."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.factory.conftest import Bench
from tests.workflows.databases import HOUR_MS

FEW = (
    "--no-deploy",
    "--no-slippage-stress",
    "--no-walk-forward",
    "--no-sensitivity-checks",
    "--no-monte-carlo",
    "--no-concentration-checks",
)


@pytest.fixture(name="databases")
def _databases(bench: Bench) -> Path:
    """Databases of the test's own."""
    link = bench.folder / "candles_dbs"
    source = link.resolve()
    link.unlink()
    return shutil.copytree(source, link)


def change(path: Path, statement: str) -> None:
    """Run it on a database."""
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement).rowcount > 0


def test_a_traded_symbol_without_a_rate_stops_the_run(bench: Bench, databases: Path) -> None:
    change(
        databases / "funding_rates.db",
        "DELETE FROM funding_rates WHERE symbol IN ('ADA', 'XRP')",
    )
    assert bench.factory("a", *FEW) == 1
    assert "funding must be fresh and whole, are not" in bench.err
    assert "ADA: there is no rate" in bench.err
    assert not (bench.folder / "artifacts/runs/a/sweeps/sweep_results.jsonl").exists()


def test_holes_of_the_window_are_told_in_the_reports(bench: Bench, databases: Path) -> None:
    change(
        databases / "funding_rates.db",
        "DELETE FROM funding_rates WHERE symbol = 'ETH' AND time < "
        f"(SELECT max(time) FROM funding_rates) - {80 * HOUR_MS}",
    )
    change(
        databases / "candles_1h.db",
        f"DELETE FROM candles WHERE symbol = 'BTC' AND t > (SELECT max(t) FROM candles) - {200 * HOUR_MS} "
        f"AND t < (SELECT max(t) FROM candles) - {30 * HOUR_MS}",
    )
    assert bench.factory("a", *FEW) == 0
    report = bench.json("artifacts/runs/a/reports/report.json")
    told = [line for line in report["warnings"] if line.startswith("candles: ")]
    assert len(told) == 1
    assert told[0].startswith("candles: BTC 1h: 169 of ")
    told = [line for line in report["warnings"] if line.startswith("funding: ")]
    assert [line.split(":")[1] for line in told] == [" ETH"]
    # What the sweep warned of is kept, too.
    told = [line for line in report["warnings"] if line.startswith("[sweep] Warning: ")]
    assert len(told) == 2
    assert set(told) <= set(bench.err.splitlines())
    assert bench.json("artifacts/runs/a/reports/selection.json")["warnings"] == report["warnings"]
    assert told[0] in (bench.folder / "artifacts/runs/a/reports/report.md").read_text()
    assert "warnings about the data" in bench.err


def test_of_whole_data_nothing_is_said(bench: Bench) -> None:
    assert bench.factory("a", *FEW) == 0
    assert bench.json("artifacts/runs/a/reports/report.json")["warnings"] == []
    assert "warnings about the data" not in bench.err
