"""The strategies a replay or sweep can run, behind one face: settings from a file, a run, words for its trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from mei.metrics.replay import ReplayNumbers, replay_numbers
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs, ReplayResult
from mei.model.semantics import Semantics

MEI_ALPHA, MOMENTUM_BREAKOUT = "mei_alpha", "momentum_breakout"
NAMES = (MEI_ALPHA, MOMENTUM_BREAKOUT)
DEFAULT_CONFIG = "strategy_overrides.yaml"

Tell = Callable[[str], None]
#: Numbers of configurations, in their order.
SweepRun = Callable[[Sequence[Mapping[str, float]]], list[ReplayNumbers]]


class BacktestStrategy(Protocol):
    """A strategy with its settings."""

    def interval(self, series: str) -> str:
        """The interval that the settings give for series `main`, `exit` or `entry`; empty = none."""

    def headlines(self) -> list[str]:
        """What a replay says about the settings before it starts, a line each."""

    def prepare(self, symbols: Sequence[str]) -> None:
        """Complete the settings for the symbols of the run."""

    def with_swept(self, values: Mapping[str, float]) -> tuple[BacktestStrategy, list[str]]:
        """A copy with the values of dotted paths set, and the paths it does not know."""

    def sweepable(self) -> tuple[str, ...]:
        """Every dotted path that `with_swept` knows."""

    def run(self, inputs: ReplayInputs) -> ReplayResult:
        """One replay."""

    def value_fault(self, path: str, value: float) -> str | None:
        """What a swept value of a path must be, in words, or None if it is that."""

    def sweep(self, inputs: ReplayInputs, n_threads: int) -> SweepRun:
        """What runs configurations (paths that `with_swept` knows -> values) over the inputs, stages shared."""

    def reasons(self, result: ReplayResult) -> list[str]:
        """Why, in words, for each trade record."""

    def slippage_bps(self, symbol: str | None = None) -> float:
        """Slippage of opens and adds in basis points: of a symbol, or as the report gives it for the run."""

    def exit_slippage_bps(self, symbol: str) -> float:
        """Slippage of exits in basis points."""


def load_strategy(
    name: str,
    *,
    config: str,
    live: bool,
    symbol: str | None,
    slippage_bps: float | None,
    semantics: Semantics,
    tell: Tell,
) -> BacktestStrategy:
    """The strategy `name` with the settings of file `config`.

    live: apply the `live` layer. symbol: the only one that will be traded. slippage_bps: replaces that of the settings.
    ConfigError for an unknown name and for settings that are wrong.
    """
    if name == MEI_ALPHA:
        return _MeiAlpha.load(config, live, symbol, slippage_bps, semantics, tell)
    if name == MOMENTUM_BREAKOUT:
        return _MomentumBreakout.load(config, slippage_bps, semantics)
    raise ConfigError(f"--strategy must be one of {', '.join(NAMES)}, was {name!r}")


class _MeiAlpha:
    """Mei Alpha over the layers of a strategy file."""

    def __init__(self, layers: Any, symbol: str | None, semantics: Semantics) -> None:
        self._layers = layers
        self._semantics = semantics
        alone = semantics.symbol_layer == "alone" and symbol is not None
        self._portfolio = layers.for_symbol(symbol) if alone else layers.portfolio
        self._by_symbol: dict[str, dict[str, Any]] = {}
        self._slippage_bps: float | None = None

    @classmethod
    def load(
        cls,
        config: str,
        live: bool,
        symbol: str | None,
        slippage_bps: float | None,
        semantics: Semantics,
        tell: Tell,
    ) -> _MeiAlpha:
        """From a file."""
        from mei.data.strategy_yaml import load_layers

        layers = load_layers(Path(config), live=live, semantics=semantics, tell=tell)
        found = cls(layers, symbol, semantics)
        if slippage_bps is not None:
            found._slippage_bps = max(slippage_bps, 0.0)
            found._portfolio["trade.slippage_bps"] = found._slippage_bps
        return found

    def interval(self, series: str) -> str:
        name = "interval" if series == "main" else f"{series}_interval"
        found = str(self._portfolio[f"engine.{name}"])
        return found or ("1h" if series == "main" else "")

    def headlines(self) -> list[str]:
        from mei.rules.mei_alpha.book import FEE_RATE

        config = self._portfolio
        return [
            f"SL={config['trade.sl_atr_mult']:.1f}x ATR, TP={config['trade.tp_atr_mult']:.1f}x ATR, "
            f"leverage={config['trade.leverage']:.1f}, alloc={config['trade.allocation_pct'] * 100.0:.1f}%",
            f"slippage_bps={config['trade.slippage_bps']:.2f}",
            f"fee_bps={FEE_RATE * 1e4:.2f} (fixed)",
        ]

    def prepare(self, symbols: Sequence[str]) -> None:
        if self._semantics.symbol_layer == "alone" or not self._layers.symbols:
            return
        plain = self._layers.portfolio
        for symbol in symbols:
            config = self._layers.for_symbol(symbol)
            if config != plain:
                self._by_symbol[symbol] = config
                if self._slippage_bps is not None:
                    config["trade.slippage_bps"] = self._slippage_bps

    def with_swept(self, values: Mapping[str, float]) -> tuple[BacktestStrategy, list[str]]:
        from mei.rules.mei_alpha.keys import set_swept

        copy = _MeiAlpha(self._layers, None, self._semantics)
        copy._portfolio = dict(self._portfolio)
        copy._by_symbol = {symbol: dict(config) for symbol, config in self._by_symbol.items()}
        unknown = []
        for path, value in values.items():
            if not set_swept(copy._portfolio, path, value):
                unknown.append(path)
            for config in copy._by_symbol.values():
                set_swept(config, path, value)
        return copy, unknown

    def sweepable(self) -> tuple[str, ...]:
        from mei.rules.mei_alpha.keys import SWEPT

        return SWEPT

    def run(self, inputs: ReplayInputs) -> ReplayResult:
        from mei.engines.mei_alpha import SymbolConfigs, replay

        return replay(inputs, SymbolConfigs(self._portfolio, self._by_symbol), self._semantics)

    def value_fault(self, path: str, value: float) -> str | None:
        from mei.rules.mei_alpha import keys, ranges

        typed: dict[str, Any] = {}
        keys.set_swept(typed, path, value)
        faults = (ranges.value_fault(*item) for item in typed.items())
        return next((fault for fault in faults if fault is not None), None)

    def sweep(self, inputs: ReplayInputs, n_threads: int) -> SweepRun:
        from mei.engines.mei_alpha import SymbolConfigs
        from mei.workflows.swept_rows import sweep_of

        base = SymbolConfigs(self._portfolio, self._by_symbol)
        return sweep_of(inputs, base, self._semantics, n_threads)

    def reasons(self, result: ReplayResult) -> list[str]:
        from mei.rules.mei_alpha.reasons import reason_text

        return _worded(result, reason_text)

    def slippage_bps(self, symbol: str | None = None) -> float:
        config = self._portfolio if symbol is None else self._by_symbol.get(symbol, self._portfolio)
        return float(config["trade.slippage_bps"])

    def exit_slippage_bps(self, symbol: str) -> float:
        both = self._semantics.costs == "both_sides"
        return max(self.slippage_bps(symbol), 0.0) if both else 0.5


class _MomentumBreakout:
    """momentum_breakout over a mapping of its settings, and one of costs."""

    def __init__(self, params: Mapping[str, Any], costs: Any, semantics: Semantics) -> None:
        self._params = params
        self._costs = costs
        self._semantics = semantics

    @classmethod
    def load(
        cls, config: str, slippage_bps: float | None, semantics: Semantics
    ) -> _MomentumBreakout:
        """From a file; the default file may be absent."""
        from mei.engines.momentum_breakout import checked_settings
        from mei.model.settings import Costs
        from mei.model.typed_settings import merged_over
        from mei.model.yaml12 import load_yaml

        is_there = Path(config).exists() or config != DEFAULT_CONFIG
        document = _section(load_yaml(Path(config)) if is_there else None, config)
        params, given = (
            _section(document.get(name), f"{config}: {name}")
            for name in (MOMENTUM_BREAKOUT, "costs")
        )
        checked_settings(params)
        usual = {"fee_bps": Costs().fee_bps, "slippage_bps": Costs().slippage_bps}
        costs = merged_over(usual, given, owner="costs", source=config)
        if slippage_bps is not None:
            costs["slippage_bps"] = max(slippage_bps, 0.0)
        return cls(params, Costs(float(costs["fee_bps"]), float(costs["slippage_bps"])), semantics)

    def interval(self, series: str) -> str:
        return "1h" if series == "main" else ""

    def headlines(self) -> list[str]:
        given = ", ".join(f"{name}={value}" for name, value in sorted(self._params.items()))
        return [
            f"momentum_breakout: {given or 'defaults'}",
            f"fee_bps={self._costs.fee_bps:.2f}, slippage_bps={self._costs.slippage_bps:.2f}",
        ]

    def prepare(self, symbols: Sequence[str]) -> None:
        """Nothing: every symbol has the same settings."""

    def with_swept(self, values: Mapping[str, float]) -> tuple[BacktestStrategy, list[str]]:
        from mei.rules.momentum_breakout.settings import DEFAULTS

        params = dict(self._params)
        unknown = []
        for path, value in values.items():
            name = path.removeprefix(f"{MOMENTUM_BREAKOUT}.")
            default = DEFAULTS.get(name)
            if isinstance(default, bool):
                params[name] = value != 0.0
            elif isinstance(default, (int, float)):
                params[name] = type(default)(value)
            else:
                unknown.append(path)
        return _MomentumBreakout(params, self._costs, self._semantics), unknown

    def sweepable(self) -> tuple[str, ...]:
        from mei.rules.momentum_breakout.settings import DEFAULTS

        numbers = [name for name, value in DEFAULTS.items() if isinstance(value, (int, float))]
        return (*numbers, *(f"{MOMENTUM_BREAKOUT}.{name}" for name in numbers))

    def run(self, inputs: ReplayInputs) -> ReplayResult:
        from mei.engines.momentum_breakout import replay

        return replay(inputs, self._params, self._costs, self._semantics.entry_fill)

    def value_fault(self, path: str, value: float) -> str | None:
        """The engine checks its settings itself."""
        return None

    def sweep(self, inputs: ReplayInputs, n_threads: int) -> SweepRun:
        """One replay each; nothing is shared yet."""

        def one(overrides: Mapping[str, float]) -> ReplayNumbers:
            swept, _ = self.with_swept(overrides)
            result = swept.run(inputs)
            return replay_numbers(result, swept.reasons(result))

        def run(overrides: Sequence[Mapping[str, float]]) -> list[ReplayNumbers]:
            with ThreadPoolExecutor(n_threads) as pool:
                return list(pool.map(one, overrides))

        return run

    def reasons(self, result: ReplayResult) -> list[str]:
        from mei.rules.momentum_breakout.reasons import reason_text

        return _worded(result, reason_text)

    def slippage_bps(self, symbol: str | None = None) -> float:
        return float(self._costs.slippage_bps)

    def exit_slippage_bps(self, symbol: str) -> float:
        return self.slippage_bps(symbol)


def _section(content: Any, where: str) -> Mapping[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} must be a mapping, was {content!r:.60}")
    return content


def _worded(
    result: ReplayResult, reason_text: Callable[[int, int, float, float], str]
) -> list[str]:
    names = ("reason", "confidence", "detail_1", "detail_2")
    columns = (result.trades[name].tolist() for name in names)
    return [reason_text(*row) for row in zip(*columns, strict=True)]
