"""The order of a journal's rows: right, of every combination once, and of few bytes a row."""

from __future__ import annotations

import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.model.errors import VerificationError
from mei.workflows.sweep.journal import Journal
from mei.workflows.sweep.merge import Ranking
from mei.workflows.sweep_spec import Axis, SweepSpec

_ROW = np.dtype([("pnl", "<f8"), ("sharpe", "<f8"), ("trades", "<i8")])
_DTYPE = np.dtype([("index", "<i8"), ("row", _ROW)])


class Engine:
    """What the ranking asks of an engine, of rows of `_ROW`."""

    row_dtype = _ROW

    def run(self, columns: Any, n: int) -> Any:
        raise NotImplementedError

    def numbers(self, row: Any) -> Any:
        return row

    def total_pnl_usd(self, rows: Any) -> Any:
        return np.asarray(rows["pnl"])

    def sharpe_ratios(self, rows: Any) -> Any:
        return np.asarray(rows["sharpe"])

    def total_trades(self, rows: Any) -> Any:
        return np.asarray(rows["trades"])


def journal_of(folder: Path, profits: Any, indices: Any, chunk: int) -> Journal:
    """Open, with a row for each profit."""
    records = np.zeros(len(profits), dtype=_DTYPE)
    records["index"], records["row"]["pnl"] = indices, profits
    journal = Journal(folder / "j", "me", _DTYPE)
    for number, first in enumerate(range(0, len(records), chunk)):
        journal.append(number, records[first : first + chunk])
    return journal


def ranking_of(journal: Journal) -> Ranking:
    spec = SweepSpec((Axis("a", (1.0,)),))
    return Ranking(journal, Engine(), spec, lambda record: (str(record["index"]), {}))


@pytest.mark.parametrize("n_rows", [0, 1, 7, 500])
def test_rows_come_by_profit_and_then_by_combination(tmp_path: Path, n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    indices = rng.permutation(n_rows) * 3
    profits = rng.choice([math.nan, -1.0, -0.0, 0.0, 2.5, math.inf, -math.inf], n_rows)
    with journal_of(tmp_path, profits, indices, 11) as journal:
        ranking = ranking_of(journal)
        ranking.check_complete(n_rows)
        found = [int(row.config_id) for row in ranking.rows()]
    pairs = zip(profits.tolist(), indices.tolist(), strict=True)
    expected = sorted(
        (math.inf if math.isnan(profit) else -profit, math.isnan(profit), index)
        for profit, index in pairs
    )
    assert found == [index for *_, index in expected]


@pytest.mark.parametrize(("indices", "n_distinct"), [([5, 1, 5], 2), ([4, 4, 4], 1), ([1, 2], 2)])
def test_combinations_that_are_there_twice_are_told(
    tmp_path: Path, indices: list[int], n_distinct: int
) -> None:
    with journal_of(tmp_path, [0.0] * len(indices), indices, 2) as journal:
        ranking = ranking_of(journal)
        with pytest.raises(
            VerificationError, match=f"holds {len(indices)} rows of {n_distinct}: move it away"
        ):
            ranking.check_complete(3)


def test_a_row_takes_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy counts them, which leaves out 4 that it sorts with."""
    n_rows = 200_000
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    rng = np.random.default_rng(1)
    profits, indices = rng.normal(size=n_rows), rng.permutation(n_rows)
    with journal_of(tmp_path, profits, indices, 1000) as journal:
        tracemalloc.start()
        try:
            ranking = ranking_of(journal)
            ranking.check_complete(n_rows)
            kept, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(ranking) == n_rows
    assert most / n_rows < 26.0
    assert kept / n_rows < 9.0
