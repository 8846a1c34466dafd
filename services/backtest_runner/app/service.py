"""A run of the learning loop from settings to files: prepare, resume or start, walk, publish."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

import services
from mei.data.research import SeriesScan, read_series, scan_series
from mei.jit import sources_hash
from mei.learning.features import PREDICT_WARM_UP_BARS
from mei.ledger.database import Ledger
from mei.ledger.runs import RunRow, find_run, finish_run, start_run
from mei.loop.books import LegBook, SymbolBook
from mei.loop.checkpoint import LedgerCheckpoints
from mei.loop.driver import Driver, Timing
from mei.loop.engine import Engine, Leg
from mei.loop.execution import Book
from mei.loop.feed import SymbolFeed
from mei.loop.identity import canonical_json, folder_sha256, run_id, settings_dict
from mei.loop.ingest import ChunkRegistrar
from mei.loop.outputs import RunOutputs
from mei.model.bars import interval_ms
from mei.model.errors import ConfigError, OutputError
from mei.model.settings import LoopSettings
from mei.strategies.base import Context
from mei.strategies.load import LoadedStrategy
from mei.web.client import ServiceClient
from services.backtest_runner.app.connect import connect
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


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is known before the first bar."""

    loop: LoopSettings
    strategies: tuple[LoadedStrategy, ...]
    scans: dict[str, SeriesScan]
    run_id: str
    sources: dict[str, str]
    tuned: frozenset[str]


async def run_loop(settings: Settings, hooks: Hooks) -> RunReport:
    """Run, resume, or recognise as finished what `settings` describe. Raises MeiError."""
    strategies = settings.loaded_strategies()
    loop = settings.loop_settings(strategies)
    check_writable(settings.results_dir)
    scans = _scan(settings, loop, hooks)
    ledger = Ledger.open(settings.ledger_db)
    ml_service, param_controller = connect(settings, hooks.on_line)
    try:
        catalog = _catalog(await param_controller.get_json("/params"), strategies)
        sources = _sources(strategies)
        identity = run_id(loop, {s: scan.sha256 for s, scan in scans.items()}, catalog, sources)
        plan = _Plan(loop, strategies, scans, identity, sources, frozenset(catalog))
        return await _start_or_resume(settings, hooks, plan, ledger, (ml_service, param_controller))
    finally:
        await ml_service.aclose()
        await param_controller.aclose()
        ledger.close()


def check_writable(folder: Path) -> None:
    """Raise OutputError, with the remedy, unless files can be made in `folder` (made if absent)."""
    probe = folder / ".write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"RESULTS_DIR must be a folder this user can write to, {folder} is not ({error.strerror}): "
            "change its owner or set RESULTS_DIR"
        ) from error


def _scan(settings: Settings, loop: LoopSettings, hooks: Hooks) -> dict[str, SeriesScan]:
    scans: dict[str, SeriesScan] = {}
    for symbol in loop.symbols:
        scan = scan_series(
            settings.research_dir,
            symbol,
            loop.timeframe,
            loop.gap_policy,
            loop.start_ms,
            loop.end_ms,
        )
        hooks.on_line(scan.describe())
        scans[symbol] = scan
    return scans


def _sources(strategies: tuple[LoadedStrategy, ...]) -> dict[str, str]:
    own = {s.name: s.source_sha256 for s in strategies if s.source_sha256}
    return {
        "mei": sources_hash(),
        "services": folder_sha256(Path(services.__file__).parent),
        **own,
    }


def _catalog(listing: dict[str, Any], strategies: tuple[LoadedStrategy, ...]) -> dict[str, Any]:
    """Presets and bounds of the strategies that have some. A user's own strategy may do without."""
    known: dict[str, Any] = listing["strategies"]
    for strategy in strategies:
        if strategy.name not in known and not strategy.source_sha256:
            raise ConfigError(
                f"a built-in strategy must have presets in CONFIG_DIR/strategy_schemas/{strategy.name}.yaml, "
                f"param_controller knows only {', '.join(sorted(known)) or 'none'}: restore the file and start it again"
            )
    return {
        strategy.name: known[strategy.name] for strategy in strategies if strategy.name in known
    }


async def _start_or_resume(
    settings: Settings,
    hooks: Hooks,
    plan: _Plan,
    ledger: Ledger,
    clients: tuple[ServiceClient, ServiceClient],
) -> RunReport:
    row = _latest_attempt(ledger, plan.run_id)
    if row is not None and row.status == "finished" and not settings.rerun:
        folder = _folder(settings, row)
        summary = verify_outputs(folder, settings.results_dir, orjson.loads(row.outputs_json))
        return RunReport(plan.run_id, ALREADY_FINISHED, folder, summary, Timing(), 0.0, 0, 0)
    is_new = row is None or row.status == "finished"
    if row is None or is_new:
        row = _new_attempt(plan, 1 if row is None else row.attempt + 1, hooks.wall_ms())
    folder = _folder(settings, row)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if is_new:
            with ledger.unit_of_work() as unit:
                start_run(unit.connection, row)
                unit.commit("start_run")
        hooks.on_run(row.stream)
        hooks.on_line(f"run {row.run_id} attempt {row.attempt}: {'start' if is_new else 'resume'}")
        return await _walk(settings, hooks, plan, ledger, clients, row)


