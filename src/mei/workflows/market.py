"""The candles, rates and bounds of a run: which databases, which part of them, which symbols.

Specification part 2, H.3 to H.7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from mei.data.candle_check import refuse_impossible, refuse_month, refuse_spacing
from mei.data.candle_db import (
    expand_db_set,
    has_symbol,
    interval_ms_or_zero,
    load_candles,
    time_range_ms,
)
from mei.data.candle_span import Span, span_notes, span_of
from mei.data.funding_check import funding_notes, refuse_unusable
from mei.data.funding_db import funding_extents, load_funding
from mei.data.price_jumps import jump_notes
from mei.data.universe_db import active_symbols
from mei.model.candles import Candles, FundingRates
from mei.model.errors import ConfigError, DataError
from mei.model.market_names import listed, meant, same_markets
from mei.model.semantics import Semantics
from mei.workflows.strategy import BacktestStrategy, Tell
from mei.workflows.window import Coverage, Window, describe_window, resolve_window

#: More than any series has; a larger lookback says no more.
MOST_BARS = 1 << 40
#: Symbols named in a line.
_MOST_NAMED = 20


class LoadCandles(Protocol):
    """What gives the bars of a set: `load_candles`, or what has them already."""

    def __call__(
        self,
        db_set: str,
        interval: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        tell: Tell,
    ) -> Candles:
        """As `load_candles`."""


@dataclass(frozen=True, slots=True)
class MarketRequest:
    """What the command line says about data. Databases as sets of files; times in epoch ms UTC."""

    candles_db: str | None = None
    interval: str | None = None
    exit_candles_db: str | None = None
    exit_interval: str | None = None
    entry_candles_db: str | None = None
    entry_interval: str | None = None
    funding_db: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    auto_scope: bool = True
    universe_filter: bool = False
    universe_db: str | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One series of candles. is_scoped: whether its extent bounds the run by itself."""

    db_set: str
    interval: str
    is_scoped: bool = True

    @property
    def label(self) -> str:
        """The set in messages: its first file, and how many there are besides."""
        files = expand_db_set(self.db_set)
        if len(files) < 2:
            return self.db_set
        return f"{files[0]} (+{len(files) - 1} partitions)"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the bars of a run come from."""

    main: Series
    exit: Series | None
    entry: Series | None

    def around(self) -> list[Series]:
        """The finer series whose extent bounds the run."""
        return [one for one in (self.exit, self.entry) if one is not None and one.is_scoped]


@dataclass(frozen=True, slots=True)
class Universe:
    """The main candles that are left, and which of their symbols may be traded (None = all)."""

    candles: Candles
    traded: frozenset[str] | None

    @property
    def tradable(self) -> tuple[str, ...]:
        """Symbols that may be traded, in the order of the candles."""
        return tuple(s for s in self.candles.symbols if self.traded is None or s in self.traded)


@dataclass(frozen=True, slots=True)
class Besides:
    """What else a run may need."""

    exit_candles: Candles | None
    entry_candles: Candles | None
    funding: FundingRates | None


def find_sources(request: MarketRequest, strategy: BacktestStrategy) -> Sources:
    """Flags first, then the strategy's settings, then `candles_dbs/candles_<interval>.db`."""
    interval = request.interval or strategy.interval("main")
    db_set = default_db(interval) if request.candles_db is None else request.candles_db
    main = Series(db_set, interval)
    return Sources(
        main,
        _finer("exit", request.exit_candles_db, request.exit_interval, strategy, interval),
        _finer("entry", request.entry_candles_db, request.entry_interval, strategy, interval),
    )


def written_symbol(symbol: str | None, main: Series, semantics: Semantics) -> str | None:
    """The name that --symbol means: as it is given if the main candles have it so, else in upper case."""
    if symbol is None or symbol == symbol.upper():
        return symbol
    if _is_strict(semantics) and has_symbol(main.db_set, main.interval, symbol):
        return symbol
    return symbol.upper()


def files_read(request: MarketRequest, sources: Sources) -> list[tuple[str, str | None]]:
    """Every database that a run reads, with the flag that names it."""
    universe_db = request.universe_db
    if universe_db is None and request.universe_filter:
        universe_db = _universe_beside(sources.main)
    found = [("--funding-db", request.funding_db), ("--universe-db", universe_db)]
    all_series = (
        ("--candles-db", sources.main),
        ("--exit-candles-db", sources.exit),
        ("--entry-candles-db", sources.entry),
    )
    for flag, series in all_series:
        if series is not None:
            found += [(flag, path) for path in expand_db_set(series.db_set)]
    return found


