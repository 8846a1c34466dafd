"""What a run is a run of: the `run` object of its report, and the same essentials in one line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mei import __version__
from mei.data.config_id import config_id
from mei.jit import sources_hash
from mei.model.errors import ConfigError
from mei.model.replay import InitState, ReplayInputs
from mei.model.semantics import Semantics, describe_semantics
from mei.model.yaml12 import parse_yaml, read_text
from mei.workflows.market import MarketRequest, Series, Sources
from mei.workflows.strategy import MEI_ALPHA, BacktestStrategy
from mei.workflows.window import iso_ms

#: Digits of a config_id in a line.
_SHORT = 12
_NEW = "the whole run"
_CONTINUED = (
    "the continued part; max_drawdown falls from the highest equity of all parts, everything else, the Sharpe ratio "
    "too, is of this part alone"
)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What was asked for and what it came to. revision: of the checkout, as `git rev-parse` tells it, or `unknown`.

    slippage_bps: as the report gives it. Paths are told as they were given. config_id: of the strategy file as it was
    read, None = there is none.
    """

    strategy: str
    semantics: Semantics
    config: str
    live: bool
    market: MarketRequest
    sources: Sources
    inputs: ReplayInputs
    slippage_bps: float
    init_state_path: str | None = None
    revision: str = "unknown"
    config_id: str | None = None


class Asked(Protocol):
    """What a replay and a sweep are asked for alike."""

    @property
    def strategy(self) -> str:
        """Its name."""

    @property
    def semantics(self) -> Semantics:
        """Strict, reference or in between."""

    @property
    def config(self) -> str:
        """Strategy file."""

    @property
    def live(self) -> bool:
        """Whether the `live` layer applies."""

    @property
    def market(self) -> MarketRequest:
        """Candles, funding and window."""

    @property
    def revision(self) -> str:
        """Of the checkout."""


def facts_of(
    asked: Asked,
    sources: Sources,
    strategy: BacktestStrategy,
    inputs: ReplayInputs,
    init_state_path: str | None = None,
) -> RunFacts:
    """The facts of a run, its strategy file as it is now."""
    return RunFacts(
        strategy=asked.strategy,
        semantics=asked.semantics,
        config=asked.config,
        live=asked.live,
        market=asked.market,
        sources=sources,
        inputs=inputs,
        slippage_bps=strategy.slippage_bps(),
        init_state_path=init_state_path,
        revision=asked.revision,
        config_id=config_id_of(asked.config),
    )


def config_id_of(path: str) -> str | None:
    """The config_id of a strategy file; None when there is no such file, or none that is a mapping."""
    try:
        document = parse_yaml(read_text(Path(path)), path)
    except ConfigError:
        return None
    return config_id(document) if isinstance(document, dict) else None


def run_object(facts: RunFacts) -> dict[str, Any]:
    """`run` of a report. Times in epoch ms UTC and as ISO 8601; money in USD; symbols: how many candles were loaded of,
    and traded."""
    inputs = facts.inputs
    names = inputs.candles.symbols
    return {
        "version": __version__,
        "git": facts.revision,
        "kernels": sources_hash(),
        "strategy": facts.strategy,
        "semantics": describe_semantics(facts.semantics),
        "config": {
            "path": facts.config,
            "config_id": facts.config_id,
            "live": facts.live,
        },
        "candles": {
            name: None if series is None else _series_object(series)
            for name, series in _all_series(facts.sources)
        },
        "funding_db": facts.market.funding_db,
        "universe_filter": facts.market.universe_filter,
        "symbols": {
            "loaded": len(names),
            "traded": len(names) if inputs.traded is None else len(inputs.traded),
        },
        "window": {
            "from_ms": inputs.from_ms,
            "to_ms": inputs.to_ms,
            "from": _iso(inputs.from_ms),
            "to": _iso(inputs.to_ms),
        },
        "lookback": inputs.lookback,
        "initial_balance_usd": inputs.initial_balance_usd,
        "slippage_bps": facts.slippage_bps,
        "init_state": _state_object(inputs.init_state, facts.init_state_path),
        "scope": _CONTINUED if continues(inputs) else _NEW,
    }


def continues(inputs: ReplayInputs) -> bool:
    """The run goes on from another, with all that it left (init-state version 2)."""
    return inputs.init_state is not None and inputs.init_state.continuation is not None


def run_line(program: str, facts: RunFacts) -> str:
    """The essentials in a line, for standard error: `[replay] Run: ...`."""
    inputs = facts.inputs
    found = facts.config_id
    intervals = "/".join(
        f"{series.interval}" if name == "main" else f"{name} {series.interval}"
        for name, series in _all_series(facts.sources)
        if series is not None
    )
    traded = "" if inputs.traded is None else f" ({len(inputs.traded)} traded)"
    bounds = "..".join(_iso(bound) or "unbounded" for bound in (inputs.from_ms, inputs.to_ms))
    parts = [
        f"{facts.strategy} {describe_semantics(facts.semantics)}",
        f"config {facts.config} ({'no file' if found is None else found[:_SHORT]})",
        intervals,
        f"{len(inputs.candles.symbols)} symbols{traded}",
        bounds,
        *([f"lookback {inputs.lookback}"] if facts.strategy == MEI_ALPHA else []),
        f"balance {inputs.initial_balance_usd:.2f} USD",
        f"slippage {facts.slippage_bps:.2f} bps",
        "no init-state"
        if inputs.init_state is None
        else f"init-state of version {inputs.init_state.version}",
        f"v{__version__} git:{facts.revision}",
    ]
    return f"[{program}] Run: {', '.join(parts)}"


def _all_series(sources: Sources) -> tuple[tuple[str, Series | None], ...]:
    return (("main", sources.main), ("exit", sources.exit), ("entry", sources.entry))


def _series_object(series: Series) -> dict[str, str]:
    return {"interval": series.interval, "db": series.db_set}


def _state_object(state: InitState | None, path: str | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "path": path,
        "version": state.version,
        "source": state.source,
        "exported_at_ms": state.exported_at_ms,
        "positions": len(state.positions),
        "equity_peak_usd": state.peak_usd,
    }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_ms(at_ms)
