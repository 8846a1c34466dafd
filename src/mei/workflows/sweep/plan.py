"""What a sweep will run: strategy, market and spec loaded and checked, in chunks, with an identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from mei.jit import kernels_hash
from mei.model.bars import DAY_MS, FloatArray, IntArray
from mei.model.candles import Candles, FundingRates, offsets_of
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs
from mei.model.semantics import REFERENCE, Semantics
from mei.rules.mei_alpha.reasons import shortest
from mei.workflows.files import check_apart, check_folder, is_stream
from mei.workflows.market import (
    MOST_BARS,
    Sources,
    Universe,
    check_finer,
    files_read,
    find_sources,
    find_window,
    known_after_ms,
    load_besides,
    load_universe,
    refuse_untraded,
)
from mei.workflows.replay import read_balance
from mei.workflows.run_facts import RunFacts, facts_of, run_line
from mei.workflows.strategy import (
    MEI_ALPHA,
    MOMENTUM_BREAKOUT,
    BacktestStrategy,
    Tell,
    load_strategy,
)
from mei.workflows.strategy_flags import refuse_unread_flags
from mei.workflows.sweep.order import Turns
from mei.workflows.sweep.request import IDENTICAL, SweepRequest
from mei.workflows.sweep_check import check_swept
from mei.workflows.sweep_spec import SweepSpec, read_spec
from mei.workflows.window import Window

_PROGRAM: Final = "sweep"
#: Symbols of parity mode `identical-symbol-universe`.
_MOST_SYMBOLS: Final = 52
#: Values of an axis in the lines before the run.
_MOST_SHOWN: Final = 20
#: Symbols times bars times configurations of a chunk, about: a second of work, all a crash costs and Ctrl-C waits for.
_CHUNK_WORK: Final = {MEI_ALPHA: 50_000_000, MOMENTUM_BREAKOUT: 1_000_000_000}
#: Symbols named in a warning.
_MOST_NAMED: Final = 10
_SMALLEST_CHUNK, _LARGEST_CHUNK = 64, 8192
#: On a card: it is assumed to do so many times the work of the CPU a second (no card has been measured yet). Fewer
#: combinations leave it mostly idle, more than fill it several times over gain nothing.
_CARD_SPEED: Final = 20
_SMALLEST_CARD_CHUNK, _LARGEST_CARD_CHUNK = 8192, 1 << 16
_JOURNAL_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Everything that says which rows there are and what they are of; a worker anywhere needs nothing else.

    unknown: swept paths the strategy does not have (reference semantics only; they are echoed and change nothing).
    facts: what it is a sweep of. left_out: symbols beyond the 52 of a parity mode.
    data_id, identity: SHA-256 in hex, of the market, and of all that a row depends on; how rows are cut into chunks is
    no part of it.
    """

    strategy: BacktestStrategy
    semantics: Semantics
    inputs: ReplayInputs
    spec: SweepSpec
    turns: Turns
    unknown: tuple[str, ...]
    chunk_size: int
    data_id: str
    identity: str
    facts: RunFacts
    left_out: tuple[str, ...]
    is_on_card: bool

    @property
    def marks(self) -> dict[str, int]:
        """What every row says beside its numbers: how many symbols are left out, if any.

        Rows of the reference's lane A have no such field.
        """
        is_lane_a = self.semantics == REFERENCE and not self.is_on_card
        return {"symbols_left_out": len(self.left_out)} if self.left_out and not is_lane_a else {}

    @property
    def n_chunks(self) -> int:
        """Chunks are numbered from 0; the last one may be shorter."""
        return -(-self.spec.n_product // self.chunk_size)

    def indices(self, chunk: int) -> IntArray:
        """The combinations of a chunk that hold the constraints, in the order they run."""
        first = chunk * self.chunk_size
        turns = np.arange(first, min(first + self.chunk_size, self.spec.n_product), dtype=np.int64)
        return self.spec.holding(self.turns.indices(turns))

    def columns(self, indices: IntArray) -> dict[str, FloatArray]:
        """Path -> values of these combinations, of the paths the strategy has."""
        columns = self.spec.columns(indices)
        return {path: values for path, values in columns.items() if path not in self.unknown}


@dataclass(frozen=True, slots=True)
class SweepReading:
    """Spec and settings, checked, and where the candles are: what can be told before they are loaded."""

    spec: SweepSpec
    strategy: BacktestStrategy
    unknown: tuple[str, ...]
    balance_usd: float
    sources: Sources


def read_sweep(request: SweepRequest, tell: Tell) -> SweepReading:
    """Everything but the market. Raises MeiError; `tell` hears what was found, a line each."""
    check_folder(request.output)
    if is_stream(request.output):
        raise ConfigError(
            f"--output of a sweep must be a file, {request.output} is none: its journal and its best stand beside it"
        )
    semantics = request.semantics
    strict = semantics.config_errors == "refuse"
    refuse_unread_flags(request.strategy, request.market, semantics, live=request.live)
    spec = read_spec(request.spec, strict=strict)
    balance_usd = _balance(request, tell)
    strategy = load_strategy(
        request.strategy,
        config=request.config,
        live=request.live,
        symbol=None,
        slippage_bps=None,
        semantics=semantics,
        tell=tell,
    )
    _, unknown = strategy.with_swept(dict.fromkeys(spec.paths, 1.0))
    if strict:
        check_swept(strategy, spec, request.spec)
    sources = find_sources(request.market, strategy)
    _refuse_overwriting(request, sources)
    check_finer(sources, semantics)
    return SweepReading(spec, strategy, tuple(unknown), balance_usd, sources)


def plan_sweep(request: SweepRequest, tell: Tell, *, is_on_card: bool = False) -> SweepPlan:
    """Read and check everything. Raises MeiError; `tell` hears what was found, a line each.

    is_on_card: the reference's kernel for cards holds 52 symbols at most, so under its semantics a card trades no more.
    """
    read = read_sweep(request, tell)
    spec, strategy, sources = read.spec, read.strategy, read.sources
    _tell_spec(spec, read.balance_usd, sources, tell)
    is_capped = request.parity_mode == IDENTICAL or (is_on_card and request.semantics == REFERENCE)
    inputs, left_out = _load(request, spec, sources, read.balance_usd, strategy, is_capped, tell)
    facts = facts_of(request, sources, strategy, inputs)
    tell(run_line(_PROGRAM, facts))
    data_id = data_identity(inputs, request.semantics)
    chunk_size = request.chunk_size or usual_chunk_size(
        request.strategy, inputs.candles.n_rows, is_on_card=is_on_card
    )
    return SweepPlan(
        strategy,
        request.semantics,
        inputs,
        spec,
        Turns(spec, strategy.stage_of),
        read.unknown,
        chunk_size,
        data_id,
        _identity(request, spec, strategy, inputs, data_id),
        facts,
        left_out,
        is_on_card=is_on_card,
    )


def data_identity(inputs: ReplayInputs, semantics: Semantics) -> str:
    """SHA-256, in hex, of the market a run sees: candles, finer series, funding and window.

    Bars that are known after the window are no part of it where a run ends with its window.
    """
    digest = hashlib.sha256()
    for part in (inputs.candles, inputs.exit_candles, inputs.entry_candles):
        _add_series(digest, _seen_of(part, inputs.to_ms, semantics))
    _add_series(digest, inputs.funding)
    traded = None if inputs.traded is None else sorted(inputs.traded)
    digest.update(repr((inputs.from_ms, inputs.to_ms, traded)).encode())
    return digest.hexdigest()


def _seen_of(candles: Candles | None, to_ms: int | None, semantics: Semantics) -> Candles | None:
    if candles is None or to_ms is None or semantics.run_end != "window":
        return candles
    delay_ms = candles.interval_ms if semantics.bar_time == "close" else 0
    is_seen = candles.open_ms + delay_ms <= to_ms
    lengths = [int(is_seen[first:end].sum()) for first, end in pairwise(candles.offsets.tolist())]
    return replace(
        candles,
        offsets=offsets_of(lengths),
        open_ms=candles.open_ms[is_seen],
        open=candles.open[is_seen],
        high=candles.high[is_seen],
        low=candles.low[is_seen],
        close=candles.close[is_seen],
        volume=candles.volume[is_seen],
    )


@dataclass(frozen=True, slots=True)
class Market:
    """What trials are counted on, whatever the window: the symbols that are traded, sorted, and their interval."""

    symbols: tuple[str, ...]
    interval: str
    market_id: str


def market_of(inputs: ReplayInputs) -> Market:
    """The market a run is on; its id is a SHA-256, in hex."""
    candles = inputs.candles
    traded = tuple(candles.symbols if inputs.traded is None else sorted(inputs.traded))
    market_id = hashlib.sha256(repr((candles.interval, traded)).encode()).hexdigest()
    return Market(tuple(sorted(traded)), str(candles.interval), market_id)


def _add_series(digest: Any, series: Candles | FundingRates | None) -> None:
    digest.update(b"none" if series is None else type(series).__name__.encode())
    for field in fields(series) if series is not None else ():
        value = getattr(series, field.name)
        if isinstance(value, np.ndarray):
            digest.update(f"{field.name} {value.dtype.str} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).data)
        else:
            digest.update(f"{field.name} {value!r}".encode())


def _identity(
    request: SweepRequest,
    spec: SweepSpec,
    strategy: BacktestStrategy,
    inputs: ReplayInputs,
    data_id: str,
) -> str:
    """What a row depends on: not the threads, the device or the names of files."""
    axes = [(axis.path, axis.values) for axis in spec.axes]
    parts: Mapping[str, Any] = {
        "journal": _JOURNAL_VERSION,
        "sources": kernels_hash("engines"),
        "strategy": request.strategy,
        "settings": strategy.settings_text(),
        "semantics": request.semantics,
        "axes": axes,
        "constraints": [constraint.text for constraint in spec.constraints],
        "lookback": inputs.lookback,
        "balance": inputs.initial_balance_usd,
        "data": data_id,
    }
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def usual_chunk_size(strategy: str, n_symbol_bars: int, *, is_on_card: bool) -> int:
    """Combinations that take about a second together, within bounds that suit what walks."""
    wanted = _CHUNK_WORK[strategy] // max(n_symbol_bars, 1)
    if is_on_card:
        return max(_SMALLEST_CARD_CHUNK, min(_LARGEST_CARD_CHUNK, _CARD_SPEED * wanted))
    return max(_SMALLEST_CHUNK, min(_LARGEST_CHUNK, wanted))


def _balance(request: SweepRequest, tell: Tell) -> float:
    balance_usd = request.initial_balance_usd
    if request.balance_from is not None:
        balance_usd = read_balance(request.balance_from, tell)
    if request.semantics.config_errors == "refuse" and not balance_usd > 0.0:
        raise ConfigError(f"--initial-balance must be above 0, was {balance_usd}")
    return balance_usd


def _refuse_overwriting(request: SweepRequest, sources: Sources) -> None:
    read = [
        ("--sweep-spec", request.spec),
        ("--config", request.config),
        ("--balance-from", request.balance_from),
        *files_read(request.market, sources),
    ]
    check_apart([("--output", request.output)], read)


def _tell_spec(spec: SweepSpec, balance_usd: float, sources: Sources, tell: Tell) -> None:
    tell(
        f"[sweep] {len(spec.axes)} axes, initial_balance={shortest(balance_usd)}, lookback={spec.lookback}, "
        f"interval={sources.main.interval} (db: {sources.main.db_set})"
    )
    for name, series in (("Exit", sources.exit), ("Entry", sources.entry)):
        if series is not None and series.is_scoped:
            tell(f"[sweep] {name} interval: {series.interval} (db: {series.db_set})")
    for axis in spec.axes:
        tell(f"  - {axis.path} ({len(axis.values)} values: {_shown(axis.values)})")
    for constraint in spec.constraints:
        tell(f"  - constraint: {constraint.text}")
    if spec.initial_balance_usd not in (None, balance_usd):
        tell(
            f"[sweep] initial_balance={shortest(spec.initial_balance_usd)} of the spec is not used: "
            "give --initial-balance"
        )


def _shown(values: Sequence[float]) -> str:
    if len(values) <= _MOST_SHOWN:
        return str(list(values))
    head = ", ".join(map(str, values[: _MOST_SHOWN // 2]))
    return f"[{head}, … {values[-1]}]"


def _load(
    request: SweepRequest,
    spec: SweepSpec,
    sources: Sources,
    balance_usd: float,
    strategy: BacktestStrategy,
    is_capped: bool,
    tell: Tell,
) -> tuple[ReplayInputs, tuple[str, ...]]:
    """What every row reads, and the symbols that are left out."""
    semantics = request.semantics
    known_after_ms(sources.main.interval, semantics)
    scope = [sources.main, *sources.around()]
    window = find_window(request.market, scope, semantics, _PROGRAM, tell)
    if window.from_ms is not None and window.to_ms is not None:
        days = (window.to_ms - window.from_ms) / DAY_MS
        tell(f"[auto-scope] Scoped period length: {days:.1f} days")

    left_out: list[str] = []

    def cut(symbols: tuple[str, ...]) -> tuple[str, ...]:
        kept = symbols[:_MOST_SYMBOLS] if is_capped else symbols
        tell(f"[sweep] Parity mode: {request.parity_mode} ({len(kept)} of {len(symbols)} symbols)")
        left_out.extend(symbols[len(kept) :])
        return kept

    universe: Universe = load_universe(
        request.market, sources.main, window, semantics, _PROGRAM, tell, cut=cut
    )
    besides = load_besides(request.market, sources, universe, window, semantics, _PROGRAM, tell)
    strategy.prepare(universe.candles.symbols)
    # What the indicators need may be swept; the lookback is the same for all, where it counts.
    needed = spec.lookback if request.strategy == MEI_ALPHA else 1
    refuse_untraded(universe, sources.main, window, lambda _: needed, semantics, _PROGRAM, tell)
    bounds = window if semantics.sweep_window == "applied" else Window(None, None)
    inputs = ReplayInputs(
        candles=universe.candles,
        exit_candles=besides.exit_candles,
        entry_candles=besides.entry_candles,
        funding=besides.funding,
        from_ms=bounds.from_ms,
        to_ms=bounds.to_ms,
        initial_balance_usd=balance_usd,
        lookback=min(spec.lookback, MOST_BARS),
        traded=universe.traded,
    )
    if left_out:
        shown = ", ".join(left_out[:_MOST_NAMED]) + (", …" if len(left_out) > _MOST_NAMED else "")
        tell(
            f"[sweep] warning: {len(left_out)} symbols are left out of every row, parity mode {request.parity_mode} "
            f"keeps the first {_MOST_SYMBOLS}: {shown}"
        )
    return inputs, tuple(left_out)
