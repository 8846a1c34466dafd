"""Whether a run compiles, and how long that took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mei.workflows.compiling import compile_seconds, seconds_of
from tests.sweeps.markets import start
from tests.workflows.databases import HOUR_MS, write_candles


@dataclass(frozen=True)
class Event:
    is_start: bool


START, END = Event(True), Event(False)


@pytest.mark.parametrize(
    ("events", "seconds"),
    [
        ([], 0.0),
        ([(5.0, START), (7.5, END)], 2.5),
        ([(0.0, START), (1.0, START), (2.0, END), (3.0, END), (9.0, START), (9.5, END)], 3.5),
        ([(0.0, START), (1.0, START), (4.0, END)], 4.0),
    ],
)
def test_what_nests_or_overlaps_counts_once(events: Any, seconds: float) -> None:
    assert seconds_of(events) == seconds


def test_compiling_is_timed_and_running_is_not() -> None:
    import numba

    function = numba.njit(lambda x: x + 1.0)
    with compile_seconds() as seconds:
        assert seconds() == 0.0
        function(1.0)
        compiled_s = seconds()
        assert compiled_s > 0.0
        function(2.0)
        assert seconds() == compiled_s


@pytest.mark.slow
@pytest.mark.parametrize("symbols", [("ETH",), ("BTC", "ETH")])
def test_a_cold_sweep_says_that_it_compiles_and_a_warm_one_does_not(
    tmp_path: Path, symbols: tuple[str, ...]
) -> None:
    """momentum_breakout over one symbol and over several, which other code walks."""
    write_candles(tmp_path, "1h", HOUR_MS, 200, symbols=symbols)
    (tmp_path / "m.yaml").write_text("momentum_breakout: {lookback: 20}\n")
    (tmp_path / "spec.yaml").write_text("axes: [{path: stop_bps, values: [50, 60]}]\n")
    line = "sweep --strategy momentum_breakout --config m.yaml --sweep-spec spec.yaml --ledger none"

    def said(home: Path) -> str:
        process = start(tmp_path, line.split(), {"HOME": str(home)})
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        return errors

    first, second = said(tmp_path), said(tmp_path)
    assert "The first run compiles" in first
    assert "[sweep] Compiled in " in first
    assert "ompile" not in second
