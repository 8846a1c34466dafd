"""Candles as the compiled rules read them: timeline, rows, funding; independent of any configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.model.bars import FloatArray, IntArray
from mei.model.candles import Candles, FundingRates
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.snapshot import Bars
from mei.rules.mei_alpha.steps import fill_steps

_NO_TIME = np.zeros(0, dtype=np.int64)
_NO_PRICE = np.zeros(0, dtype=np.float64)
#: Bounds that bound nothing.
ALWAYS_MS, NEVER_MS = -(1 << 62), 1 << 62


@dataclass(frozen=True, slots=True)
class Market:
    """Everything a run reads that no configuration changes.

    step_ms: the whole timeline; n_walked: how many of its steps the run sees (run_end). first_walked: the first step
    inside the window.
    """

    symbols: tuple[str, ...]
    main: Bars
    exits: Bars
    entries: Bars
    step_ms: IntArray
    step_of_row: IntArray
    n_walked: int
    first_walked: int
    from_ms: int
    to_ms: int
    funding_first: IntArray
    funding_end: IntArray
    funding_ms: IntArray
    funding_rate: FloatArray
    has_exits: bool
    has_entries: bool
    has_funding: bool
    is_traded: Any


def prepare(inputs: ReplayInputs, semantics: Semantics) -> Market:
    """Lay out the inputs for a walk.

    Raises ConfigError when bars count as known at their close and an interval is no length of time.
    """
    at_close = semantics.bar_time == "close"
    symbols = inputs.candles.symbols
    main = _bars(inputs.candles, symbols, at_close)
    step_ms = np.unique(main.known_ms)
    step_of_row = np.zeros(len(main.known_ms), dtype=np.int64)
    bind_cpu(fill_steps)(main, len(symbols), step_ms, step_of_row)
    from_ms = ALWAYS_MS if inputs.from_ms is None else inputs.from_ms
    to_ms = NEVER_MS if inputs.to_ms is None else inputs.to_ms
    ends_with_window = semantics.run_end == "window"
    n_walked = int(np.searchsorted(step_ms, to_ms, "right")) if ends_with_window else len(step_ms)
    first_walked = int(np.searchsorted(step_ms, from_ms, "left"))
    first, end, times, rates = _funding(inputs.funding, symbols)
    traded = inputs.traded
    return Market(
        symbols=symbols,
        main=main,
        exits=_bars(inputs.exit_candles, symbols, at_close),
        entries=_bars(inputs.entry_candles, symbols, at_close),
        step_ms=step_ms,
        step_of_row=step_of_row,
        n_walked=n_walked,
        first_walked=min(first_walked, n_walked),
        from_ms=from_ms,
        to_ms=to_ms,
        funding_first=first,
        funding_end=end,
        funding_ms=times,
        funding_rate=rates,
        has_exits=inputs.exit_candles is not None,
        has_entries=inputs.entry_candles is not None,
        has_funding=inputs.funding is not None,
        is_traded=np.array([traded is None or name in traded for name in symbols], dtype=np.bool_),
    )


def _bars(candles: Candles | None, symbols: tuple[str, ...], at_close: bool) -> Bars:
    """Rows of the main symbols in any series; a symbol without rows has an empty range."""
    if candles is None:
        empty = np.zeros(len(symbols), dtype=np.int64)
        return Bars(empty, empty, _NO_TIME, _NO_TIME, *(_NO_PRICE for _ in range(5)), interval_ms=0)
    if at_close and candles.interval_ms <= 0:
        raise ConfigError(
            f"an interval must be a length of time such as 1m or 4h, was {candles.interval!r}: its bars "
            "would have no close (--semantics reference takes any label)"
        )
    where = {name: number for number, name in enumerate(candles.symbols)}
    first = np.zeros(len(symbols), dtype=np.int64)
    end = np.zeros(len(symbols), dtype=np.int64)
    for i, name in enumerate(symbols):
        if name in where:
            first[i] = candles.offsets[where[name]]
            end[i] = candles.offsets[where[name] + 1]
    known_ms = candles.open_ms + candles.interval_ms if at_close else candles.open_ms
    return Bars(
        first,
        end,
        candles.open_ms,
        known_ms,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.interval_ms,
    )


def _funding(
    funding: FundingRates | None, symbols: tuple[str, ...]
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    first = np.zeros(len(symbols), dtype=np.int64)
    end = np.zeros(len(symbols), dtype=np.int64)
    if funding is None:
        return first, end, _NO_TIME, _NO_PRICE
    where = {name: number for number, name in enumerate(funding.symbols)}
    for i, name in enumerate(symbols):
        if name in where:
            first[i] = funding.offsets[where[name]]
            end[i] = funding.offsets[where[name] + 1]
    return first, end, funding.time_ms, funding.rate
