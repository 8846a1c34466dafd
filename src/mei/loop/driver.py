"""The chunked driver: feeds bars to the engine in the order of events, and checkpoints at chunk boundaries.

When a bar closes: (1) pending orders fill at its open, (2) resting orders meet its range, trades that closed are told
to the policy; (3) a completed chunk is registered; (4) a due training runs; (5) regime, parameters, decision;
(6) mark to market, record. Answers are read ahead in batches and thrown away where something they depend on changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mei.learning.features import PREDICT_WARM_UP_BARS
from mei.loop.books import LegBook, ReadAhead, SeatBook, SymbolBook
from mei.loop.clock import next_cadence_ms
from mei.loop.engine import Engine, Leg
from mei.loop.execution import ClosedTrade
from mei.loop.feed import END_MS
from mei.loop.hooks import strategy_hook
from mei.loop.outputs import RunOutputs
from mei.loop.placebo import shuffle_labels
from mei.loop.portfolio import Portfolio, Seat
from mei.loop.ports import LoopServices, PolicyPoint, PresetRows
from mei.model import faults
from mei.model.bars import BarArray, interval_ms
from mei.model.errors import LookAheadError, VerificationError
from mei.model.http import Outcome, TrainResult
from mei.model.orders import Bar, Fill
from mei.model.settings import LoopSettings
from mei.report.rows import equity_row

#: After a closed trade the next batch of presets is this small, then grows by this factor: a request costs as much as
#: some hundred rows, and rows behind the next closed trade are asked in vain.
FIRST_BATCH_BARS = 64
BATCH_GROWTH = 4
_PROGRESS_EVERY_BARS = 512


@dataclass(slots=True)
class Counts:
    """What happened so far; part of the checkpoint."""

    bars: int = 0
    steps: int = 0
    trades_closed: int = 0
    trainings: dict[str, int] = field(default_factory=dict)
    promotions: int = 0
    rejections: int = 0


@dataclass(slots=True)
class Timing:
    """Wall-clock of parts of the run, seconds; never part of results.

    train_s: all of the /train requests, reading bars and scoring included; fit_s: the fits in them.
    """

    train_s: float = 0.0
    fit_s: float = 0.0


class ChunkSink(Protocol):
    """Where completed chunks go."""

    def register(self, symbol: str, bars: BarArray, registered_at_ms: int) -> None:
        """Make `bars` visible to trainings as of `registered_at_ms`; idempotent."""
        ...


class CheckpointStore(Protocol):
    """Where checkpoints go: state and output offsets, replaced in one transaction."""

    def save(self, as_of_ms: int, state: dict[str, Any]) -> None:
        """Replace the stream's checkpoint."""
        ...


