"""How a run tells its progress: a bar on a terminal, a line every ten seconds elsewhere, or JSON lines."""

from __future__ import annotations

import logging
import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mei.loop.driver import Driver
from mei.web.logs import stream_fields

LINE_EVERY_S = 10.0
_log = logging.getLogger("backtest_runner")


class View(Protocol):
    """What the runner tells, in the order it does."""

    def line(self, text: str) -> None:
        """Something worth a line."""

    def name_run(self, stream: str) -> None:
        """The stream of the run that starts or goes on."""

    def start(self, n_bars: int) -> None:
        """The walk begins; `n_bars` of all symbols together."""

    def show(self, driver: Driver) -> None:
        """Another chunk is done."""

    def stopped(self, run_id: str) -> None:
        """The run was asked to stop and can be continued; its id is empty when it hung."""


class TextView:
    """For people: a progress bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._task: TaskID | None = None
        self._n_bars = 0
        self._last_line_s = time.monotonic()

    def line(self, text: str) -> None:
        """Print it."""
        self._console.print(text, soft_wrap=True)

    def name_run(self, stream: str) -> None:
        """The lines name the run already."""

    def start(self, n_bars: int) -> None:
        """Show the bar."""
        self._n_bars = n_bars
        self._task = self._progress.add_task("", total=n_bars)

    def show(self, driver: Driver) -> None:
        """Move the bar, or print a line now and then."""
        if self._task is not None:
            text = _state(driver)
            self._progress.update(self._task, completed=_bars_taken(driver), description=text)
        now_s = time.monotonic()
        if not self._console.is_terminal and now_s - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now_s
            self.line(f"bars {_bars_taken(driver)}/{self._n_bars}  {_state(driver)}")

    def stopped(self, run_id: str) -> None:
        """One line on stderr."""
        print(_stopped(run_id), file=sys.stderr)


class JsonView:
    """For machines: log records with the run and its stream (configure_logs makes them JSON on stderr)."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}
        self._n_bars = 0
        self._last_line_s = time.monotonic()

    def line(self, text: str) -> None:
        """Log it."""
        _log.info(text, extra=self._fields)

    def name_run(self, stream: str) -> None:
        """From here on the records carry stream and run id."""
        self._fields = stream_fields(stream)

    def start(self, n_bars: int) -> None:
        """Log the size of the walk, so that a reader knows when the first bar was taken."""
        self._n_bars = n_bars
        _log.info("first bar", extra={**self._fields, "n_bars": n_bars})

    def show(self, driver: Driver) -> None:
        """A record every ten seconds."""
        now_s = time.monotonic()
        if now_s - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now_s
            self.line(f"bars {_bars_taken(driver)}/{self._n_bars}  {_state(driver)}")

    def stopped(self, run_id: str) -> None:
        """A warning."""
        _log.warning(_stopped(run_id), extra=self._fields)


def progress_bar(console: Console) -> Progress:
    """The bar, shown only on a terminal."""
    return Progress(
        BarColumn(bar_width=8),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} bars"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
        console=console,
        disable=not console.is_terminal,
        refresh_per_second=4,
    )


def _bars_taken(driver: Driver) -> int:
    return sum(book.feed.n_taken for book in driver.symbols)


def _state(driver: Driver) -> str:
    counts = driver.counts
    return (
        f"{sum(counts.trainings.values())} trainings {counts.promotions} promotions "
        f"equity {driver.engine.equity:,.2f}"
    )


def _stopped(run_id: str) -> str:
    of_run = f" of run {run_id}" if run_id else ""
    return f"stopped at a checkpoint{of_run}: the same command continues it"