def default_db(interval: str) -> str:
    """Where candles of an interval lie if nothing else is said."""
    return f"candles_dbs/candles_{interval}.db"


def known_after_ms(interval: str, semantics: Semantics) -> int:
    """From a bar's open to the time a run calls it by: its length, or 0 with bar_time = open."""
    if semantics.bar_time == "open":
        return 0
    length_ms = interval_ms_or_zero(interval)
    if length_ms <= 0:
        raise ConfigError(
            f"an interval must be a length such as 1m, 1h or 1d, was {interval!r}: when its bars close cannot be told "
            "otherwise; label the candles so, or give --semantics reference"
        )
    return length_ms


def check_finer(sources: Sources, semantics: Semantics) -> None:
    """Sub-bars must be shorter than main bars; ConfigError, where bars count as known at their close.

    In strict no interval may be months.
    """
    if _is_strict(semantics):
        refuse_month(sources.main.interval, "--interval")
        for name, series in (("exit", sources.exit), ("entry", sources.entry)):
            if series is not None:
                refuse_month(series.interval, f"--{name}-interval")
    longest_ms = known_after_ms(sources.main.interval, semantics)
    for name, series in (("exit", sources.exit), ("entry", sources.entry)):
        if series is None or semantics.bar_time == "open":
            continue
        if known_after_ms(series.interval, semantics) >= longest_ms:
            raise ConfigError(
                f"--{name}-interval must be shorter than the {sources.main.interval} of the main bars, was "
                f"{series.interval} (db: {series.db_set}): give the interval of the finer candles"
            )


def find_window(
    request: MarketRequest, scope: Sequence[Series], semantics: Semantics, program: str, tell: Tell
) -> Window:
    """The effective window, told."""

    def coverages() -> list[Coverage]:
        found = []
        for one in scope:
            first_ms, last_ms = time_range_ms(one.db_set, one.interval)
            last_ms += known_after_ms(one.interval, semantics)
            found.append(Coverage(one.label, one.interval, first_ms, last_ms))
        return found

    window = resolve_window(
        request.start_ms, request.end_ms, coverages, auto_scope=request.auto_scope, tell=tell
    )
    tell(f"[{program}] Effective time range: {describe_window(window)}")
    return window


def load_universe(
    request: MarketRequest,
    main: Series,
    window: Window,
    semantics: Semantics,
    program: str,
    tell: Tell,
    *,
    cut: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None,
    load: LoadCandles = load_candles,
) -> Universe:
    """The main candles, whole, of the symbols that are left. `cut` may take symbols away after the universe filter.

    DataError when none is left or the one asked for is not there.
    """
    candles = load(main.db_set, main.interval, tell=tell)
    if candles.n_rows == 0:
        raise DataError(
            f"there must be candles of interval {main.interval!r} in {main.label}, no candles were found: "
            "check --candles-db and --interval"
        )
    if request.symbol is not None and request.symbol not in candles.symbols:
        raise DataError(unknown_symbol(request.symbol, candles, main.label, semantics))
    kept = candles.symbols
    if request.universe_filter:
        kept = _listed(request, candles, main, window, semantics, program, tell)
    traded = None
    if request.symbol is not None:
        if semantics.context == "universe":
            traded = frozenset({request.symbol})
        else:
            kept = (request.symbol,)
    if kept != candles.symbols:
        tell(f"[{program}] Symbol universe: {len(candles.symbols)} -> {len(kept)} symbols")
    if cut is not None:
        kept = cut(kept)
    if not kept:
        raise DataError("candles must be left after filtering symbols, none are: check the filters")
    if kept != candles.symbols:
        candles = candles.restricted_to(kept)
    if _is_strict(semantics):
        refuse_spacing(candles, main.label)
        refuse_impossible(candles, main.label)
        names = kept if traded is None else tuple(sorted(traded))
        _tell_twice(names, main, program, tell)
        _tell_spans(candles, names, main, window, program, tell)
    told = f"{candles.n_rows} bars across {len(candles.symbols)} symbols"
    alone = "" if traded is None else f", trading {request.symbol}"
    tell(f"[{program}] Loaded {told}{alone}")
    return Universe(candles, traded)


