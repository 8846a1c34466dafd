"""A chunk of a sweep: the same bytes in this process, on a card, and on a worker of a cluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.sweep.plan import SweepPlan


def record_dtype(row_dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What the journal holds of a row: the combination and its result."""
    return np.dtype([("index", "<i8"), ("row", row_dtype)])


def run_chunk(plan: SweepPlan, engine: SweepEngine, chunk: int) -> Any:
    """The records of a chunk, in the order of its combinations. The same bytes wherever it runs."""
    indices = plan.indices(chunk)
    records = np.zeros(len(indices), dtype=record_dtype(engine.row_dtype))
    records["index"] = indices
    if len(indices):
        records["row"] = engine.run(plan.columns(indices), len(indices))
    return records
