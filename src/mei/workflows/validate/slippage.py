"""Replays of one strategy file at rising slippage: whether a profit is one of cheap fills."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mei.model.errors import ConfigError
from mei.workflows.market import LoadCandles
from mei.workflows.strategy import Tell
from mei.workflows.validate.outputs import each_once, prepare_outputs, write_summary
from mei.workflows.validate.replays import ReplayFiles, metrics_of, named, replay_into
from mei.workflows.validate.terms import LoadedOnce, RunTerms, find_ground

_PROGRAM = "slippage-stress"


@dataclass(frozen=True, slots=True)
class SlippageRequest:
    """What the command line asks for. Levels in basis points, the first is what the others are held against.

    output None = summary.json in `out_dir`.
    """

    terms: RunTerms
    levels_bps: Sequence[float] = (10.0, 20.0, 30.0)
    reject_bps: float = 20.0
    out_dir: str = "slippage_stress"
    output: str | None = None


def run_slippage_stress(
    request: SlippageRequest,
    tell: Tell,
    load: LoadCandles | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Replay each level and write a summary, which is given. Raises MeiError.

    load: for many checks over the same bars; clock: seconds, for elapsed_s.
    """
    started = clock()
    levels = tuple(dict.fromkeys(request.levels_bps))
    if request.reject_bps not in levels:
        raise ConfigError(
            f"--reject-flip-bps must be one of --slippage-bps, {', '.join(map(level_text, levels))}, was "
            f"{level_text(request.reject_bps)}"
        )
    ground = find_ground(request.terms, tell)
    folder = Path(request.out_dir)
    files = {bps: ReplayFiles.in_folder(folder / f"{level_text(bps)}bps") for bps in levels}
    output = request.output or str(folder / "summary.json")
    written = [path for one in files.values() for path in one.all()]
    prepare_outputs(output, request.out_dir, written, ground.inputs())
    load, warn, rows = load or LoadedOnce(), each_once(tell), []
    for bps in levels:
        asked, into = ground.request(slippage_bps=bps), files[bps]
        report = named(f"{level_text(bps)} bps", lambda: replay_into(into, asked, warn, load))  # noqa: B023
        metrics = metrics_of(report)
        rows.append({"slippage_bps": bps, "replay_report_path": into.report, "metrics": metrics})
        tell(
            f"[{_PROGRAM}] {level_text(bps)} bps: {metrics['total_trades']} trades, PnL "
            f"${metrics['total_pnl']:.2f}, drawdown {metrics['max_drawdown_pct'] * 100.0:.2f}%"
        )
    aggregate = stress_aggregate(rows, levels.index(request.reject_bps))
    summary = {
        "config_path": request.terms.config,
        "interval": ground.sources.main.interval,
        "levels": rows,
        "aggregate": aggregate,
        "elapsed_s": clock() - started,
    }
    tell(f"[{_PROGRAM}] {_verdict(aggregate)}")
    write_summary(output, summary, tell)
    return summary


def level_text(bps: float) -> str:
    """A level as it names a folder: 10, 12.5."""
    return repr(float(bps)).removesuffix(".0")


def _verdict(aggregate: dict[str, Any]) -> str:
    first, reject = (level_text(aggregate[f"{name}_bps"]) for name in ("baseline", "reject"))
    if aggregate["reject"]:
        return f"rejected: the profit at {first} bps is a loss at {reject}"
    if not aggregate["baseline_total_pnl"] > 0.0:
        return f"not rejected, but there is no profit at {first} bps that could turn"
    return f"not rejected: the profit at {first} bps is no loss at {reject}"


def stress_aggregate(rows: Sequence[dict[str, Any]], reject: int) -> dict[str, Any]:
    """Of the levels' rows, the first being the baseline; reject: which of them decides. PnL in USD."""
    baseline, rejected = rows[0]["metrics"], rows[reject]["metrics"]
    drop = baseline["total_pnl"] - rejected["total_pnl"]
    flips = baseline["total_pnl"] > 0.0 and rejected["total_pnl"] < 0.0
    return {
        "baseline_bps": rows[0]["slippage_bps"],
        "baseline_total_pnl": baseline["total_pnl"],
        "reject_bps": rows[reject]["slippage_bps"],
        "pnl_at_reject_bps": rejected["total_pnl"],
        "pnl_drop_at_reject_bps": drop,
        "slippage_fragility": drop / baseline["initial_balance"],
        "max_drawdown_pct_worst": max(row["metrics"]["max_drawdown_pct"] for row in rows),
        "flip_sign_at_reject_bps": flips,
        "reject": flips,
    }