def load_besides(
    request: MarketRequest,
    sources: Sources,
    universe: Universe,
    window: Window,
    semantics: Semantics,
    program: str,
    tell: Tell,
    load: LoadCandles = load_candles,
) -> Besides:
    """Finer candles and funding rates inside the window, of the symbols that may be traded."""
    finer = partial(_load_finer, universe, window, semantics, program, tell, load)
    exit_candles = finer("exit", sources.exit)
    entry_candles = finer("entry", sources.entry)
    funding = None
    if request.funding_db is not None:
        tell(f'[{program}] Loading funding rates from "{request.funding_db}"')
        # Positions held from the start on pay the rate that was set before it.
        from_ms = None if semantics.funding == "held" else window.from_ms
        found = load_funding(request.funding_db, from_ms=from_ms, to_ms=window.to_ms, tell=tell)
        funding = found.restricted_to(universe.tradable)
        if _is_strict(semantics):
            _check_funding(request.funding_db, funding, universe, window, program, tell)
        tell(
            f"[{program}] Funding rates: {len(funding.rate)} entries across {len(funding.symbols)} symbols"
        )
    return Besides(exit_candles, entry_candles, funding)


def refuse_untraded(
    universe: Universe,
    main: Series,
    window: Window,
    needed: Callable[[str], int],
    semantics: Semantics,
    program: str,
    tell: Tell,
) -> None:
    """DataError in strict when no symbol has a bar to be traded; tells how many have none where some have.

    needed: bars that a symbol must have had before it is traded. A bar is traded if it is that or a later one, and
    closes inside the window.
    """
    if not _is_strict(semantics):
        return
    candles, short = universe.candles, []
    after_ms = known_after_ms(candles.interval, semantics)
    for symbol in universe.tradable:
        known_ms = candles.open_ms[candles.rows_of(symbol)] + after_ms
        first = 0 if window.from_ms is None else int(np.searchsorted(known_ms, window.from_ms))
        end = len(known_ms)
        if window.to_ms is not None:
            end = int(np.searchsorted(known_ms, window.to_ms, "right"))
        if max(first, needed(symbol) - 1) >= end:
            lacking = max(needed(symbol) - end, 0)
            short.append((lacking, f"{symbol} has {end} of {needed(symbol)}"))
    if not short:
        return
    nearest = min(short)[1]
    if len(short) == len(universe.tradable):
        raise DataError(
            f"no bar is traded: symbols of {main.label} ({main.interval}) must have had as many bars as --lookback and "
            f"the indicators need, and one more in the window ({describe_window(window)}); none has, {nearest} by its "
            "end: give a smaller --lookback, earlier candles or a later --end-ts"
        )
    tell(
        f"[{program}] Warning: a symbol must have had as many bars as --lookback and the indicators need; "
        f"{len(short)} of {len(universe.tradable)} never have in the window and are not traded "
        f"({_shown([said for _, said in short])}): import earlier candles"
    )


def unknown_symbol(symbol: str, candles: Candles, source: str, semantics: Semantics) -> str:
    """A message that a symbol has no candles in `source`, with what could be meant in strict."""
    if _is_strict(semantics):
        name = meant(symbol, candles.symbols)
        guess = "" if name is None else f"; did you mean {name}?"
        return (
            f'Symbol "{symbol}" not found: --symbol must be one of the {candles.interval} candles of {source}, '
            f"{listed(candles.symbols)}{guess}"
        )
    available = ", ".join(f'"{name}"' for name in candles.symbols)
    return f'Symbol "{symbol}" not found in candle DB. Available: [{available}]'


def _shown(items: list[str]) -> str:
    return ", ".join(items[:_MOST_NAMED]) + (", …" if len(items) > _MOST_NAMED else "")


def _is_strict(semantics: Semantics) -> bool:
    return semantics.config_errors == "refuse"


def _finer(
    series: str,
    db: str | None,
    interval: str | None,
    strategy: BacktestStrategy,
    main_interval: str,
) -> Series | None:
    wanted = interval if interval is not None else strategy.interval(series) or None
    if db is not None:
        return Series(db, wanted if wanted is not None else main_interval, wanted is not None)
    return None if wanted is None else Series(default_db(wanted), wanted)


