"""A run of the learning loop from settings to files: prepare, start or resume, walk, publish."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mei.data.research import read_series
from mei.learning.features import PREDICT_WARM_UP_BARS
from mei.ledger.database import Ledger
from mei.loop.books import LegBook, SeatBook, SymbolBook
from mei.loop.checkpoint import LedgerCheckpoints
from mei.loop.driver import Driver, Timing
from mei.loop.engine import Engine, Leg
from mei.loop.execution import Book
from mei.loop.feed import SymbolFeed
from mei.loop.hooks import strategy_hook
from mei.loop.identity import settings_dict
from mei.loop.ingest import ChunkRegistrar
from mei.loop.outputs import RunOutputs
from mei.loop.portfolio import Portfolio
from mei.model.bars import interval_ms
from mei.model.errors import ConfigError, MeiError, ServiceUnavailableError
from mei.model.moments import iso
from mei.model.settings import LoopSettings
from mei.strategies.base import Context, PortfolioContext, PortfolioStrategy, Strategy
from mei.strategies.load import LoadedStrategy
from services.backtest_runner.app.attempts import (
    Attempt,
    choose_attempt,
    end_in_failure,
    end_in_success,
    only_runner,
)
from services.backtest_runner.app.connect import Clients, connect
from services.backtest_runner.app.prepare import Plan, make_plan, scan_candles
from services.backtest_runner.app.publish import publish, verify_outputs
from services.backtest_runner.app.service_http import HttpLoopServices
from services.backtest_runner.app.settings import Settings

FINISHED, STOPPED, ALREADY_FINISHED = "finished", "stopped", "already finished"


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a run talks to whoever started it. Nothing here can change a result."""

    on_line: Callable[[str], None]
    on_progress: Callable[[Driver], None]
    on_start: Callable[[int], None]
    should_stop: Callable[[], bool]
    on_run: Callable[[str], None] = lambda _stream: None
    clock_s: Callable[[], float] = time.monotonic
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended. `summary` is None when it was stopped before its end."""

    run_id: str
    status: str
    folder: Path
    summary: dict[str, Any] | None
    timing: Timing
    loop_s: float
    n_bars: int
    n_trades: int


async def run_loop(settings: Settings, hooks: Hooks) -> RunReport:
    """Run, resume, or recognise as finished what `settings` describe. Raises MeiError."""
    candles = scan_candles(settings, hooks.on_line)
    async with AsyncExitStack() as stack:
        ledger = Ledger.open(settings.ledger_db)
        stack.callback(ledger.close)
        clients = await connect(settings, hooks.on_line, stack)
        await _check_same_ledger(clients, ledger)
        plan = make_plan(candles, await clients.param_controller.get_json("/params"))
        with only_runner(settings.results_dir, plan.run_id):
            attempt = choose_attempt(
                ledger, plan, settings.results_dir, rerun=settings.rerun, now_ms=hooks.wall_ms()
            )
            if attempt.is_finished:
                return _recognise(settings, plan, attempt)
            return await _work(settings, hooks, plan, ledger, clients, attempt)


async def _check_same_ledger(clients: Clients, ledger: Ledger) -> None:
    """A service on another manifest would find no chunk and train nothing."""
    for client in (clients.ml_service, clients.param_controller):
        theirs = (await client.get_json("/ready"))["ledger_id"]
        if theirs != ledger.ledger_id:
            raise ConfigError(
                f"LEDGER_DB must be the same manifest for all, {client.where} works on ledger {theirs} and the runner "
                f"on {ledger.ledger_id}: give both the same LEDGER_DB and start the service again"
            )


def _recognise(settings: Settings, plan: Plan, attempt: Attempt) -> RunReport:
    hashes = orjson.loads(attempt.row.outputs_json or "{}")
    summary = verify_outputs(attempt.folder, settings.results_dir, hashes)
    return RunReport(plan.run_id, ALREADY_FINISHED, attempt.folder, summary, Timing(), 0.0, 0, 0)


async def _work(
    settings: Settings,
    hooks: Hooks,
    plan: Plan,
    ledger: Ledger,
    clients: Clients,
    attempt: Attempt,
) -> RunReport:
    """Walk and publish; an error that is not an absent service is recorded with the attempt."""
    row = attempt.row
    hooks.on_run(row.stream)
    what = "start" if attempt.is_new else "resume"
    if attempt.saved is not None:
        what += f" after {iso(attempt.saved['driver']['close_ms'])}"
    hooks.on_line(f"run {row.run_id} attempt {row.attempt}: {what}")
    try:
        return await _walk(settings, hooks, plan, ledger, clients, attempt)
    except ServiceUnavailableError:
        raise
    except MeiError as error:
        end_in_failure(ledger, attempt, f"{error.code}: {error}", hooks.wall_ms())
        raise


async def _walk(
    settings: Settings,
    hooks: Hooks,
    plan: Plan,
    ledger: Ledger,
    clients: Clients,
    attempt: Attempt,
) -> RunReport:
    loop, stream, saved = plan.candles.loop, attempt.row.stream, attempt.saved
    engine, books = _assemble(plan, settings.batch_bars)
    answers = HttpLoopServices(clients, stream=stream, loop=loop, presets=plan.presets)
    chunks = ChunkRegistrar(ledger, settings.data_incoming, stream, loop.timeframe)
    offsets = None if saved is None else saved["offsets"]
    outputs = RunOutputs(attempt.folder, loop.symbols, offsets, decision_log=loop.decision_log)
    try:
        driver = Driver(
            loop,
            engine,
            books,
            answers,
            chunks,
            outputs,
            LedgerCheckpoints(ledger, stream),
            batch_bars=settings.batch_bars,
            on_progress=hooks.on_progress,
            should_stop=hooks.should_stop,
            clock_s=hooks.clock_s,
        )
        if saved is not None:
            driver.restore(saved["driver"])
        hooks.on_start(plan.candles.n_bars)
        # What was imported and prepared lives to the end: the collector need not walk it again and again.
        gc.freeze()
        started_s, bars_before = hooks.clock_s(), driver.counts.bars
        trades_before = driver.counts.trades_closed
        is_complete = await driver.run()
    finally:
        outputs.close()
    loop_s = hooks.clock_s() - started_s
    summary = _finish(settings, hooks, plan, ledger, attempt, engine) if is_complete else None
    return RunReport(
        run_id=plan.run_id,
        status=FINISHED if is_complete else STOPPED,
        folder=attempt.folder,
        summary=summary,
        timing=driver.timing,
        loop_s=loop_s,
        n_bars=driver.counts.bars - bars_before,
        n_trades=driver.counts.trades_closed - trades_before,
    )


def _assemble(plan: Plan, batch_bars: int) -> tuple[Engine, list[SymbolBook]]:
    """Books in the order of SYMBOLS and, within one, of STRATEGIES."""
    candles = plan.candles
    loop = candles.loop
    bar_ms = interval_ms(loop.timeframe)
    keep_bars = max(PREDICT_WARM_UP_BARS + 1, loop.chunk_rows)
    single: list[tuple[LoadedStrategy, type[Strategy]]] = []
    portfolios: list[Portfolio] = []
    for loaded in candles.strategies:
        if issubclass(loaded.kind, PortfolioStrategy):
            portfolios.append(_portfolio(loop, loaded, loaded.kind, bar_ms))
        else:
            single.append((loaded, loaded.kind))
    books: list[SymbolBook] = []
    for symbol in loop.symbols:
        feed = SymbolFeed(symbol, bar_ms, read_series(candles.scans[symbol]), keep_bars)
        legs = [
            LegBook(
                _leg(loop, loaded, kind, symbol, bar_ms),
                batch_bars,
                is_tuned=loaded.name in plan.presets,
            )
            for loaded, kind in single
        ]
        seats = [
            SeatBook(one, one.seats[symbol], batch_bars, is_tuned=one.book.strategy in plan.presets)
            for one in portfolios
        ]
        books.append(SymbolBook(feed, legs, seats))
    all_legs = [leg_book.leg for book in books for leg_book in book.legs]
    engine = Engine(all_legs, loop.costs, loop.initial_cash, loop.entry_fill, portfolios)
    return engine, books


def _leg(
    loop: LoopSettings, loaded: LoadedStrategy, kind: type[Strategy], symbol: str, bar_ms: int
) -> Leg:
    strategy = kind()
    strategy.name = loaded.name
    context = Context(symbol, loop.timeframe, bar_ms, loop.strategy_params[loaded.name])
    book = Book(loaded.name, symbol)
    with strategy_hook(book, "on_start"):
        strategy.on_start(context)
    return Leg(book, strategy, context)


def _portfolio(
    loop: LoopSettings, loaded: LoadedStrategy, kind: type[PortfolioStrategy], bar_ms: int
) -> Portfolio:
    strategy = kind()
    strategy.name = loaded.name
    context = PortfolioContext(
        instruments=loop.symbols,
        interval_ms=bar_ms,
        settings=loop.strategy_params[loaded.name],
        costs=loop.costs,
        entry_fill=loop.entry_fill,
        cash_usd=loop.initial_cash,
    )
    portfolio = Portfolio(strategy, context)
    with strategy_hook(portfolio.book, "on_start"):
        strategy.on_start(context)
    return portfolio


def _finish(
    settings: Settings,
    hooks: Hooks,
    plan: Plan,
    ledger: Ledger,
    attempt: Attempt,
    engine: Engine,
) -> dict[str, Any]:
    """Summary, report, copies in RESULTS_DIR, and only then the ledger's word that the run is finished."""
    run = {
        "run_id": plan.run_id,
        "attempt": attempt.row.attempt,
        "status": "finished",
        "settings": settings_dict(plan.candles.loop),
        "data": {symbol: scan.as_dict() for symbol, scan in plan.candles.scans.items()},
        "sources": plan.sources,
    }
    summary, hashes = publish(
        attempt.folder, settings.results_dir, run, n_refused_entries=engine.n_refused_entries
    )
    end_in_success(ledger, attempt, hashes, hooks.wall_ms())
    return summary
