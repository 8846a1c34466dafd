"""Candles as the compiled rules read them: rows, timeline, symbols, funding; independent of any configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.mei_alpha_past import Past
from mei.model.candles import Candles, FundingRates
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.book import FEE_RATE
from mei.rules.mei_alpha.records import (
    BAR_ROW_DTYPE,
    FUNDING_DTYPE,
    RUN_DTYPE,
    STEP_DTYPE,
    SYMBOL_DTYPE,
    switches_of,
)
from mei.rules.mei_alpha.screen import fill_timeline

#: Bounds that bound nothing.
ALWAYS_MS, NEVER_MS = -(1 << 62), (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Market:
    """Everything a run reads that no configuration changes. Arrays of records, see `mei.rules.mei_alpha.records`.

    steps: the whole timeline and one step more. n_walked: how many steps the run sees (run_end). first_walked: the
    first step inside the window. symbols: SYMBOL_DTYPE with the rows of each symbol of `names`. run: RUN_DTYPE,
    (1,).
    """

    names: tuple[str, ...]
    main: Any
    exits: Any
    entries: Any
    funding: Any
    symbols: Any
    steps: Any
    run: Any
    n_walked: int
    first_walked: int
    past: Past | None = None

    @property
    def n_steps(self) -> int:
        """Steps of the whole timeline."""
        return len(self.steps) - 1


def prepare(inputs: ReplayInputs, semantics: Semantics, past: Past | None = None) -> Market:
    """Lay out the inputs for a walk. past: the run it goes on from; its bars are in front of the inputs' already.

    Raises ConfigError when bars count as known at their close and an interval is no length of time.
    """
    at_close = semantics.bar_time == "close"
    names = inputs.candles.symbols
    symbols = np.zeros(len(names), dtype=SYMBOL_DTYPE)
    traded = inputs.traded
    symbols["is_traded"] = [traded is None or name in traded for name in names]
    symbols["is_gold"] = [name.upper() == "PAXG" for name in names]
    main = _rows(inputs.candles, at_close)
    _place(names, inputs.candles, symbols["first"], symbols["end"])
    exits, entries = inputs.exit_candles, inputs.entry_candles
    _place(names, exits, symbols["exit_first"], symbols["exit_end"])
    _place(names, entries, symbols["entry_first"], symbols["entry_end"])
    _place(names, inputs.funding, symbols["funding_first"], symbols["funding_end"])
    times_ms = np.empty(len(main), dtype=np.int64)
    cursors = np.zeros(len(names), dtype=np.int64)
    known_ms = times_ms[: bind_cpu(fill_timeline)(main, symbols, cursors, times_ms)]
    steps = np.zeros(len(known_ms) + 1, dtype=STEP_DTYPE)
    steps["known_ms"][:-1] = known_ms
    steps["known_ms"][-1:] = NEVER_MS
    run = np.zeros(1, dtype=RUN_DTYPE)
    run["from_ms"] = ALWAYS_MS if inputs.from_ms is None else inputs.from_ms
    run["to_ms"] = NEVER_MS if inputs.to_ms is None else inputs.to_ms
    n_walked = len(known_ms)
    if semantics.run_end == "window":
        n_walked = int(np.searchsorted(known_ms, run["to_ms"][0], "right"))
    starts_ms = int(run["from_ms"][0])
    run["resumed_ms"] = ALWAYS_MS
    if past is not None:
        run["resumed_ms"] = past.as_of_ms
        starts_ms = max(starts_ms, past.as_of_ms + 1)
        for number, name in enumerate(names):
            if name in past.symbols:
                symbols["n_before"][number] = past.symbols[name].n_before
    first_walked = min(n_walked, int(np.searchsorted(known_ms, starts_ms, "left")))
    _describe(run, inputs, semantics, n_walked)
    return Market(
        names=names,
        main=main,
        exits=_rows(exits, at_close),
        entries=_rows(entries, at_close),
        funding=_rates(inputs.funding),
        symbols=symbols,
        steps=steps,
        run=run,
        n_walked=n_walked,
        first_walked=first_walked,
        past=past,
    )


def _describe(run: Any, inputs: ReplayInputs, semantics: Semantics, n_walked: int) -> None:
    exits, entries = inputs.exit_candles, inputs.entry_candles
    run["n_symbols"] = len(inputs.candles.symbols)
    run["n_steps"] = n_walked
    run["main_interval_ms"] = inputs.candles.interval_ms
    run["exit_interval_ms"] = exits.interval_ms if exits is not None else 0
    run["entry_interval_ms"] = entries.interval_ms if entries is not None else 0
    run["fee_rate"] = FEE_RATE
    run["has_exits"] = exits is not None
    run["has_entries"] = entries is not None
    run["has_funding"] = inputs.funding is not None
    for name, is_repaired in switches_of(semantics).items():
        run[name] = is_repaired


def _rows(candles: Candles | None, at_close: bool) -> Any:
    if candles is None:
        return np.zeros(0, dtype=BAR_ROW_DTYPE)
    if at_close and candles.interval_ms <= 0:
        raise ConfigError(
            f"an interval must be a length of time such as 1m or 4h, was {candles.interval!r}: its bars "
            "would have no close (--semantics reference takes any label)"
        )
    rows = np.empty(candles.n_rows, dtype=BAR_ROW_DTYPE)
    rows["open_ms"] = candles.open_ms
    rows["known_ms"] = candles.open_ms + candles.interval_ms if at_close else candles.open_ms
    rows["open"] = candles.open
    rows["high"] = candles.high
    rows["low"] = candles.low
    rows["close"] = candles.close
    rows["volume"] = candles.volume
    return rows


def _rates(funding: FundingRates | None) -> Any:
    if funding is None:
        return np.zeros(0, dtype=FUNDING_DTYPE)
    rates = np.empty(len(funding.rate), dtype=FUNDING_DTYPE)
    rates["time_ms"] = funding.time_ms
    rates["rate"] = funding.rate
    return rates


def _place(
    names: tuple[str, ...], series: Candles | FundingRates | None, first: Any, end: Any
) -> None:
    """Where each of `names` lies in a series; a symbol without rows keeps an empty range."""
    if series is None:
        return
    where = {name: number for number, name in enumerate(series.symbols)}
    for i, name in enumerate(names):
        if name in where:
            first[i] = series.offsets[where[name]]
            end[i] = series.offsets[where[name] + 1]
