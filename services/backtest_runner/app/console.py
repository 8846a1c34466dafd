"""The runner on a terminal: how it goes, stop on a signal, summary table."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mei.web.fault_plan import install_fault_plan
from mei.web.logs import configure_logs
from services.backtest_runner.app.publish import PUBLISHED
from services.backtest_runner.app.service import (
    ALREADY_FINISHED,
    STOPPED,
    Hooks,
    RunReport,
    run_loop,
)
from services.backtest_runner.app.settings import Settings
from services.backtest_runner.app.views import JsonView, TextView, View, progress_bar

EXIT_STOPPED = 130
#: A run that finds no checkpoint within this time after SIGTERM (a service is away) is left at its last one.
STOP_LIMIT_S = 5.0
SAMPLE_SYMBOLS = ("BTC/USDT", "ETH/USDT")


def run_in_console(settings: Settings, *, sample_if_empty: bool) -> int:
    """Run the loop and print how it goes and what came out; the exit code."""
    install_fault_plan()
    console = Console(stderr=False, highlight=False)
    with _StopFlag() as stop, progress_bar(console) as progress:
        view = _view(settings, console, progress)
        if sample_if_empty:
            _write_sample_if_empty(settings, view.line)
        hooks = Hooks(
            on_line=view.line,
            on_progress=view.show,
            on_start=view.start,
            on_run=view.name_run,
            should_stop=stop.is_set,
        )
        report = asyncio.run(_until_stopped(run_loop(settings, hooks), stop))
        if report is None or report.status == STOPPED:
            view.stopped("" if report is None else report.run_id)
            return EXIT_STOPPED
        view.line(_outcome(report))
    _print_summary(console, settings, report)
    return 0


async def _until_stopped(run: Coroutine[Any, Any, RunReport], stop: _StopFlag) -> RunReport | None:
    """The report; None when the run hung (on a service, say) and was left at its last checkpoint."""
    task, loop = asyncio.ensure_future(run), asyncio.get_running_loop()
    # Through the thread-safe door: it wakes a loop that waits for a socket.
    stop.give_up = lambda: loop.call_soon_threadsafe(loop.call_later, STOP_LIMIT_S, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return None


class _StopFlag:
    """SIGTERM and the first Ctrl-C ask for a checkpoint and a clean end; a second Ctrl-C interrupts."""

    def __init__(self) -> None:
        self._is_set = False
        self.give_up: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _StopFlag:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._set)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_set(self) -> bool:
        return self._is_set

    def _set(self, _signal: int, _frame: Any) -> None:
        self._is_set = True
        if self.give_up is not None:
            self.give_up()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _view(settings: Settings, console: Console, progress: Progress) -> View:
    if settings.log_format == "text":
        return TextView(console, progress)
    configure_logs("backtest_runner")
    return JsonView()


def _write_sample_if_empty(settings: Settings, on_line: Callable[[str], None]) -> None:
    from mei.data.sample import sample_was_interrupted, write_sample

    research_dir = settings.research_dir
    if _candle_files(research_dir) and not sample_was_interrupted(research_dir):
        return
    on_line(f"{research_dir} holds no candles: writing the sample")
    write_sample(research_dir, symbols=SAMPLE_SYMBOLS, days=30, seed=42)


def _candle_files(research_dir: Path) -> list[Path]:
    if not research_dir.is_dir():
        return []
    return [path for path in research_dir.glob("*/*/*") if path.is_file()]


def _outcome(report: RunReport) -> str:
    if report.status == ALREADY_FINISHED:
        return f"run {report.run_id} is finished and its outputs verify; RERUN=1 runs it again"
    timing = report.timing
    apart_s = max(report.loop_s - timing.train_s, 1e-9)
    return (
        f"run {report.run_id}: {report.n_bars:,} rows in {report.loop_s:.1f} s, of which trainings "
        f"{timing.train_s:.1f} s (fits {timing.fit_s:.1f} s); without them {report.n_bars / apart_s:,.0f} rows/s"
    )


def _print_summary(console: Console, settings: Settings, report: RunReport) -> None:
    assert report.summary is not None, "a run that was not stopped has a summary"
    console.print(_summary_table(report.summary))
    for name in PUBLISHED:
        console.print(str(settings.results_dir / name), soft_wrap=True)


def _summary_table(summary: dict[str, Any]) -> Table:
    from mei.report.labels import format_number, headlines

    table = Table(title=f"run {summary['run']['run_id']}", show_header=False, title_justify="left")
    for line in headlines(summary):
        table.add_row(line.label, line.value, line.note)
    for preset, numbers in summary["breakdown"]["preset"].items():
        trades = f"{format_number(numbers['n_trades'])} trades"
        table.add_row(f"Preset {preset}", format_number(numbers["net_pnl"]), trades)
    for note in summary["notes"]:
        table.add_row("Note", "", note)
    return table
