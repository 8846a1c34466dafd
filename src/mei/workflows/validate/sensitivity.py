"""Replays of a strategy file with one setting moved at a time: whether a profit stands on a peak or on a plain."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mei.data.config_id import config_id
from mei.data.replay_report import ReplayReport, read_replay_report
from mei.model.errors import ConfigError, DataError
from mei.model.yaml12 import dump_yaml
from mei.workflows.files import Named, write_result
from mei.workflows.market import LoadCandles
from mei.workflows.strategy import MEI_ALPHA, Tell, load_strategy
from mei.workflows.validate.outputs import each_once, prepare_outputs, write_summary
from mei.workflows.validate.replays import (
    Outcome,
    ReplayFiles,
    metrics_of,
    outcome_of,
)
from mei.workflows.validate.terms import Ground, LoadedOnce, RunTerms, find_ground
from mei.workflows.validate.variants import (
    Variant,
    delta_text,
    parse_perturbs,
    read_document,
    variants,
)

_PROGRAM = "sensitivity"


@dataclass(frozen=True, slots=True)
class SensitivityRequest:
    """What the command line asks for. perturbs: texts `path:delta,delta`; timeout_s of one replay, 0 = none.

    baseline: the report of a replay of the file as it is; None = made in strict, else its numbers are 0.
    """

    terms: RunTerms
    out_dir: str
    output: str
    perturbs: Sequence[str] = ()
    baseline: str | None = None
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Paths:
    """Where the files of one variant go."""

    config: str
    replay: ReplayFiles

    @classmethod
    def of(cls, folder: Path, stem: str) -> _Paths:
        logs = folder / "logs"
        return cls(
            str(folder / "configs" / f"{stem}.yaml"),
            ReplayFiles(
                str(folder / "replays" / f"{stem}.json"),
                str(logs / f"{stem}.stdout.txt"),
                str(logs / f"{stem}.stderr.txt"),
            ),
        )


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all replays of one check share."""

    request: SensitivityRequest
    ground: Ground
    load: LoadCandles
    warn: Tell
    clock: Callable[[], float]

    def replay(self, config: str, files: ReplayFiles) -> Outcome:
        """Of another strategy file."""
        asked = self.ground.request(config=config)
        return outcome_of(files, asked, self.warn, self.load, self.request.timeout_s)


