"""The driver on bars from memory with services that answer the same preset and no regime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mei.learning.features import PREDICT_WARM_UP_BARS
from mei.loop.books import LegBook, SeatBook, SymbolBook
from mei.loop.driver import Driver
from mei.loop.engine import Engine, Leg
from mei.loop.execution import Book
from mei.loop.feed import SymbolFeed
from mei.loop.outputs import RunOutputs
from mei.loop.portfolio import Portfolio
from mei.loop.ports import PolicyPoint, PresetRows, Regimes
from mei.model.bars import BAR_DTYPE, BarArray
from mei.model.http import Outcome, TrainingSettings, TrainResult
from mei.model.settings import LoopSettings
from mei.strategies.base import Context, PortfolioContext, PortfolioStrategy, Strategy

MINUTE_MS = 60_000
START_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS


@dataclass
class OnePreset:
    """Answers like the services would with no model and POLICY=fixed."""

    values: dict[str, float]
    regime: int = -1
    regime_prob: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    trained_at_ms: list[int] = field(default_factory=list)
    asked_rows: int = 0

    async def train(
        self, symbol: str, as_of_ms: int, settings: TrainingSettings
    ) -> tuple[TrainResult, float]:
        self.trained_at_ms.append(as_of_ms)
        return TrainResult(
            stream="s",
            symbol=symbol,
            timeframe="1m",
            as_of_ms=as_of_ms,
            status="skipped",
            reason="-",
        ), 0.0

    async def regimes(self, symbol: str, as_of_ms: list[int], bars: BarArray) -> Regimes:
        assert bars["timestamp"][-1] + MINUTE_MS == as_of_ms[-1]
        n = len(as_of_ms)
        return Regimes([self.regime] * n, [self.regime_prob] * n, None, [None] * n, [None] * n, {})

    async def presets(
        self, strategy: str, symbol: str, as_of_ms: list[int], features: Any, state: PolicyPoint
    ) -> PresetRows:
        n = len(as_of_ms)
        self.asked_rows += n
        assert {len(column) for column in features.values()} == {n}
        return PresetRows(["only"] * n, [None] * n, [0] * n, {"only": self.values})

    async def outcome(self, strategy: str, symbol: str, preset: str, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Chunks:
    """Remembers what was registered."""

    def __init__(self) -> None:
        self.registered: list[tuple[str, int, int, int]] = []

    def register(self, symbol: str, bars: BarArray, registered_at_ms: int) -> None:
        first, last = int(bars["timestamp"][0]), int(bars["timestamp"][-1])
        self.registered.append((symbol, first, last, registered_at_ms))


class Checkpoints:
    """Keeps every checkpoint."""

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] = []

    def save(self, as_of_ms: int, state: dict[str, Any]) -> None:
        self.saved.append(state)


def bars_of(rows: list[tuple[float, float, float, float]], start_ms: int = START_MS) -> BarArray:
    """Candles one minute apart from (open, high, low, close)."""
    bars = np.zeros(len(rows), dtype=BAR_DTYPE)
    for i, (o, h, low, c) in enumerate(rows):
        bars[i] = (start_ms + i * MINUTE_MS, o, h, low, c, 1.0)
    return bars


def random_bars(n: int, seed: int, start_ms: int = START_MS, spread: float = 0.001) -> BarArray:
    """A random walk with ranges around it."""
    rng = np.random.default_rng(seed)
    close = 100 * np.cumprod(1 + spread * rng.standard_normal(n))
    open_px = np.concatenate([[100.0], close[:-1]]) * (1 + 0.3 * spread * rng.standard_normal(n))
    top = np.maximum(open_px, close) * (1 + spread * rng.random(n))
    bottom = np.minimum(open_px, close) * (1 - spread * rng.random(n))
    rows = zip(open_px.tolist(), top.tolist(), bottom.tolist(), close.tolist(), strict=True)
    return bars_of(list(rows), start_ms)


def make_driver(
    folder: Path,
    series: dict[str, BarArray],
    strategies: list[Callable[[], Strategy]],
    services: Any,
    *,
    settings: LoopSettings,
    strategy_settings: dict[str, Any],
    batch_bars: int = 100,
    block_bars: int = 64,
    offsets: dict[str, int] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    portfolios: Sequence[Callable[[], PortfolioStrategy]] = (),
) -> tuple[Driver, Chunks, Checkpoints]:
    """A driver over `series` (symbol -> bars) with every strategy on every symbol, and strategies that hold all."""
    held = []
    for make_portfolio in portfolios:
        portfolio = make_portfolio()
        given = PortfolioContext(
            tuple(series), MINUTE_MS, strategy_settings, settings.costs, settings.entry_fill
        )
        portfolio.on_start(given)
        held.append(Portfolio(portfolio, given))
    books = []
    for symbol, bars in series.items():
        blocks = [bars[i : i + block_bars] for i in range(0, len(bars), block_bars)]
        keep = max(PREDICT_WARM_UP_BARS + 1, settings.chunk_rows)
        feed = SymbolFeed(symbol, MINUTE_MS, iter(blocks), keep)
        legs = []
        for make in strategies:
            strategy = make()
            context = Context(symbol, "1m", MINUTE_MS, {**strategy.defaults, **strategy_settings})
            strategy.on_start(context)
            legs.append(LegBook(Leg(Book(strategy.name, symbol), strategy, context), batch_bars))
        seats = [SeatBook(one, one.seats[symbol], batch_bars) for one in held]
        books.append(SymbolBook(feed, legs, seats))
    engine = Engine(
        [leg.leg for book in books for leg in book.legs],
        settings.costs,
        settings.initial_cash,
        settings.entry_fill,
        held,
    )
    chunks, checkpoints = Chunks(), Checkpoints()
    driver = Driver(
        settings,
        engine,
        books,
        services,
        chunks,
        RunOutputs(folder, list(series), offsets),
        checkpoints,
        batch_bars=batch_bars,
        on_progress=lambda _: None,
        should_stop=should_stop,
        clock_s=lambda: 0.0,
    )
    return driver, chunks, checkpoints


def run_driver(driver: Driver) -> bool:
    """Run to the end (or stop), release the files; whether the data ended."""
    try:
        return asyncio.run(driver.run())
    finally:
        driver._outputs.close()
