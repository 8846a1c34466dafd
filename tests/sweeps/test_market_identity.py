"""Which bars make a sweep another one: all that a run sees, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.model.semantics import parse_semantics
from mei.workflows.market import MarketRequest
from mei.workflows.sweep.plan import plan_sweep
from mei.workflows.sweep.request import SweepRequest
from tests.sweep_worker.desk import LAST_TS, add_bar, change_bars
from tests.sweeps.markets import write_market
from tests.workflows.databases import HOUR_MS, START_MS

LAST_MS = int(LAST_TS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a market."""
    monkeypatch.chdir(tmp_path)
    return write_market(tmp_path)


def data_id(semantics: str = "strict", end_ms: int | None = LAST_MS) -> str:
    market = MarketRequest(start_ms=START_MS + 150 * HOUR_MS, end_ms=end_ms)
    request = SweepRequest(
        "spec.yaml", market, config="c.yaml", semantics=parse_semantics(semantics)
    )
    return plan_sweep(request, len).data_id


@pytest.mark.parametrize("semantics", ["strict", "strict,bar_time=open"])
def test_bars_that_are_known_after_the_window_are_no_part_of_it(
    folder: Path, semantics: str
) -> None:
    before = data_id(semantics)
    add_bar(folder)
    assert data_id(semantics) == before
    assert data_id(semantics, end_ms=None) != before


@pytest.mark.parametrize("semantics", ["strict,run_end=data", "reference"])
def test_a_run_to_the_end_of_the_data_sees_them_all(folder: Path, semantics: str) -> None:
    before = data_id(semantics)
    add_bar(folder)
    assert data_id(semantics) != before


@pytest.mark.parametrize(
    ("bar_ms", "is_seen", "semantics"),
    [
        (START_MS, True, "strict"),
        (LAST_MS - HOUR_MS, True, "strict"),
        (LAST_MS, False, "strict"),  # closes behind the window
        (LAST_MS, True, "strict,bar_time=open"),
    ],
)
def test_a_bar_that_changes_counts_if_it_is_seen(
    folder: Path, bar_ms: int, is_seen: bool, semantics: str
) -> None:
    before = data_id(semantics)
    change_bars(folder, "UPDATE candles SET v = v + 1.0 WHERE t = ?", bar_ms)
    assert (data_id(semantics) != before) is is_seen