def run_sensitivity_check(
    request: SensitivityRequest,
    tell: Tell,
    load: LoadCandles | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Replay each variant and write a summary, which is given.

    load: for many checks over the same bars; clock: seconds, for elapsed_s.

    Raises MeiError; DataError, after the summary is written, when no variant could be replayed.
    """
    started = clock()
    terms = request.terms
    if terms.strategy != MEI_ALPHA and not request.perturbs:
        raise ConfigError(
            f"--perturb must say what to vary: the usual settings are those of {MEI_ALPHA}, was left out"
        )
    ground = find_ground(terms, tell)
    document = read_document(terms.config)
    made = variants(
        document, parse_perturbs(request.perturbs), terms.strategy, is_strict=terms.is_strict
    )
    folder = Path(request.out_dir)
    paths = [_Paths.of(folder, one.stem) for one in made]
    base_files = _Paths.of(folder, "baseline").replay
    written = [path for one in paths for path in (one.config, *one.replay.all())]
    inputs: list[Named] = [*ground.inputs(), ("--baseline-replay-report", request.baseline)]
    prepare_outputs(request.output, request.out_dir, [*written, *base_files.all()], inputs)
    bench = _Bench(request, ground, load or LoadedOnce(), each_once(tell), clock)
    base, baseline_path = _baseline(bench, document, base_files, tell)
    rows = []
    for variant, into in zip(made, paths, strict=True):
        rows.append(_tried(bench, variant, into))
        tell(f"[{_PROGRAM}] {_told(rows[-1])}")
    baseline_pnl = 0.0 if base is None else base.number("total_pnl")
    aggregate = sensitivity_aggregate(rows, baseline_pnl)
    summary = {
        "version": "sensitivity_v1",
        "base": {
            "config_path": terms.config,
            "config_id": config_id(document),
            "interval": ground.sources.main.interval,
            "replay_report_path": baseline_path,
            "initial_balance": 0.0 if base is None else base.number("initial_balance"),
            "total_pnl": baseline_pnl,
            "total_trades": 0 if base is None else base.number("total_trades"),
            "max_drawdown_pct": 0.0 if base is None else base.number("max_drawdown_pct"),
        },
        "perturbations": rows,
        "aggregate": aggregate,
        "elapsed_s": clock() - started,
    }
    write_summary(request.output, summary, tell)
    if not aggregate["variants_ran"]:
        raise DataError(
            f"a variant must have been replayed, none of {len(rows)} was "
            f"({rows[0]['skip_reason'] or rows[0]['error']}): see {request.output}"
        )
    return summary


def _baseline(
    bench: _Bench, document: Mapping[str, Any], files: ReplayFiles, tell: Tell
) -> tuple[ReplayReport | None, str | None]:
    """The report of the file as it is, and its path: the one given, one made now, or none."""
    request = bench.request
    if request.baseline is not None:
        report = read_replay_report(request.baseline)
        told, wanted = report.config_id(), config_id(document)
        if request.terms.is_strict and told not in (None, wanted):
            raise DataError(
                f"{request.baseline} must be the report of {request.terms.config} (config_id {wanted[:12]}), is of "
                f"another file ({str(told)[:12]}): replay it again, or leave --baseline-replay-report out"
            )
        return report, request.baseline
    if not request.terms.is_strict:
        tell(f"[{_PROGRAM}] Without --baseline-replay-report the numbers of the baseline are 0")
        return None, None
    outcome = bench.replay(request.terms.config, files)
    if outcome.report is None:
        raise DataError(f"the file as it is must be replayed, was not: {outcome.error}")
    pnl, trades = outcome.report.number("total_pnl"), outcome.report.number("total_trades")
    tell(f"[{_PROGRAM}] baseline: {trades} trades, PnL ${pnl:.2f}")
    return outcome.report, files.report


def _tried(bench: _Bench, variant: Variant, paths: _Paths) -> dict[str, Any]:
    started = bench.clock()
    skip = variant.skip or _write(bench, variant, paths.config)
    row: dict[str, Any] = {
        "path": variant.path,
        "delta": variant.delta,
        "base_value": variant.before,
        "value": variant.value,
        "is_default": variant.is_default,
        "kept_by": list(variant.kept_by),
        "skip": bool(skip),
        "skip_reason": skip,
        "config_path": None,
        "config_id": None,
        "replay_report_path": None,
        "exit_code": None,
        "error": "",
        "metrics": None,
        "elapsed_s": 0.0,
    }
    if skip:
        return row
    outcome = bench.replay(paths.config, paths.replay)
    row |= {
        "config_path": paths.config,
        "config_id": config_id(variant.document),
        "exit_code": outcome.exit_code,
        "error": outcome.error,
        "elapsed_s": bench.clock() - started,
    }
    if outcome.report is not None:
        row["replay_report_path"] = paths.replay.report
        row["metrics"] = metrics_of(outcome.report)
    return row


def _write(bench: _Bench, variant: Variant, path: str) -> str:
    """Write the variant's file; why it is no strategy file, or nothing."""
    write_result(path, dump_yaml(dict(variant.document)))
    terms = replace(bench.request.terms, config=path)
    try:
        load_strategy(
            terms.strategy,
            config=path,
            live=False,
            symbol=None,
            slippage_bps=None,
            semantics=terms.semantics,
            tell=lambda line: None,
        )
    except ConfigError as error:
        Path(path).unlink()
        return str(error)
    return ""


def sensitivity_aggregate(rows: Sequence[Mapping[str, Any]], baseline_pnl: float) -> dict[str, Any]:
    """Of the variants' rows; baseline_pnl in USD. Numbers of no variant are 0."""
    ran = [row["metrics"] for row in rows if row["exit_code"] == 0]
    skipped = sum(row["skip"] for row in rows)
    pnls = [metrics["total_pnl"] for metrics in ran]
    positive = sum(pnl > 0.0 for pnl in pnls) / len(ran) if ran else 0.0
    median = statistics.median(pnls) if ran else 0.0
    return {
        "variants_total": len(rows),
        "variants_ran": len(ran),
        "variants_skipped": skipped,
        "variants_failed": len(rows) - len(ran) - skipped,
        "positive_rate": positive,
        "median_total_pnl": median,
        "min_total_pnl": min(pnls, default=0.0),
        "max_total_pnl": max(pnls, default=0.0),
        "median_drawdown_pct": statistics.median(one["max_drawdown_pct"] for one in ran)
        if ran
        else 0.0,
        "baseline_total_pnl": baseline_pnl,
        "median_pnl_ratio_vs_baseline_abs": median / abs(baseline_pnl) if baseline_pnl else 0.0,
        "sensitivity_metric_v1": positive,
    }


def _told(row: Mapping[str, Any]) -> str:
    head = f"{row['path']} {'+' if row['delta'] > 0 else ''}{delta_text(row['delta'])}"
    if row["skip"]:
        return f"{head}: skipped, {row['skip_reason']}"
    if row["metrics"] is None:
        return f"{head}: failed with exit code {row['exit_code']}, {row['error']}"
    metrics = row["metrics"]
    kept = f" ({', '.join(row['kept_by'])} kept)" if row["kept_by"] else ""
    return f"{head} = {row['value']}{kept}: {metrics['total_trades']} trades, PnL ${metrics['total_pnl']:.2f}"
