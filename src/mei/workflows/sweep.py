"""A parameter sweep on the CPU: every combination of the axes is one replay (specification part 2, G.1 to G.6)."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mei.metrics.replay import ReplayNumbers
from mei.model.bars import DAY_MS
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs
from mei.model.semantics import STRICT, Semantics
from mei.report.json_text import compact_json
from mei.report.replay_json import numbers_object
from mei.report.replay_text import sweep_table
from mei.rules.mei_alpha.reasons import shortest
from mei.workflows.files import check_apart, check_folder, write_result
from mei.workflows.market import (
    MOST_BARS,
    MarketRequest,
    Sources,
    Universe,
    check_finer,
    files_read,
    find_sources,
    find_window,
    known_after_ms,
    load_besides,
    load_universe,
)
from mei.workflows.replay import read_balance
from mei.workflows.strategy import DEFAULT_CONFIG, MEI_ALPHA, BacktestStrategy, Tell, load_strategy
from mei.workflows.sweep_spec import SweepSpec, config_id, read_spec, refuse_unknown_axes
from mei.workflows.window import Window

_PROGRAM = "sweep"
#: Configurations given to the engine at a time.
_BLOCK = 4096
#: Symbols of parity mode `identical-symbol-universe`.
_MOST_SYMBOLS = 52
#: Values of an axis in the lines before the run.
_MOST_SHOWN = 20
PRODUCTION, IDENTICAL = "production", "identical-symbol-universe"
PARITY_MODES = (PRODUCTION, IDENTICAL)

Overrides = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What the command line asks for. top_n: rows of the printed table. threads None = one per CPU."""

    spec: str
    market: MarketRequest = field(default_factory=MarketRequest)
    config: str = DEFAULT_CONFIG
    live: bool = False
    strategy: str = MEI_ALPHA
    semantics: Semantics = STRICT
    initial_balance_usd: float = 10_000.0
    balance_from: str | None = None
    output: str = "sweep_results.jsonl"
    threads: int | None = None
    top_n: int = 10
    parity_mode: str = PRODUCTION


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One combination and what came of it."""

    config_id: str
    overrides: Overrides
    numbers: ReplayNumbers


def run_sweep(request: SweepRequest, tell: Tell) -> list[SweepRow]:
    """Run every combination and write a line of JSON for each; rows by profit, best first. Raises MeiError.

    `tell` hears progress and the table of the best, a line each.
    """
    check_folder(request.output)
    strict = request.semantics.config_errors == "refuse"
    spec = read_spec(request.spec, strict=strict)
    balance = request.initial_balance_usd
    if request.balance_from is not None:
        balance = read_balance(request.balance_from, tell)
    strategy = load_strategy(
        request.strategy,
        config=request.config,
        live=request.live,
        symbol=None,
        slippage_bps=None,
        semantics=request.semantics,
        tell=tell,
    )
    if strict:
        _refuse_unknown(strategy, spec)
        _refuse_values(strategy, spec, request.spec)
    sources = find_sources(request.market, strategy)
    read = [
        ("--sweep-spec", request.spec),
        ("--config", request.config),
        ("--balance-from", request.balance_from),
        *files_read(request.market, sources),
    ]
    check_apart([("--output", request.output)], read)
    check_finer(sources, request.semantics)
    _tell_spec(spec, balance, sources, tell)
    inputs = _load(request, spec, sources, balance, strategy, tell)
    n_threads = request.threads or _usual_threads()
    auto = "" if request.threads else " (auto)"
    tell(f"[sweep] Thread pool: {n_threads} threads{auto}")
    left_out = f" ({spec.n_product} less those that break a constraint)" if spec.constraints else ""
    tell(
        f"[sweep] Generated {spec.n_allowed()} config combinations across {len(spec.axes)} axes{left_out}"
    )
    started = time.perf_counter()
    rows = _run_all(strategy, inputs, spec, n_threads, tell)
    took_s = time.perf_counter() - started
    rows.sort(key=lambda row: -row.numbers.total_pnl_usd)
    write_result(request.output, "".join(f"{compact_json(_row_object(row))}\n" for row in rows))
    tell("")
    tell(f"[sweep] Results written to {request.output} ({len(rows)} rows)")
    shown = [(row.config_id, row.numbers, row.overrides) for row in rows]
    for line in sweep_table(shown, request.top_n):
        tell(line)
    rate = len(rows) / took_s if took_s > 0.0 else 0.0
    tell(f"[sweep] {len(rows)} combos completed in {took_s:.2f}s ({rate:.1f} combos/s)")
    return rows


def _refuse_unknown(strategy: BacktestStrategy, spec: SweepSpec) -> None:
    _, unknown = strategy.with_swept(dict.fromkeys(spec.paths, 1.0))
    refuse_unknown_axes(unknown, strategy.sweepable())


def _refuse_values(strategy: BacktestStrategy, spec: SweepSpec, path: str) -> None:
    """A value that a strategy file may not have may not win a sweep either."""
    for axis in spec.axes:
        for value in axis.values:
            fault = strategy.value_fault(axis.path, value)
            if fault is not None:
                raise ConfigError(
                    f"{path}: values of axis {axis.path} must be {fault}, was {value!r}"
                )


def _tell_spec(spec: SweepSpec, balance: float, sources: Sources, tell: Tell) -> None:
    tell(
        f"[sweep] {len(spec.axes)} axes, initial_balance={shortest(balance)}, lookback={spec.lookback}, "
        f"interval={sources.main.interval} (db: {sources.main.db_set})"
    )
    for name, series in (("Exit", sources.exit), ("Entry", sources.entry)):
        if series is not None and series.is_scoped:
            tell(f"[sweep] {name} interval: {series.interval} (db: {series.db_set})")
    for axis in spec.axes:
        tell(f"  - {axis.path} ({len(axis.values)} values: {_shown(axis.values)})")
    for constraint in spec.constraints:
        tell(f"  - constraint: {constraint.text}")
    if spec.initial_balance_usd not in (None, balance):
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
    balance: float,
    strategy: BacktestStrategy,
    tell: Tell,
) -> ReplayInputs:
    semantics = request.semantics
    known_after_ms(sources.main.interval, semantics)
    scope = [sources.main, *sources.around()]
    window = find_window(request.market, scope, semantics, _PROGRAM, tell)
    if window.from_ms is not None and window.to_ms is not None:
        days = (window.to_ms - window.from_ms) / DAY_MS
        tell(f"[auto-scope] Scoped period length: {days:.1f} days")

    def cut(symbols: tuple[str, ...]) -> tuple[str, ...]:
        kept = symbols[:_MOST_SYMBOLS] if request.parity_mode == IDENTICAL else symbols
        tell(f"[sweep] Parity mode: {request.parity_mode} ({len(kept)} of {len(symbols)} symbols)")
        return kept

    universe: Universe = load_universe(
        request.market, sources.main, window, semantics, _PROGRAM, tell, cut=cut
    )
    besides = load_besides(request.market, sources, universe, window, semantics, _PROGRAM, tell)
    strategy.prepare(universe.candles.symbols)
    bounds = window if semantics.sweep_window == "applied" else Window(None, None)
    return ReplayInputs(
        candles=universe.candles,
        exit_candles=besides.exit_candles,
        entry_candles=besides.entry_candles,
        funding=besides.funding,
        from_ms=bounds.from_ms,
        to_ms=bounds.to_ms,
        initial_balance_usd=balance,
        lookback=min(spec.lookback, MOST_BARS),
        traded=universe.traded,
    )


def _usual_threads() -> int:
    wanted = os.environ.get("RAYON_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0))


def _run_all(
    strategy: BacktestStrategy, inputs: ReplayInputs, spec: SweepSpec, n_threads: int, tell: Tell
) -> list[SweepRow]:
    """Rows in the order of the combinations."""
    run = strategy.sweep(inputs, n_threads)
    _, unknown = strategy.with_swept(dict.fromkeys(spec.paths, 1.0))
    rows: list[SweepRow] = []
    indices = spec.indices()
    while block := list(itertools.islice(indices, _BLOCK)):
        overrides = [spec.overrides(index) for index in block]
        known = [{p: v for p, v in one.items() if p not in unknown} for one in overrides]
        for index, one, numbers in zip(block, overrides, run(known), strict=True):
            rows.append(SweepRow(config_id(index), one, numbers))
            for path in unknown:
                tell(f"[sweep] Unknown override path: {path}")
    return rows


def _row_object(row: SweepRow) -> dict[str, Any]:
    return numbers_object(row.config_id, row.numbers) | {"overrides": dict(row.overrides)}
