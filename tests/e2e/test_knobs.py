"""Variables on the command line change what they should: read in the outputs and in the ledger."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.composed import Composed
from tests.survival.conftest import SMALL

DAY = {**SMALL, "END_TS": "2024-01-02T06:00"}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, image: str, research: Path) -> Iterator[Composed]:
    """One project for all runs of this module: what each changes is in its own stream."""
    made = Composed(tmp_path_factory.mktemp("knobs"), image, research, dict(DAY))
    made.run()
    yield made
    made.down()


def rows(composed: Composed, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(composed.outputs()[name].decode())))


def stream(composed: Composed) -> str:
    run = json.loads((composed.results / "run.json").read_text())
    return f"backtest/{run['run_id']}"


def ask(composed: Composed, query: str, *values: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(composed.ledger())
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


FILES = "SELECT n_bars FROM files WHERE stream = ? ORDER BY first_ms"
TRAININGS = "SELECT as_of_ms FROM trainings WHERE stream = ?"


def test_chunk_rows_sets_the_size_of_registered_files(day: Composed) -> None:
    day.run(CHUNK_ROWS="300")
    sizes = [size for (size,) in ask(day, FILES, stream(day))]
    assert set(sizes[:-1]) == {300}


def test_train_cron_minutes_sets_the_clock_of_trainings(day: Composed) -> None:
    day.run(TRAIN_CRON_MINUTES="180")
    times = [int(str(ms)) for (ms,) in ask(day, TRAININGS, stream(day))]
    assert len(times) == 30 * 60 // 180
    assert all(ms % (180 * 60_000) == 0 for ms in times)


def test_fee_bp_and_slippage_bp_set_the_costs(day: Composed) -> None:
    day.run(FEE_BP="0", SLIPPAGE_BP="0")
    free = rows(day, "trades.csv")
    assert {(float(row["fee"]), float(row["slippage"])) for row in free} == {(0.0, 0.0)}
    day.run(FEE_BP="5", SLIPPAGE_BP="10")
    for row in rows(day, "trades.csv"):
        assert float(row["fee"]) == pytest.approx(5e-4 * float(row["notional"]))
        assert float(row["slippage"]) > 0


def test_exactly_once_trains_on_no_bar_twice(day: Composed) -> None:
    day.run(EXACTLY_ONCE="true")
    ranges = ask(
        day,
        "SELECT first_ms, last_ms FROM trained_ranges WHERE stream = ? ORDER BY first_ms",
        stream(day),
    )
    pairs = [(int(str(first)), int(str(last))) for first, last in ranges]
    assert len(pairs) > 1
    assert all(before[1] < after[0] for before, after in itertools.pairwise(pairs))


def test_symbols_sets_the_instruments_and_their_columns(day: Composed) -> None:
    day.up(SYMBOLS="BTC/USDT,ETH/USDT")
    assert {row["instrument"] for row in rows(day, "trades.csv")} == {"BTC/USDT", "ETH/USDT"}
    assert any("ETH" in name for name in rows(day, "equity.csv")[0])


def test_max_steps_ends_the_run_after_that_many_chunks(day: Composed) -> None:
    day.up(MAX_STEPS="3")
    assert len(rows(day, "equity.csv")) == 3 * int(SMALL["CHUNK_ROWS"])
