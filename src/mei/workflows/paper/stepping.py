"""Runs of the engine for a paper trader: one that goes on from a state, one that makes a state to go on from."""

from __future__ import annotations

from dataclasses import dataclass

from mei.model.replay import InitState, ReplayInputs, ReplayResult
from mei.report.replay_csv import brought_by, with_open_trades
from mei.workflows.paper.config_watch import Loaded
from mei.workflows.paper.feed import Feed
from mei.workflows.paper.request import PaperRequest
from mei.workflows.paper.state import PaperState, init_state_of
from mei.workflows.signals import Signal
from mei.workflows.strategy import BacktestStrategy


@dataclass(frozen=True, slots=True)
class Step:
    """A run of the engine from one state to the next; reasons: in words, of each record. signals: of the bars that
    became known in between, those the state had seen already left out by the engine."""

    result: ReplayResult
    reasons: list[str]
    signals: list[Signal]
    after: PaperState


def go_on(
    request: PaperRequest,
    loaded: Loaded,
    feed: Feed,
    state: PaperState,
    until_ms: int,
    *,
    closes_only: bool,
) -> Step:
    """From a state to a boundary, over the bars that become known in between. closes_only: nothing is opened or added.

    Raises ConfigError when settings and state do not go together, DataError for bars that cannot be.
    """
    candles = feed.main_bars(state, until_ms)
    names = tradable(candles.symbols, feed.traded)
    loaded.strategy.prepare(candles.symbols)
    strategy = loaded.closing_only() if closes_only else loaded.strategy
    inputs = ReplayInputs(
        candles=candles,
        exit_candles=feed.finer_bars("exit", state.as_of_ms, until_ms, names),
        entry_candles=feed.finer_bars("entry", state.as_of_ms, until_ms, names),
        funding=feed.rates(state, until_ms, names),
        to_ms=until_ms,
        initial_balance_usd=state.balance_usd,
        lookback=request.lookback,
        init_state=init_state_of(state),
        traded=feed.traded,
        exports_state=True,
    )
    return _ran(strategy, inputs, state, until_ms)


def warmed_up(
    request: PaperRequest,
    loaded: Loaded,
    feed: Feed,
    as_of_ms: int,
    given: InitState | None = None,
) -> PaperState:
    """The state of a run that has seen every bar until a boundary and trades from the next one on.

    given: an init-state of version 1 it begins with. Raises DataError without bars.
    """
    candles = feed.history(as_of_ms)
    names = tradable(candles.symbols, feed.traded)
    loaded.strategy.prepare(candles.symbols)
    from_ms = as_of_ms - feed.main_ms
    inputs = ReplayInputs(
        candles=candles,
        exit_candles=feed.finer_bars("exit", from_ms, as_of_ms, names),
        entry_candles=feed.finer_bars("entry", from_ms, as_of_ms, names),
        funding=feed.rates(None, as_of_ms, names),
        from_ms=as_of_ms + 1,
        to_ms=as_of_ms,
        initial_balance_usd=request.initial_balance_usd,
        lookback=request.lookback,
        init_state=given,
        traded=feed.traded,
        exports_state=True,
    )
    none = PaperState(0, as_of_ms, loaded.config_id, {})
    state = _ran(loaded.strategy, inputs, none, as_of_ms).after
    first_ms = feed.next_main_ms(as_of_ms)
    # What is brought along pays from the first step on, as in a replay.
    return state.with_slots(lambda _, slot: {"funded_ms": first_ms} if slot["side"] != 0 else {})


def tradable(symbols: tuple[str, ...], traded: frozenset[str] | None) -> tuple[str, ...]:
    """Those of the symbols that may be traded."""
    return tuple(name for name in symbols if traded is None or name in traded)


def _ran(
    strategy: BacktestStrategy, inputs: ReplayInputs, state: PaperState, until_ms: int
) -> Step:
    """A run to a boundary; what it leaves is known until there, whether or not a bar came."""
    result = strategy.run(inputs)
    brought = brought_by(inputs.init_state, inputs.from_ms)
    content = with_open_trades(result, inputs.candles, inputs.candles.interval_ms, brought)
    after = state.with_continuation(content, until_ms)
    return Step(result, strategy.reasons(result), strategy.signals(result), after)
