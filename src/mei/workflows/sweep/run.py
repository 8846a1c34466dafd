"""One sweep from a command line: plan, run what is not in the journal yet, merge, say what came of it."""

from __future__ import annotations

import glob
import math
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np

from mei.engines.select import CPU
from mei.jit import is_cold
from mei.metrics.overfitting import Spread
from mei.model import faults
from mei.model.errors import ConfigError, StoppedError
from mei.report.replay_text import sweep_table
from mei.workflows.compiling import compile_seconds
from mei.workflows.run_facts import run_object
from mei.workflows.strategy import Tell
from mei.workflows.sweep.best import (
    Best,
    best_lines,
    only_writer,
    rerun_best,
    write_about,
    write_best,
)
from mei.workflows.sweep.device import choose_device, tell_compiling, verify_on_cpu
from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.sweep.journal import Journal
from mei.workflows.sweep.merge import Ranking, SweptRow, check_format, write_rows
from mei.workflows.sweep.plan import SweepPlan, market_of, plan_sweep
from mei.workflows.sweep.request import SweepRequest
from mei.workflows.sweep.trials import TrialCount, ledger_location
from mei.workflows.sweep.watch import BestSoFar, Progress, Unwatched, Watch
from mei.workflows.sweep.work import Work, journal_path, work_of
from mei.workflows.threads import usual_threads
from mei.workflows.trial_spread import add_rows

#: Between lines of progress, and between counts of trials in the ledger.
_TELL_EVERY_S: Final = 5.0

Clock = Callable[[], float]
NowMs = Callable[[], int]


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """What a sweep left. top: the first rows of its file; best: those that were run again; n_trials: ever counted, and
    the variance of their Sharpe ratios a day."""

    n_rows: int
    top: tuple[SweptRow, ...]
    best: tuple[Best, ...]
    n_trials: int
    sharpe_variance: float


def run_sweep(
    request: SweepRequest,
    tell: Tell,
    clock: Clock = time.monotonic,
    now_ms: NowMs = _wall_ms,
    watch: Watch | None = None,
) -> SweepOutcome:
    """Run every combination that is not in the journal yet, and write all rows, best first. Raises MeiError.

    `tell` hears progress and the table of the best, a line each. clock: seconds, for speeds and the pace of progress.
    now_ms: stamped on the count of trials. watch: who looks on and may stop it, beside SIGINT and SIGTERM.
    """
    watch = watch or Unwatched()
    check_format(request.output)
    check_packages(request)
    device = choose_device(request)
    plan = plan_sweep(request, tell, is_on_card=device.card is not None)
    watch.loaded(plan.data_id)
    n_threads = request.threads or usual_threads()
    auto = "" if request.threads else " (auto)"
    tell(f"[sweep] Thread pool: {n_threads} threads{auto}")
    if request.device != CPU:
        tell(f"[sweep] Device: {device.said}")
    tell_compiling(plan, device, tell)
    engine = plan.strategy.sweep(plan.inputs, n_threads, device.card)
    work = work_of(request, plan, engine, n_threads, tell)
    n_total = work.tell_count(tell)
    location = ledger_location(request.ledger)
    if n_total == 0 and plan.spec.constraints and plan.semantics.config_errors == "refuse":
        raise ConfigError(
            f"{request.spec}: the constraints must leave a combination, they leave none: loosen them"
        )
    trials = TrialCount(location, market_of(plan.inputs), work.identity, request.strategy, now_ms)
    path = journal_path(request.output, work)
    with (
        closing(trials),
        only_writer(request.output),
        Journal(path, work.journal_identity, work.dtype) as journal,
    ):
        _tell_journal(journal, request.output, tell)
        n_before = journal.n_rows
        started = clock()
        kernel = plan.strategy.kernel(is_sweep=True, n_symbols=_n_traded(plan))
        _Filling(work, engine, journal, trials, tell, clock, watch, n_total, kernel).run()
        took_s = clock() - started
        ranking = Ranking(journal, engine, plan.spec, work.named)
        ranking.check_complete(n_total)
        verified: dict[str, Any] = {}
        if device.card is not None:
            same = verify_on_cpu(plan, ranking, request.n_rerun, n_threads)
            tell(
                f"[sweep] verified: cpu: {same.n_rows} rows run again there, "
                f"largest difference {same.largest_difference:g}"
            )
            verified = {
                "verified": "cpu",
                "rows_verified": same.n_rows,
                "largest_difference": same.largest_difference,
            }
        about = {"device": device.said, **verified}
        outcome = _finish(request, plan, ranking, trials, about, tell)
        watch.finished()
        journal.remove()
    n_run = outcome.n_rows - n_before
    rate = _rate(n_run, took_s)
    tell(f"[sweep] {n_run} combos completed in {took_s:.2f}s ({rate:.1f} combos/s)")
    return outcome


