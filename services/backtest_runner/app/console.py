"""The runner on a terminal: progress bar (or lines, when nobody watches), stop on a signal, summary table."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from mei.loop.driver import Driver
from mei.web.fault_plan import install_fault_plan
from services.backtest_runner.app.publish import PUBLISHED
from services.backtest_runner.app.service import (
    ALREADY_FINISHED,
    STOPPED,
    Hooks,
    RunReport,
    run_loop,
)
from services.backtest_runner.app.settings import Settings

EXIT_STOPPED = 130
SAMPLE_SYMBOLS = ("BTC/USDT", "ETH/USDT")
_LINE_EVERY_S = 10.0


def run_in_console(settings: Settings, *, sample_if_empty: bool) -> int:
    """Run the loop and print how it goes and what came out; the exit code."""
    install_fault_plan()
    console = Console(stderr=False, highlight=False)
    if sample_if_empty:
        _write_sample_if_empty(settings, console)
    with _StopFlag() as stop, _progress(console) as progress:
        view = _View(console, progress)
        hooks = Hooks(
            on_line=view.line,
            on_progress=view.show,
            on_start=view.start,
            should_stop=stop.is_set,
        )
        report = asyncio.run(run_loop(settings, hooks))
    return _tell(console, settings, report)


class _StopFlag:
    """SIGTERM and the first Ctrl-C ask for a checkpoint and a clean end; a second Ctrl-C interrupts."""

    def __init__(self) -> None:
        self._is_set = False
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
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _View:
    """Shows progress: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._task: TaskID | None = None
        self._n_bars = 0
        self._last_line_s = time.monotonic()

    def line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def start(self, n_bars: int) -> None:
        self._n_bars = n_bars
        self._task = self._progress.add_task("", total=n_bars)

    def show(self, driver: Driver) -> None:
        taken = sum(book.feed.n_taken for book in driver.symbols)
        counts = driver.counts
        text = (
            f"{sum(counts.trainings.values())} trainings {counts.promotions} promotions "
            f"equity {driver.engine.equity:,.2f}"
        )
        if self._task is not None:
            self._progress.update(self._task, completed=taken, description=text)
        now_s = time.monotonic()
        if not self._console.is_terminal and now_s - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = now_s
            self._console.print(f"bars {taken}/{self._n_bars}  {text}", soft_wrap=True)


def _progress(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=8),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} bars"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
        console=console,
        disable=not console.is_terminal,
        refresh_per_second=4,
    )


def _write_sample_if_empty(settings: Settings, console: Console) -> None:
    from mei.data.sample import sample_was_interrupted, write_sample

    research_dir = settings.research_dir
    if _candle_files(research_dir) and not sample_was_interrupted(research_dir):
        return
    console.print(f"{research_dir} holds no candles: writing the sample", soft_wrap=True)
    write_sample(research_dir, symbols=SAMPLE_SYMBOLS, days=30, seed=42)


def _candle_files(research_dir: Path) -> list[Path]:
    if not research_dir.is_dir():
        return []
    return [path for path in research_dir.glob("*/*/*") if path.is_file()]


def _tell(console: Console, settings: Settings, report: RunReport) -> int:
    if report.status == STOPPED:
        print(
            f"stopped at a checkpoint of run {report.run_id}: the same command continues it",
            file=sys.stderr,
        )
        return EXIT_STOPPED
    assert report.summary is not None, "a run that was not stopped has a summary"
    if report.status == ALREADY_FINISHED:
        console.print(
            f"run {report.run_id} is finished and its outputs verify; RERUN=1 runs it again",
            soft_wrap=True,
        )
    else:
        timing = report.timing
        apart_s = max(report.loop_s - timing.train_s, 1e-9)
        console.print(
            f"run {report.run_id}: {report.n_bars:,} rows in {report.loop_s:.1f} s, of which trainings "
            f"{timing.train_s:.1f} s (fits {timing.fit_s:.1f} s); apart: {report.n_bars / apart_s:,.0f} rows/s",
            soft_wrap=True,
        )
    console.print(_summary_table(report.summary))
    for name in PUBLISHED:
        console.print(str(settings.results_dir / name), soft_wrap=True)
    return 0


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