class Driver:
    """One run of the loop, from its first bar or from a checkpoint to its last bar."""

    def __init__(
        self,
        settings: LoopSettings,
        engine: Engine,
        symbols: list[SymbolBook],
        services: LoopServices,
        chunks: ChunkSink,
        outputs: RunOutputs,
        checkpoints: CheckpointStore,
        *,
        batch_bars: int,
        on_progress: Callable[[Driver], None],
        should_stop: Callable[[], bool],
        clock_s: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.symbols = symbols
        self.counts = Counts()
        self.timing = Timing()
        self.close_ms = 0
        self._services = services
        self._chunks = chunks
        self._outputs = outputs
        self._checkpoints = checkpoints
        self._batch_bars = batch_bars
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._clock_s = clock_s
        self._interval_ms = interval_ms(settings.timeframe)
        self._n_states = settings.training_settings.hmm_states
        self._next_train_ms: int | None = None
        self._fills: list[Fill] = []
        self._last_close_px: dict[str, float] = {}

    async def run(self) -> bool:
        """Walk all bars; True at the end of the data, False when asked to stop (a checkpoint is saved then)."""
        while True:
            open_ms, present = self._next()
            if open_ms == END_MS or self._is_last_step():
                break
            has_chunk = await self._bar(open_ms + self._interval_ms, present)
            if has_chunk or self._should_stop():
                self._save_checkpoint()
                if self._should_stop():
                    return False
        self._finish()
        return True

    def state(self) -> dict[str, Any]:
        """Everything the rest of the run depends on, as JSON can carry it."""
        return {
            "engine": self.engine.state(),
            "close_ms": self.close_ms,
            "next_train_ms": self._next_train_ms,
            "counts": {
                "bars": self.counts.bars,
                "steps": self.counts.steps,
                "trades_closed": self.counts.trades_closed,
                "trainings": self.counts.trainings,
                "promotions": self.counts.promotions,
                "rejections": self.counts.rejections,
            },
            "symbols": [
                {
                    "n_taken": book.feed.n_taken,
                    "chunk_start": book.chunk_start,
                    "last_close_px": book.last_close_px,
                    "is_trained": book.is_trained,
                    "has_new_chunk": book.has_new_chunk,
                    "policy": [
                        list(one.point_before(book.feed.n_taken)) for one in book.read_ahead
                    ],
                }
                for book in self.symbols
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` left off; the next bar is the one after the checkpoint."""
        self.engine.restore(state["engine"])
        self.close_ms = state["close_ms"]
        self._next_train_ms = state["next_train_ms"]
        self.counts = Counts(**state["counts"])
        for book, saved in zip(self.symbols, state["symbols"], strict=True):
            book.feed.skip_to(saved["n_taken"])
            book.chunk_start = saved["chunk_start"]
            book.last_close_px = saved["last_close_px"]
            book.is_trained = saved["is_trained"]
            book.has_new_chunk = saved["has_new_chunk"]
            book.start = book.end = saved["n_taken"]
            if saved["last_close_px"] is not None:
                self._last_close_px[book.feed.symbol] = saved["last_close_px"]
            for one, point in zip(book.read_ahead, saved["policy"], strict=True):
                one.start = one.end = saved["n_taken"]
                one.point = PolicyPoint(*point)

    def _next(self) -> tuple[int, list[SymbolBook]]:
        """The next open time and the instruments that have a bar there, in the order of SYMBOLS."""
        books = self.symbols
        if len(books) == 1:
            return books[0].feed.next_open_ms, books
        open_ms = min(book.feed.next_open_ms for book in books)
        return open_ms, [book for book in books if book.feed.next_open_ms == open_ms]

    async def _bar(self, close_ms: int, present: list[SymbolBook]) -> bool:
        """All events of one close; True if a chunk was registered."""
        if self._next_train_ms is None:
            self._next_train_ms = next_cadence_ms(
                close_ms - self._interval_ms, self.settings.train_cron_minutes
            )
        while self._next_train_ms < close_ms:
            await self._train(self._next_train_ms)
        self.close_ms = close_ms
        bars = [book.feed.take() for book in present]
        if any(bar.close_ms != close_ms for bar in bars):
            raise LookAheadError(
                f"bars of one moment must close together at {close_ms}, were {bars}"
            )
        await self._open(present, bars)
        has_chunk = self._register_chunks(present, close_ms)
        if self._next_train_ms == close_ms:
            await self._train(close_ms)
        self.engine.mark(self._last_close_px)
        for portfolio in self.engine.portfolios:
            await self._step_portfolio(portfolio, present, bars)
        await self._decide(present, bars)
        self._record(close_ms)
        return has_chunk

    async def _open(self, present: list[SymbolBook], bars: list[Bar]) -> None:
        """Steps 1 and 2 for every book, then tell the policy which trades they closed."""
        closed: list[tuple[SymbolBook, LegBook, ClosedTrade]] = []
        for book, bar in zip(present, bars, strict=True):
            book.last_close_px = self._last_close_px[book.feed.symbol] = bar.close
            for leg_book in book.legs:
                leg = leg_book.leg
                leg.context.closed_this_bar = False
                if leg.is_idle:
                    continue
                trade = self.engine.open_bar(leg, bar, self._fills)
                if trade is not None:
                    closed.append((book, leg_book, trade))
        for book, leg_book, trade in closed:
            await self._report_outcome(leg_book, trade, self.close_ms)
            leg_book.end = max(leg_book.start, min(leg_book.end, book.feed.n_taken - 1))

    def _register_chunks(self, present: list[SymbolBook], close_ms: int) -> bool:
        has_chunk = False
        for book in present:
            if book.feed.n_taken - book.chunk_start >= self.settings.chunk_rows:
                self._register_chunk(book, close_ms)
                self.counts.steps += 1
                has_chunk = True
        return has_chunk

    def _register_chunk(self, book: SymbolBook, close_ms: int) -> None:
        bars = book.feed.bars(book.chunk_start, book.feed.n_taken)
        self._chunks.register(book.feed.symbol, bars, close_ms)
        book.chunk_start = book.feed.n_taken
        book.has_new_chunk = True

    async def _train(self, as_of_ms: int) -> None:
        """Trainings due at `as_of_ms`, in the order of SYMBOLS; what was read ahead gives way to a new model."""
        self._next_train_ms = next_cadence_ms(as_of_ms, self.settings.train_cron_minutes)
        mode = self.settings.training
        for book in self.symbols:
            if mode == "off" or (mode == "first_only" and book.is_trained):
                continue
            started_s = self._clock_s()
            result, fit_ms = await self._services.train(
                book.feed.symbol, as_of_ms, self.settings.training_settings
            )
            self.timing.train_s += self._clock_s() - started_s
            self.timing.fit_s += fit_ms / 1e3
            self._note_training(book, result)

    def _note_training(self, book: SymbolBook, result: TrainResult) -> None:
        if result.status == "skipped" and book.has_new_chunk:
            raise VerificationError(
                f"a training must see the chunks registered before it, the one of {result.symbol} as of "
                f"{result.as_of_ms} answered {result.reason} after a new chunk: do ml_service and the runner share "
                "LEDGER_DB and DATA_INCOMING?"
            )
        book.has_new_chunk = False
        counts = self.counts
        counts.trainings[result.status] = counts.trainings.get(result.status, 0) + 1
        if result.decision == "rejected":
            counts.rejections += 1
        if result.decision == "promoted":
            counts.promotions += 1
            book.is_trained = True
            assert result.serves_from_ms is not None, "a promoted model says from when it serves"
            book.cut_from_ms(result.serves_from_ms)
        self._outputs.training(result)

    async def _decide(self, present: list[SymbolBook], bars: list[Bar]) -> None:
        """Step 5: regime, parameters, decision, for each book in the order of SYMBOLS and STRATEGIES."""
        engine = self.engine
        equity_usd = engine.equity
        has_filled = False
        for book, bar in zip(present, bars, strict=True):
            number = book.feed.n_taken - 1
            if number >= book.end:
                await self._ask_regimes(book, number)
            row = _row_of(book, number, bar.close_ms)
            for leg_book in book.legs:
                if number >= leg_book.end:
                    await self._ask_presets(book, leg_book, number)
                self._show(book, leg_book, row, number)
                leg = leg_book.leg
                leg.context.equity_usd = equity_usd
                if self.settings.decision_log:
                    self._log_decision(book, leg, row, bar.close_ms)
                if engine.ask(leg, bar) is None:
                    continue
                features = book.features(row, self._n_states)
                n_fills = len(self._fills)
                trade = engine.settle_order(leg, bar, features, self._fills)
                has_filled |= len(self._fills) > n_fills
                if trade is not None:
                    # Known one tick after the close: the answers for this close were given without it.
                    await self._report_outcome(leg_book, trade, bar.close_ms + 1)
                    leg_book.end = min(leg_book.end, number + 1)
        if has_filled:
            engine.mark(self._last_close_px)

    async def _step_portfolio(
        self, portfolio: Portfolio, present: list[SymbolBook], bars: list[Bar]
    ) -> None:
        """A strategy with positions of its own: fills at the open and within the bars, decisions at the close."""
        engine, close_ms = self.engine, self.close_ms
        shown: dict[str, tuple[SymbolBook, SeatBook, int]] = {}
        for book in present:
            number = book.feed.n_taken - 1
            if number >= book.end:
                await self._ask_regimes(book, number)
            row = _row_of(book, number, close_ms)
            seat_book = next(one for one in book.seats if one.portfolio is portfolio)
            if number >= seat_book.end:
                await self._ask_presets(book, seat_book, number)
            self._show(book, seat_book, row, number)
            if self.settings.decision_log:
                self._log_decision(book, seat_book.seat, row, close_ms)
            shown[book.feed.symbol] = book, seat_book, row

        def features_of(name: str) -> dict[str, float | None]:
            book, _, row = shown[name]
            return book.features(row, self._n_states)

        by_name = dict(zip(shown, bars, strict=True))
        closed = engine.step_portfolio(portfolio, close_ms, by_name, features_of, self._fills)
        for name, trade in closed:
            book, seat_book, _ = shown[name]
            # Known one tick after the close: the answers for this close were given without it.
            await self._report_outcome(seat_book, trade, close_ms + 1)
            seat_book.end = min(seat_book.end, book.feed.n_taken)
        engine.mark(self._last_close_px)

    def _show(self, book: SymbolBook, ahead: ReadAhead, row: int, number: int) -> None:
        """Put what is known at this close into the `params` of a leg or a seat."""
        regimes, rows = book.regimes, ahead.rows
        assert regimes is not None, "regimes are asked before"
        assert rows is not None, "presets are asked before"
        tuned = ahead.tuned
        params = tuned.params
        params.regime = regimes.regime[row]
        params.regime_prob = regimes.regime_prob[row]
        params.model_version = regimes.model_version[row]
        if tuned.frozen_values is None:
            preset = rows.preset[number - ahead.start]
            params.preset = preset
            params.values = ahead.merged[preset]

    def _log_decision(self, book: SymbolBook, tuned: Leg | Seat, row: int, close_ms: int) -> None:
        """What this book knew at this close, its own features included."""
        params = tuned.params
        features = book.features(row, self._n_states)
        volatility_z = features["volatility_z"]
        self._outputs.decision(
            f"{close_ms},{tuned.book.instrument},{tuned.book.strategy},{params.preset},{params.regime},"
            f"{params.regime_prob!r},{'' if params.model_version is None else params.model_version},"
            f"{'' if volatility_z is None else repr(volatility_z)}"
        )

    async def _ask_regimes(self, book: SymbolBook, number: int) -> None:
        """Regimes from bar `number` on, as far as bars are at hand, `batch_bars` at most."""
        feed = book.feed
        end = min(number + self._batch_bars, feed.n_loaded)
        bars = feed.bars(number - PREDICT_WARM_UP_BARS, end)
        asked = bars["timestamp"][len(bars) - (end - number) :]
        as_of_ms = (asked + self._interval_ms).tolist()
        regimes = await self._services.regimes(feed.symbol, as_of_ms, bars)
        _assert_horizon(feed.symbol, as_of_ms, regimes.model_version, regimes.trained_through_ms)
        if self.settings.placebo == "shuffled_labels":
            regimes = shuffle_labels(regimes, feed.symbol, as_of_ms, self.settings.seed)
        book.accept(regimes, as_of_ms, number)

    async def _ask_presets(self, book: SymbolBook, ahead: ReadAhead, number: int) -> None:
        """Presets from bar `number` on, as far as regimes are at hand."""
        n_rows = min(ahead.batch_bars, book.end - number)
        if not ahead.is_tuned:
            ahead.accept(_static_rows(n_rows), number)
            return
        first = number - book.start
        rows = await self._services.presets(
            ahead.tuned.book.strategy,
            ahead.tuned.book.instrument,
            book.as_of_ms[first : first + n_rows],
            book.feature_columns(first, first + n_rows, self._n_states),
            ahead.point_before(number),
        )
        ahead.accept(rows, number)
        ahead.batch_bars = min(BATCH_GROWTH * ahead.batch_bars, self._batch_bars)

    async def _report_outcome(self, ahead: ReadAhead, trade: ClosedTrade, known_at_ms: int) -> None:
        decision = trade.decision
        book = ahead.tuned.book
        self.counts.trades_closed += 1
        if not ahead.is_tuned:
            return
        await self._services.outcome(
            book.strategy,
            book.instrument,
            decision.preset,
            Outcome(
                trade_id=trade.trade_id,
                known_at_ms=known_at_ms,
                net_pnl_bps=trade.net_pnl_bps,
                features=decision.features,
            ),
        )
        ahead.batch_bars = min(FIRST_BATCH_BARS, self._batch_bars)

    def _record(self, close_ms: int) -> None:
        """Step 6: the bar's row, its fills, and now and then the progress."""
        engine = self.engine
        if self._fills:
            self._outputs.fills(self._fills)
            self._fills.clear()
        books = self.symbols
        closes = (
            [book.last_close_px for book in books] if len(books) > 1 else [books[0].last_close_px]
        )
        qtys = self._qtys() if len(books) > 1 else ()
        self._outputs.equity(
            equity_row(close_ms, engine.equity, engine.cash, engine.position_value, closes, qtys)
        )
        self.counts.bars += 1
        if self.counts.bars % _PROGRESS_EVERY_BARS == 0:
            self._on_progress(self)

    def _qtys(self) -> list[float]:
        """Signed quantity of each instrument, summed in the order of its books."""
        sums = []
        for book in self.symbols:
            total = 0.0
            for leg_book in book.legs:
                position = leg_book.leg.position
                if position is not None:
                    total += position.direction * position.qty
            for seat_book in book.seats:
                total += seat_book.seat.qty
            sums.append(total)
        return sums

    def _is_last_step(self) -> bool:
        return 0 < self.settings.max_steps <= self.counts.steps

    def _save_checkpoint(self) -> None:
        offsets = self._outputs.commit()
        faults.hit("loop.checkpoint.before_save")
        self._checkpoints.save(self.close_ms, {"driver": self.state(), "offsets": offsets})
        faults.hit("loop.checkpoint.after_save")

    def _finish(self) -> None:
        """Register the last short chunks, say goodbye to the strategies, put everything on disk."""
        for book in self.symbols:
            if book.feed.n_taken > book.chunk_start:
                self._register_chunk(book, self.close_ms)
            for leg_book in book.legs:
                with strategy_hook(leg_book.leg.book, "on_stop"):
                    leg_book.leg.strategy.on_stop()
        for portfolio in self.engine.portfolios:
            with strategy_hook(portfolio.book, "on_stop"):
                portfolio.strategy.on_stop()
        self._on_progress(self)
        self._outputs.commit()


def _static_rows(n_rows: int) -> PresetRows:
    """Rows for a strategy without presets: its settings, under the name `static`."""
    return PresetRows(["static"] * n_rows, [None] * n_rows, [0] * n_rows, {"static": {}})


def _row_of(book: SymbolBook, number: int, close_ms: int) -> int:
    """Row of bar `number` in the regimes read ahead. Raises LookAheadError unless they are of its close."""
    row = number - book.start
    if book.as_of_ms[row] != close_ms:
        raise LookAheadError(
            f"a bar must be decided with the answers for its own close {close_ms}, had those for "
            f"{book.as_of_ms[row]}: this is a defect, please report it"
        )
    return row


def _assert_horizon(
    symbol: str, as_of_ms: list[int], versions: list[int | None], trained_through_ms: dict[int, int]
) -> None:
    """No row may have been answered by a model that saw bars after the row's close."""
    for close_ms, version in zip(as_of_ms, versions, strict=True):
        if version is not None and trained_through_ms[version] > close_ms:
            raise LookAheadError(
                f"a model must be trained through the bar's close at most, model {version} of {symbol} was trained "
                f"through {trained_through_ms[version]} and answered for {close_ms}: this is a defect, please report it"
            )