def _n_traded(plan: SweepPlan) -> int:
    """Symbols that the sweep trades."""
    symbols, traded = set(plan.inputs.candles.symbols), plan.inputs.traded
    return len(symbols if traded is None else symbols & set(traded))


def _rate(n: int, took_s: float) -> float:
    return n / took_s if took_s > 0.0 else 0.0


def check_packages(request: SweepRequest) -> None:
    """What the flags need must be installed, and go together. ConfigError."""
    if request.scheduler is not None and request.tpe is not None:
        raise ConfigError(
            "--scheduler and --tpe must not be given together, both were: a search runs in one process"
        )
    wanted = (
        ("--scheduler", request.scheduler, "distributed", "Dask", "cluster"),
        ("--tpe", request.tpe, "optuna", "Optuna", "tpe"),
    )
    for flag, value, package, name, extra in wanted:
        if value is not None and find_spec(package) is None:
            raise ConfigError(
                f"{flag} needs {name}, which is not installed: pip install 'mei-backtester[{extra}]', or leave it out"
            )


@dataclass(slots=True)
class _Filling:
    """Chunks into the journal, with progress, until all are there or the user stops it."""

    work: Work
    engine: SweepEngine
    journal: Journal
    trials: TrialCount
    tell: Tell
    clock: Clock
    watch: Watch
    n_total: int
    kernel: str
    _spread: Spread = field(default_factory=Spread)
    _best: tuple[tuple[float, int], Any] | None = None

    def run(self) -> None:
        """Raises StoppedError on SIGINT, SIGTERM or the watch's word, when the chunk in work is journalled."""
        for _, records in self.journal.blocks():
            self._add(records)
        missing = [n for n in range(self.work.n_chunks) if n not in self.journal.frames]
        compiles = bool(missing) and is_cold(self.kernel)
        if compiles:
            self.tell(
                "[sweep] The first run compiles, about half a minute (tools/build_mei_backtester.py does so ahead)"
            )
        started = told = self.clock()
        n_before = self.journal.n_rows
        self._show(None)
        with _stopped_by_signals() as is_stopped:

            def stopped() -> bool:
                return is_stopped() or self.watch.is_stopped()

            found = self.work.executor(self.journal, stopped).rows(missing)
            if compiles:
                found = self._timed(found)
            for n_done, (chunk, records) in enumerate(found, start=1):
                self.journal.append(chunk, records)
                self._add(records)
                now = self.clock()
                self._show(_rate(self.journal.n_rows - n_before, now - started))
                if stopped():
                    self._stop()
                if now - told >= _TELL_EVERY_S and n_done < len(missing):
                    told = now
                    self._progress(n_done, len(missing), n_before, now - started)
            if stopped():
                self._stop()
        self.trials.count(self.journal.n_rows, self._spread)

    def _timed(self, found: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """The same chunks; with the first it is told how long compiling took here."""
        with compile_seconds() as compiled_s:
            first = next(found, None)
        if compiled_s() > 0.0:
            self.tell(f"[sweep] Compiled in {compiled_s():.1f} s, kept for the next run")
        if first is not None:
            yield first
        yield from found

    def _add(self, records: Any) -> None:
        add_rows(self._spread, self.engine, records["row"])
        if len(records):
            profits = self.engine.total_pnl_usd(records["row"])
            first = int(np.lexsort((records["index"], -profits))[0])
            profit = float(profits[first])
            place = (math.inf if math.isnan(profit) else -profit, int(records["index"][first]))
            if self._best is None or place < self._best[0]:
                self._best = place, records[first].copy()

    def _show(self, rows_per_s: float | None) -> None:
        best = None
        if self._best is not None:
            (loss, _), record = self._best
            best = BestSoFar(*self.work.named(record), -loss)
        self.watch.progressed(Progress(self.journal.n_rows, self.n_total, rows_per_s, best))

    def _progress(self, n_done: int, n_missing: int, n_before: int, took_s: float) -> None:
        self.trials.count(self.journal.n_rows, self._spread)
        rate = _rate(self.journal.n_rows - n_before, took_s)
        left_s = took_s / n_done * (n_missing - n_done)
        share = len(self.journal.frames) / self.work.n_chunks
        self.tell(
            f"[sweep] {self.journal.n_rows:,} rows ({share:.1%}), {rate:,.0f} combos/s, about {left_s:,.0f} s left"
        )

    def _stop(self) -> None:
        if len(self.journal.frames) == self.work.n_chunks:
            return
        self.trials.count(self.journal.n_rows, self._spread)
        raise StoppedError(
            f"stopped after {self.journal.n_rows:,} rows; they are kept in {self.journal.path}, the same command goes "
            f"on from there: {shlex.join(sys.argv)}"
        )


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came since; a second one ends the process as usual."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def catch(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        for one, handler in before.items():
            signal.signal(one, handler)

    for one in before:
        signal.signal(one, catch)
    try:
        yield lambda: bool(caught)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _tell_journal(journal: Journal, output: str, tell: Tell) -> None:
    target = Path(output)
    for other in sorted(target.parent.glob(f"{glob.escape(target.name)}.*.journal")):
        if other != journal.path:
            tell(
                f"[sweep] {other} is of another sweep that was not finished (other settings, data or release): go on "
                "with that one, or delete it"
            )
    for line in journal.repairs:
        tell(f"[sweep] {line}")
    if journal.n_rows:
        tell(f"[sweep] {journal.n_rows:,} rows are in {journal.path} already and are not run again")


def _finish(
    request: SweepRequest,
    plan: SweepPlan,
    ranking: Ranking,
    trials: TrialCount,
    about: Mapping[str, Any],
    tell: Tell,
) -> SweepOutcome:
    tried = trials.all(len(ranking), ranking.spread)
    best = rerun_best(plan, ranking, request.n_rerun, tried)
    write_rows(ranking, request.output, plan.marks)
    faults.hit("sweep.merge.written")
    tell("")
    tell(f"[sweep] Results written to {request.output} ({len(ranking)} rows)")
    top = [ranking.row(rank) for rank in range(min(request.top_n, len(ranking)))]
    for line in sweep_table([(row.config_id, row.numbers, row.overrides) for row in top], len(top)):
        tell(line)
    for line in best_lines(best, tried.n_trials, len(ranking), trials.is_counting):
        tell(line)
    tell(trials.counted_line())
    write_best(best, request.output, tell)
    write_about(
        request.output,
        {
            **about,
            "run": run_object(plan.facts),
            "axes": {axis.path: len(axis.values) for axis in plan.spec.axes},
            "constraints": [constraint.text for constraint in plan.spec.constraints],
            "search": None if request.tpe is None else asdict(request.tpe),
            "rows": len(ranking),
            "market_id": market_of(plan.inputs).market_id,
            "trials_on_this_market": tried.n_trials,
            "are_all_trials_counted": trials.is_counting,
            "symbols_left_out": list(plan.left_out),
            "data_id": plan.data_id,
            "sweep_id": plan.identity,
        },
    )
    return SweepOutcome(len(ranking), tuple(top), tuple(best), tried.n_trials, tried.variance)
