"""The composed run gives the bytes of the embedded one; a second one changes nothing; RERUN repeats it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.composed import ML, PARAMS, Composed
from tests.survival.conftest import SMALL

BTC_2023 = (
    Path(__file__).parents[2] / "../shared/data/binance-spot-timealiver/BTCUSDT_2023_1m.csv.gz"
)
Embedded = Callable[[Path, dict[str, str]], dict[str, bytes]]


def test_composed_run_equals_embedded_and_repeats(composed: Composed, embedded: Embedded) -> None:
    expected = embedded(composed.research, SMALL)
    first = composed.run()
    assert composed.outputs() == expected
    assert expected["trades.csv"].count(b"\n") > 20
    assert expected["trainings.jsonl"].count(b'"promoted"') >= 3

    written = {path: path.stat().st_mtime_ns for path in composed.results.rglob("*.csv")}
    second = composed.run()
    assert "is finished and its outputs verify" in second
    assert {path: path.stat().st_mtime_ns for path in composed.results.rglob("*.csv")} == written

    repeated = composed.run(RERUN="1")
    assert "attempt 2: start" in repeated
    for name in ("equity.csv", "trades.csv"):
        assert composed.outputs()[name] == expected[name]
    assert "rows/s" in first


def test_logs_are_json_lines_with_run_and_stream(composed: Composed) -> None:
    lines = [line for line in composed.run().splitlines() if line.startswith("{")]
    records = [json.loads(line) for line in lines if "backtest_runner" in line]
    named = [record for record in records if "run_id" in record]
    assert named
    assert all(record["stream"] == f"backtest/{record['run_id']}" for record in named)

    for service, message in ((ML, "training"), (PARAMS, "outcome")):
        printed = composed.compose("logs", "--no-color", service).stdout.splitlines()
        told = [json.loads(line[line.index("{") :]) for line in printed if "{" in line]
        mine = [record for record in told if record["message"] == message]
        assert mine
        assert all(record["run_id"] == named[0]["run_id"] for record in mine)


def test_empty_research_gets_the_sample_and_says_so(composed: Composed, tmp_path: Path) -> None:
    composed.research = tmp_path / "empty"
    composed.research.mkdir()
    printed = composed.run(END_TS="2024-01-01T12:00")
    assert "holds no candles: writing the sample" in printed
    assert list(composed.research.glob("BTC_USDT/1m/*"))
    assert (composed.results / "report.html").exists()


def test_a_month_of_btc_gives_the_same_bytes(
    composed: Composed, embedded: Embedded, tmp_path: Path
) -> None:
    if not BTC_2023.exists():
        pytest.skip("needs BTCUSDT_2023_1m.csv.gz in ../shared/data")
    folder = tmp_path / "btc" / "BTC_USDT" / "1m"
    folder.mkdir(parents=True)
    shutil.copy(BTC_2023, folder)
    settings = {"SYMBOLS": "BTC/USDT", "CHUNK_ROWS": "360"}
    settings |= {"START_TS": "2023-01-01", "END_TS": "2023-02-01"}
    composed.settings, composed.research = settings, tmp_path / "btc"
    composed.run()
    assert composed.outputs() == embedded(composed.research, settings)
    assert composed.outputs()["equity.csv"].count(b"\n") > 44_000
