"""What is found out about one candidate: a replay, what its trades and symbols say, and replays under other terms.

Every number is that of the single command with the same files and flags; every kind is a step of the run of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mei.data.replay_report import ReplayReport, read_replay_report
from mei.metrics.overfitting import (
    Trials,
    deflated_sharpe_ratio,
    moments,
    probabilistic_sharpe_ratio,
)
from mei.metrics.replay import daily_returns
from mei.model.errors import VerificationError
from mei.report.atomic import ensure_folder
from mei.workflows.factory.checks import CHECKS, in_words
from mei.workflows.factory.request import ChecksAsked
from mei.workflows.factory.run_folder import RunFolder
from mei.workflows.strategy import Tell
from mei.workflows.validate.concentration import ConcentrationRequest, run_concentration_checks
from mei.workflows.validate.cross_universe import CrossUniverseRequest, run_cross_universe
from mei.workflows.validate.monte_carlo import MonteCarloRequest, run_monte_carlo
from mei.workflows.validate.replays import ReplayFiles, replay_into
from mei.workflows.validate.sensitivity import SensitivityRequest, run_sensitivity_check
from mei.workflows.validate.slippage import SlippageRequest, run_slippage_stress
from mei.workflows.validate.terms import Ground, LoadedOnce, RunTerms, find_ground
from mei.workflows.validate.walk_forward import WalkForwardRequest, run_walk_forward

#: Of a replay's report, what the report of the run repeats (and the registry keeps).
NUMBERS: Final = (
    "total_pnl",
    "max_drawdown_pct",
    "total_trades",
    "win_rate",
    "profit_factor",
    "total_fees",
    "sharpe_ratio",
    "initial_balance",
    "final_balance",
)
#: Of them, those that must be as in the sweep's row.
_AS_SWEPT: Final = ("total_pnl", "total_trades", "max_drawdown_pct")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all candidates of a run share. lookback: of the sweep; symbol_sets: texts `NAME=PATH`.

    trials: of the market, the sweep's included; load keeps the candles between replays.
    """

    run: RunFolder
    terms: RunTerms
    checks: ChecksAsked
    symbol_sets: tuple[str, ...]
    lookback: int
    seed: int
    trials: Trials
    load: LoadedOnce
    tell: Tell

    def seconds(self) -> float:
        """Of the run's clock, for elapsed_s."""
        return self.run.now_ms() / 1000.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A candidate as it stands in the run's state. config: of its file, in the run's folder; row: of the sweep."""

    config_id: str
    config: str
    row: Mapping[str, Any]

    @property
    def short(self) -> str:
        """What its folders are called."""
        return self.config_id[:12]


def gather(bench: Bench, subject: Subject) -> dict[str, Any]:
    """All that is asked of one candidate; None for what is not. Raises MeiError."""
    checks, found = bench.checks, {"replay": _step(bench, subject, "replay", _replay)}
    kinds: dict[str, tuple[bool, _Work]] = {
        "monte_carlo": (checks.monte_carlo, _monte_carlo),
        "cross_universe": (bool(bench.symbol_sets), _cross_universe),
        "concentration": (checks.concentration, _concentration),
        "walk_forward": (checks.walk_forward, _walk_forward),
        "slippage_stress": (checks.slippage_stress, _slippage),
        "sensitivity": (checks.sensitivity, _sensitivity),
    }
    for name in CHECKS:
        is_asked, work = kinds[name]
        found[name] = _step(bench, subject, name, work) if is_asked else None
    return found


_Work = Callable[[Bench, Subject], dict[str, Any]]


def _step(bench: Bench, subject: Subject, name: str, work: _Work) -> Any:
    step = f"{name}:{subject.short}"
    if bench.run.is_done(step):
        return bench.run.result(step)
    found = bench.run.once(step, lambda: work(bench, subject))
    if name in CHECKS:
        bench.tell(f"[factory] {subject.short}: {name.replace('_', ' ')}: {in_words(name, found)}")
    return found


def _ground(bench: Bench, subject: Subject) -> Ground:
    return find_ground(_terms(bench, subject), _silent)


def _terms(bench: Bench, subject: Subject) -> RunTerms:
    return replace(bench.terms, config=str(bench.run.path / subject.config))


def _silent(_line: str) -> None:
    """Candidates are all of one sort: what is to be said of their settings was said of the first file."""


def _folder(bench: Bench, subject: Subject, *parts: str) -> Path:
    folder = bench.run.path.joinpath("validation", subject.short, *parts)
    ensure_folder(folder)
    return folder


def _replay_files(bench: Bench, subject: Subject) -> ReplayFiles:
    return ReplayFiles.in_folder(bench.run.file("replays", subject.short, "replay.json").parent)


def _trades_csv(bench: Bench, subject: Subject) -> str:
    return str(bench.run.path / "replays" / subject.short / "trades.csv")


def _replay(bench: Bench, subject: Subject) -> dict[str, Any]:
    files = _replay_files(bench, subject)
    asked = _ground(bench, subject).request(
        lookback=bench.lookback, export_trades=_trades_csv(bench, subject), with_curve=True
    )
    report = replay_into(files, asked, _silent, bench.load)
    _refuse_other_data(bench, subject, report)
    numbers = {name: report.fields[name] for name in NUMBERS}
    bench.tell(
        f"[factory] {subject.short}: {numbers['total_trades']} trades, PnL ${numbers['total_pnl']:.2f}, drawdown "
        f"{numbers['max_drawdown_pct'] * 100.0:.2f}%"
    )
    return numbers | _luck(report, bench.trials)


def _refuse_other_data(bench: Bench, subject: Subject, report: ReplayReport) -> None:
    for name in _AS_SWEPT:
        swept, found = subject.row[name], report.fields[name]
        if swept != found:
            raise VerificationError(
                f"{bench.run.run_id}: {name} of {subject.short} must be that of its row in the sweep, {swept}, the "
                f"replay gives {found}: candles or funding rates were changed since; begin a new run"
            )


def _luck(report: ReplayReport, trials: Trials) -> dict[str, Any]:
    """PSR and DSR of the replay's daily returns, against all trials on the market."""
    curve = report.fields["equity_curve"]
    at_ms = np.array([point[0] for point in curve], dtype=np.int64)
    equity_usd = np.array([point[1] for point in curve], dtype=np.float64)
    daily = moments(daily_returns(at_ms, equity_usd))
    psr, dsr = probabilistic_sharpe_ratio(daily), deflated_sharpe_ratio(daily, trials)
    return {
        "probabilistic_sharpe_ratio": psr.value,
        "deflated_sharpe_ratio": dsr.value,
        "deflated_sharpe_reason": dsr.reason,
    }


