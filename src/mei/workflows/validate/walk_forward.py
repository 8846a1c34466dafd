"""Replays of one strategy file over stretches that follow each other's training (nothing is trained here)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mei.model.errors import DataError
from mei.workflows.market import LoadCandles, find_window
from mei.workflows.strategy import Tell
from mei.workflows.validate.coverage import coverage
from mei.workflows.validate.outputs import each_once, prepare_outputs, write_summary
from mei.workflows.validate.replays import ReplayFiles, metrics_of, named, replay_into
from mei.workflows.validate.splits import Split, TestRange, place, range_object
from mei.workflows.validate.terms import Ground, LoadedOnce, RunTerms, find_ground
from mei.workflows.window import Window

_PROGRAM = "walk-forward"


@dataclass(frozen=True, slots=True)
class WalkForwardRequest:
    """What the command line asks for. Times in epoch ms UTC; output None = summary.json in `out_dir`.

    scoped: bound the range by what the finer candles cover, too. splits_json: the file they came from, if any.
    """

    terms: RunTerms
    splits: Sequence[Split]
    start_ms: int | None = None
    end_ms: int | None = None
    scoped: bool = True
    splits_json: str | None = None
    min_test_days: float = 1.0
    out_dir: str = "walk_forward"
    output: str | None = None


def run_walk_forward(
    request: WalkForwardRequest,
    tell: Tell,
    load: LoadCandles | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Replay each split's test range and write a summary, which is given. Raises MeiError.

    load: for many checks over the same bars; clock: seconds, for elapsed_s.
    """
    started = clock()
    ground = find_ground(request.terms, tell)
    bounds = _bounds(request, ground, tell)
    placed, skipped = _placed(request, bounds, tell)
    folder = Path(request.out_dir)
    files = {split.name: ReplayFiles.in_folder(folder / split.name) for split in placed}
    output = request.output or str(folder / "summary.json")
    inputs = [*ground.inputs(), ("--splits-json", request.splits_json)]
    written = [path for one in files.values() for path in one.all()]
    prepare_outputs(output, request.out_dir, written, inputs)
    tell(f"[{_PROGRAM}] {coverage(request.splits, placed.values(), *bounds)}")
    load, warn, rows = load or LoadedOnce(), each_once(tell), []
    for split, test in placed.items():
        row = _tested(ground, split, test, files[split.name], load, warn)
        rows.append(row)
        tell(f"[{_PROGRAM}] {_told(row)}")
    summary = {
        "config_path": request.terms.config,
        "interval": ground.sources.main.interval,
        "requested_range": range_object(*bounds),
        "auto_scope": {
            "scope_entry_exit": request.scoped,
            "intervals": [one.interval for one in _scope(request, ground)],
        },
        "splits": rows,
        "skipped": skipped,
        "aggregate": _aggregate(rows),
        "elapsed_s": clock() - started,
    }
    write_summary(output, summary, tell)
    return summary


def _scope(request: WalkForwardRequest, ground: Ground) -> list[Any]:
    around = ground.sources.around() if request.scoped else []
    return around or [ground.sources.main]


def _bounds(request: WalkForwardRequest, ground: Ground, tell: Tell) -> tuple[int, int]:
    terms = request.terms
    market = replace(
        ground.market,
        start_ms=terms.start_ms if request.start_ms is None else request.start_ms,
        end_ms=terms.end_ms if request.end_ms is None else request.end_ms,
    )
    semantics = terms.semantics
    window: Window = find_window(market, _scope(request, ground), semantics, _PROGRAM, tell)
    assert window.from_ms is not None, "auto-scope gives both ends"
    assert window.to_ms is not None, "auto-scope gives both ends"
    return window.from_ms, window.to_ms


def _placed(
    request: WalkForwardRequest, bounds: tuple[int, int], tell: Tell
) -> tuple[dict[Split, TestRange], list[dict[str, str]]]:
    placed: dict[Split, TestRange] = {}
    skipped = []
    for split in request.splits:
        found = place(split, *bounds, request.min_test_days)
        if isinstance(found, TestRange):
            placed[split] = found
        else:
            skipped.append({"name": split.name, "reason": found})
            tell(f"[{_PROGRAM}] {split.name} is skipped: {found}")
    if not placed:
        raise DataError(
            f"a split must fit into the range, none of {len(skipped)} does ({skipped[0]['name']}: "
            f"{skipped[0]['reason']}): give --split train,test,offset, or more candles"
        )
    return placed, skipped


def _tested(
    ground: Ground,
    split: Split,
    test: TestRange,
    files: ReplayFiles,
    load: LoadCandles,
    warn: Tell,
) -> dict[str, Any]:
    market = replace(ground.market, start_ms=test.start_ms, end_ms=test.end_ms)
    request = ground.request(market=market)
    report = named(f"split {split.name}", lambda: replay_into(files, request, warn, load))
    pnl, initial = report.number("total_pnl"), report.number("initial_balance")
    return {
        "name": split.name,
        "offset_days": split.offset_days,
        "train_days": split.train_days,
        "test_days": split.test_days,
        "test_range": test.as_json(),
        "replay_report_path": files.report,
        "metrics": metrics_of(report),
        "oos_daily_return": pnl / initial / test.days,
    }


def _aggregate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    daily = [row["oos_daily_return"] for row in rows]
    median = statistics.median(daily)
    return {
        "oos_daily_returns": daily,
        "median_oos_daily_return": median,
        "max_oos_drawdown_pct": max(row["metrics"]["max_drawdown_pct"] for row in rows),
        "walk_forward_score_v1": median,
    }


def _told(row: dict[str, Any]) -> str:
    tested, metrics = row["test_range"], row["metrics"]
    return (
        f"{row['name']}: {tested['start_iso']}..{tested['end_iso']} ({tested['days']:g} days), "
        f"{metrics['total_trades']} trades, PnL ${metrics['total_pnl']:.2f}, drawdown "
        f"{metrics['max_drawdown_pct'] * 100.0:.2f}%, {row['oos_daily_return'] * 100.0:+.4f}% a day"
    )