def _latest_attempt(ledger: Ledger, identity: str) -> RunRow | None:
    with ledger.reader() as connection:
        return find_run(connection, identity)


def _new_attempt(plan: _Plan, attempt: int, now_ms: int) -> RunRow:
    suffix = "" if attempt == 1 else f"/{attempt}"
    return RunRow(
        run_id=plan.run_id,
        attempt=attempt,
        stream=f"backtest/{plan.run_id}{suffix}",
        status="running",
        settings_json=canonical_json(settings_dict(plan.loop)),
        data_json=canonical_json({symbol: scan.sha256 for symbol, scan in plan.scans.items()}),
        outputs_json="{}",
        created_at_ms=now_ms,
        finished_at_ms=None,
    )


def _folder(settings: Settings, row: RunRow) -> Path:
    name = row.run_id if row.attempt == 1 else f"{row.run_id}.{row.attempt}"
    return settings.results_dir / "runs" / name


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One runner a run: the lock falls with its process, however that ends."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"a run must have one runner, another process works on {folder}: wait for it or stop it"
            ) from error
        yield


async def _walk(
    settings: Settings,
    hooks: Hooks,
    plan: _Plan,
    ledger: Ledger,
    clients: tuple[ServiceClient, ServiceClient],
    row: RunRow,
) -> RunReport:
    folder = _folder(settings, row)
    checkpoints = LedgerCheckpoints(ledger, row.stream)
    saved = checkpoints.load()
    outputs = RunOutputs(
        folder,
        plan.loop.symbols,
        None if saved is None else saved["offsets"],
        decision_log=plan.loop.decision_log,
    )
    engine, books = _assemble(plan, settings.batch_bars)
    driver = Driver(
        plan.loop,
        engine,
        books,
        HttpLoopServices(
            *clients,
            stream=row.stream,
            timeframe=plan.loop.timeframe,
            policy=plan.loop.policy,
            seed=plan.loop.seed,
        ),
        ChunkRegistrar(ledger, settings.data_incoming, row.stream, plan.loop.timeframe),
        outputs,
        checkpoints,
        batch_bars=settings.batch_bars,
        on_progress=hooks.on_progress,
        should_stop=hooks.should_stop,
        clock_s=hooks.clock_s,
    )
    if saved is not None:
        driver.restore(saved["driver"])
    hooks.on_start(sum(scan.n_bars for scan in plan.scans.values()))
    started_s, bars_before, trades_before = (
        hooks.clock_s(),
        driver.counts.bars,
        driver.counts.trades_closed,
    )
    try:
        is_complete = await driver.run()
    finally:
        outputs.close()
    loop_s = hooks.clock_s() - started_s
    summary = _finish(settings, hooks, plan, ledger, row, folder) if is_complete else None
    return RunReport(
        run_id=row.run_id,
        status=FINISHED if is_complete else STOPPED,
        folder=folder,
        summary=summary,
        timing=driver.timing,
        loop_s=loop_s,
        n_bars=driver.counts.bars - bars_before,
        n_trades=driver.counts.trades_closed - trades_before,
    )


def _assemble(plan: _Plan, batch_bars: int) -> tuple[Engine, list[SymbolBook]]:
    """Books in the order of SYMBOLS and, within one, of STRATEGIES."""
    loop = plan.loop
    bar_ms = interval_ms(loop.timeframe)
    keep_bars = max(PREDICT_WARM_UP_BARS + 1, loop.chunk_rows)
    books: list[SymbolBook] = []
    for symbol in loop.symbols:
        feed = SymbolFeed(symbol, bar_ms, read_series(plan.scans[symbol]), keep_bars)
        legs = [
            LegBook(_leg(loop, s, symbol, bar_ms), batch_bars, is_tuned=s.name in plan.tuned)
            for s in plan.strategies
        ]
        books.append(SymbolBook(feed, legs))
    all_legs = [leg_book.leg for book in books for leg_book in book.legs]
    engine = Engine(all_legs, loop.costs, loop.initial_cash, loop.entry_fill)
    return engine, books


def _leg(loop: LoopSettings, loaded: LoadedStrategy, symbol: str, bar_ms: int) -> Leg:
    strategy = loaded.kind()
    strategy.name = loaded.name
    context = Context(symbol, loop.timeframe, bar_ms, loop.strategy_params[loaded.name])
    strategy.on_start(context)
    return Leg(Book(loaded.name, symbol), strategy, context)


def _finish(
    settings: Settings,
    hooks: Hooks,
    plan: _Plan,
    ledger: Ledger,
    row: RunRow,
    folder: Path,
) -> dict[str, Any]:
    """Summary, report, copies in RESULTS_DIR, and only then the ledger's word that the run is finished."""
    run = {
        "run_id": row.run_id,
        "attempt": row.attempt,
        "status": "finished",
        "settings": settings_dict(plan.loop),
        "data": {symbol: scan.as_dict() for symbol, scan in plan.scans.items()},
        "sources": plan.sources,
    }
    summary, hashes = publish(folder, settings.results_dir, run)
    with ledger.unit_of_work() as unit:
        finish_run(unit.connection, row.stream, canonical_json(hashes), hooks.wall_ms())
        unit.commit("finish_run")
    return summary