def _monte_carlo(bench: Bench, subject: Subject) -> dict[str, Any]:
    report = read_replay_report(_replay_files(bench, subject).report)
    if not report.number("total_trades"):
        return {"skipped": "no trade to draw"}
    output = _folder(bench, subject) / "monte_carlo.json"
    request = MonteCarloRequest(
        _trades_csv(bench, subject),
        report.number("initial_balance"),
        seed=bench.seed,
        output=str(output),
    )
    run_monte_carlo(request, _silent)
    found = read_replay_report(str(output)).fields
    return {"observed": found["observed"], "methods": found["methods"]}


def _cross_universe(bench: Bench, subject: Subject) -> dict[str, Any]:
    output = _folder(bench, subject) / "cross_universe.json"
    report = _replay_files(bench, subject).report
    run_cross_universe(CrossUniverseRequest(report, bench.symbol_sets, str(output)), _silent)
    found = read_replay_report(str(output)).fields["symbol_sets"]
    return {one["name"]: one["shares"] for one in found}


def _concentration(bench: Bench, subject: Subject) -> dict[str, Any]:
    output = _folder(bench, subject) / "concentration.json"
    checks = bench.checks
    request = ConcentrationRequest(
        _replay_files(bench, subject).report,
        checks.max_top1_frac,
        checks.max_top5_frac,
        checks.min_symbols,
        str(output),
    )
    run_concentration_checks(request, _silent)
    found = read_replay_report(str(output)).fields
    return {name: found[name] for name in ("metrics", "reject", "reject_reasons")}


def _walk_forward(bench: Bench, subject: Subject) -> dict[str, Any]:
    request = WalkForwardRequest(
        _terms(bench, subject),
        tuple(bench.checks.splits),
        min_test_days=bench.checks.min_test_days,
        out_dir=str(_folder(bench, subject, "walk_forward")),
    )
    found = run_walk_forward(request, _silent, bench.load, bench.seconds)
    return {"aggregate": found["aggregate"], "skipped": found["skipped"]}


def _slippage(bench: Bench, subject: Subject) -> dict[str, Any]:
    request = SlippageRequest(
        _terms(bench, subject),
        tuple(bench.checks.levels_bps),
        bench.checks.reject_bps,
        str(_folder(bench, subject, "slippage_stress")),
    )
    found = run_slippage_stress(request, _silent, bench.load, bench.seconds)
    return {"aggregate": found["aggregate"]}


def _sensitivity(bench: Bench, subject: Subject) -> dict[str, Any]:
    folder = _folder(bench, subject, "sensitivity")
    request = SensitivityRequest(_terms(bench, subject), str(folder), str(folder / "summary.json"))
    found = run_sensitivity_check(request, _silent, bench.load, bench.seconds)
    return {"aggregate": found["aggregate"]}