def _load_finer(
    universe: Universe,
    window: Window,
    semantics: Semantics,
    program: str,
    tell: Tell,
    load: LoadCandles,
    name: str,
    series: Series | None,
) -> Candles | None:
    if series is None:
        return None
    tell(f'[{program}] Loading {name} candles from "{series.db_set}" (interval={series.interval})')
    # A bar is wanted if it is known inside the window.
    after_ms = known_after_ms(series.interval, semantics)
    from_ms, to_ms = (
        None if bound is None else bound - after_ms for bound in (window.from_ms, window.to_ms)
    )
    candles = load(series.db_set, series.interval, from_ms=from_ms, to_ms=to_ms, tell=tell)
    candles = candles.restricted_to(universe.tradable)
    if _is_strict(semantics):
        _refuse_none(name, series, candles, window)
        _tell_without(name, candles, universe, program, tell)
        refuse_spacing(candles, series.label)
        refuse_impossible(candles, series.label)
        _tell_spans(candles, candles.symbols, series, window, program, tell)
    tell(
        f"[{program}] {name.capitalize()} candles: {candles.n_rows} bars across {len(candles.symbols)} symbols"
    )
    return candles


def _check_funding(
    path: str,
    funding: FundingRates,
    universe: Universe,
    window: Window,
    program: str,
    tell: Tell,
) -> None:
    extents = funding_extents(path)
    refuse_unusable(path, extents, universe.tradable)
    candles = universe.candles
    whole = span_of(candles, window.from_ms, window.to_ms)
    spans = {}
    for symbol in universe.tradable:
        opens = candles.open_ms[candles.rows_of(symbol)]
        from_ms, to_ms = int(opens[0]), int(opens[-1]) + candles.interval_ms
        span = Span(max(from_ms, whole.from_ms), min(to_ms, whole.to_ms))
        if span.from_ms < span.to_ms:
            spans[symbol] = span
    for note in funding_notes(path, funding, extents, spans):
        tell(f"[{program}] Warning: {note}")


def _tell_spans(
    candles: Candles,
    symbols: tuple[str, ...],
    series: Series,
    window: Window,
    program: str,
    tell: Tell,
) -> None:
    whole = span_of(candles, window.from_ms, window.to_ms)
    what = f"the {series.interval} candles of {series.label}"
    notes = span_notes(candles, symbols, whole, what)
    for note in [*notes, *jump_notes(candles, symbols, whole.to_ms, what)]:
        tell(f"[{program}] Warning: {note}")


def _tell_twice(symbols: tuple[str, ...], main: Series, program: str, tell: Tell) -> None:
    twice = same_markets(symbols)
    if twice:
        named = _shown([" and ".join(names) for names in twice])
        tell(
            f"[{program}] Warning: every market must stand once in {main.label}, {len(twice)} stand under several "
            f"names, which are traded each as a market of its own: {named}; leave one name each in the database"
        )


def _refuse_none(name: str, series: Series, candles: Candles, window: Window) -> None:
    if candles.n_rows == 0:
        raise DataError(
            f"there must be {name} candles of interval {series.interval!r} in {series.label} for the symbols and the "
            f"window of the run, no bars were found ({describe_window(window)}): check --{name}-candles-db, "
            f"--{name}-interval and the window"
        )


def _tell_without(
    name: str, candles: Candles, universe: Universe, program: str, tell: Tell
) -> None:
    without = [symbol for symbol in universe.tradable if symbol not in candles.symbols]
    if without:
        tell(
            f"[{program}] No {name} bars for {len(without)} of {len(universe.tradable)} symbols: "
            f"{_shown(without)}"
        )


def _listed(
    request: MarketRequest,
    candles: Candles,
    main: Series,
    window: Window,
    semantics: Semantics,
    program: str,
    tell: Tell,
) -> tuple[str, ...]:
    path = request.universe_db or _universe_beside(main)
    first_ms, last_ms = int(candles.open_ms.min()), int(candles.open_ms.max())
    last_ms += known_after_ms(main.interval, semantics)
    from_ms = first_ms if window.from_ms is None else window.from_ms
    to_ms = last_ms if window.to_ms is None else window.to_ms
    tell(f"[{program}] Universe filter enabled: range={from_ms}..{to_ms}, db={path}")
    active = active_symbols(path, from_ms, to_ms)
    if request.symbol is not None and request.symbol not in active:
        raise DataError(
            f'symbol "{request.symbol}" must be active in the universe history {path} in the selected window, is not'
        )
    kept = tuple(symbol for symbol in candles.symbols if symbol in active)
    if not kept:
        raise DataError(
            f"candles must be left after the universe filter, of {len(candles.symbols)} symbols none is active "
            f"in {path}"
        )
    return kept


def _universe_beside(main: Series) -> str:
    first = (expand_db_set(main.db_set) or [main.db_set])[0]
    return str(Path(first).parent / "universe_history.db")
