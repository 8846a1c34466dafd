"""Two pairs of finished sweeps, CPU beside GPU, compared into one report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mei.data.sweep_results import sweep_results
from mei.metrics.sweep_parity import (
    Key,
    Outcome,
    Rows,
    compare_ranking,
    compare_rows,
    key_text,
    row_key,
)
from mei.model.errors import DataError
from mei.report.sweep_parity import (
    ASSERTED_TOP,
    LANE_A,
    LANE_B,
    Lane,
    Limits,
    lane_object,
    parity_report,
)
from mei.workflows.files import check_folder, write_result


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """Files of sweep results, what counts as agreement, and where the report goes.

    synthetic: a JSON file that the report takes over; baselines: as in `parity_report`.
    """

    lane_a: tuple[str, str]
    lane_b: tuple[str, str]
    output: str
    limits: Limits = field(default_factory=Limits)
    baselines: Mapping[str, float] = field(default_factory=dict)
    synthetic: str | None = None


def compare_sweeps(request: ComparisonRequest) -> dict[str, Any]:
    """Compare, write the report and give it. Raises DataError for input that is wrong, OutputError."""
    check_folder(request.output)
    synthetic = None if request.synthetic is None else _read_json(request.synthetic)
    lanes = [
        lane_object(_lane(name, *files, request.limits), request.limits)
        for name, files in ((LANE_A, request.lane_a), (LANE_B, request.lane_b))
    ]
    report = parity_report(
        lanes,
        generated_at_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        baselines=request.baselines,
        synthetic=synthetic,
    )
    write_result(request.output, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def _lane(name: str, cpu: str, gpu: str, limits: Limits) -> Lane:
    rows = _read_rows(cpu), _read_rows(gpu)
    parity = compare_rows(
        *rows, pnl_tolerance=limits.pnl_abs_tol, trade_tolerance=limits.trade_abs_tol
    )
    top_ks = dict.fromkeys((*limits.top_ks, ASSERTED_TOP))
    return Lane(name, cpu, gpu, parity, compare_ranking(*rows, top_ks))


def _read_rows(path: str) -> Rows:
    rows: dict[Key, Outcome] = {}
    for row in sweep_results(path):
        key = row_key(row.overrides)
        if key in rows:
            raise DataError(
                f"{row.where}: rows of a sweep must differ in their overrides, this one is there before: "
                f"{key_text(key) or 'no overrides'}"
            )
        rows[key] = Outcome(row.number("total_pnl"), row.number("total_trades"))
    return rows


def _read_json(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} must be a JSON file, is not ({error})") from None
