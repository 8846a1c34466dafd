"""The strategies a replay or sweep can run, behind one face: settings from a file, a run, words for its trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mei.metrics.replay import ReplayNumbers, symbol_numbers
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs, ReplayResult
from mei.model.semantics import CHOICES, REFERENCE, STRICT, Semantics
from mei.report.replay_json import replay_object
from mei.workflows.relation import Relation
from mei.workflows.signals import Signal
from mei.workflows.sweep.engine import SweepEngine
from mei.workflows.threads import usual_threads

if TYPE_CHECKING:
    from mei.engines.cuda_device import Card

MEI_ALPHA, MOMENTUM_BREAKOUT = "mei_alpha", "momentum_breakout"
NAMES = (MEI_ALPHA, MOMENTUM_BREAKOUT)
DEFAULT_CONFIG = "strategy_overrides.yaml"
#: Switches that say something of momentum_breakout: its fills, what is refused, sweeps, the trade CSV.
_SWITCHES_OF_MOMENTUM = ("entry_fill", "config_errors", "sweep_window", "trade_ids", "excursions")

Tell = Callable[[str], None]


class BacktestStrategy(Protocol):
    """A strategy with its settings."""

    def interval(self, series: str) -> str:
        """The interval that the settings give for series `main`, `exit` or `entry`; empty = none."""

    def headlines(self) -> list[str]:
        """What a replay says about the settings before it starts, a line each."""

    def prepare(self, symbols: Sequence[str], *, tells: bool = True) -> None:
        """Complete the settings for the symbols of the run, and say which were for others."""

    def with_swept(self, values: Mapping[str, float]) -> tuple[BacktestStrategy, list[str]]:
        """A copy with the values of dotted paths set, and the paths it does not know."""

    def sweepable(self) -> tuple[str, ...]:
        """Every dotted path that `with_swept` knows."""

    def bars_needed(self, symbol: str, lookback: int) -> int:
        """Bars that a symbol must have had before it is traded."""

    def run(self, inputs: ReplayInputs) -> ReplayResult:
        """One replay."""

    def value_fault(self, path: str, value: float) -> str | None:
        """What a swept value of a path must be, in words, or None if it is that."""

    def setting_of(self, path: str) -> str:
        """The setting that a path which `with_swept` knows stands for: two paths may be one."""

    def relations(self) -> Sequence[Relation]:
        """Conditions on settings together, over the values they have."""

    @property
    def reads_lookback(self) -> bool:
        """Whether it can be told for how many bars to wait before the first entry."""

    def sweep(self, inputs: ReplayInputs, n_threads: int, card: Card | None = None) -> SweepEngine:
        """What runs configurations (paths that `with_swept` knows -> values) over the inputs, stages shared.

        card: what walks, None = threads here.
        """

    def stage_of(self, path: str) -> int:
        """The stage that reads a path, 0 the first: configurations equal before it share what came before."""

    def kernel(self, *, is_sweep: bool, n_symbols: int = 1) -> str:
        """The compiled function that takes longest to make, `<module>.<function>`. n_symbols: that are traded."""

    def kind_of(self, path: str) -> str:
        """What a swept path takes: `float`, `uint`, `bool`, or a word for a choice of few."""

    def settings_text(self) -> str:
        """Everything of the settings that a run depends on, the same text for the same settings."""

    def reasons(self, result: ReplayResult) -> list[str]:
        """Why, in words, for each trade record."""

    def signals(self, result: ReplayResult) -> list[Signal]:
        """What the bars of a run that exported its state said of entries, by time and symbol; empty of others."""

    def slippage_bps(self, symbol: str | None = None) -> float:
        """Slippage of opens and adds in basis points: of a symbol, or as the report gives it for the run."""

    def exit_slippage_bps(self, symbol: str) -> float:
        """Slippage of exits in basis points."""


def report_object(
    strategy: BacktestStrategy, result: ReplayResult, numbers: ReplayNumbers
) -> dict[str, Any]:
    """The report of a replay of a strategy, without its curve and its trades."""
    entry_bps = {name: max(strategy.slippage_bps(name), 0.0) for name in result.symbols}
    exit_bps = {name: strategy.exit_slippage_bps(name) for name in result.symbols}
    by_symbol = symbol_numbers(result, entry_bps, exit_bps)
    return replay_object(numbers, by_symbol, strategy.slippage_bps())


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

    def __init__(self, layers: Any, symbol: str | None, semantics: Semantics, tell: Tell) -> None:
        self._layers = layers
        self._symbol = symbol
        self._semantics = semantics
        self._tell = tell
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
        found = cls(layers, symbol, semantics, tell)
        if slippage_bps is not None:
            found._slippage_bps = max(slippage_bps, 0.0)
            found._portfolio["trade.slippage_bps"] = found._slippage_bps
        if symbol is not None:
            found._take_layers([symbol])
        return found

    def interval(self, series: str) -> str:
        name = "interval" if series == "main" else f"{series}_interval"
        found = str(self._portfolio[f"engine.{name}"])
        return found or ("1h" if series == "main" else "")

    def headlines(self) -> list[str]:
        from mei.rules.mei_alpha.book import FEE_RATE

        config = self._of_symbol(self._symbol)
        return [
            f"SL={config['trade.sl_atr_mult']:.1f}x ATR, TP={config['trade.tp_atr_mult']:.1f}x ATR, "
            f"leverage={config['trade.leverage']:.1f}, alloc={config['trade.allocation_pct'] * 100.0:.1f}%",
            f"slippage_bps={config['trade.slippage_bps']:.2f}",
            f"fee_bps={FEE_RATE * 1e4:.2f} (fixed)",
        ]

    def prepare(self, symbols: Sequence[str], *, tells: bool = True) -> None:
        if self._semantics.symbol_layer == "always" and self._layers.symbols:
            self._take_layers(symbols)
            if tells:
                self._tell_unmatched(symbols)

    def _take_layers(self, symbols: Sequence[str]) -> None:
        if self._semantics.symbol_layer == "alone":
            return
        plain = self._layers.portfolio
        for symbol in symbols:
            config = self._layers.for_symbol(symbol)
            if config != plain:
                self._by_symbol[symbol] = config
                if self._slippage_bps is not None:
                    config["trade.slippage_bps"] = self._slippage_bps

    def _tell_unmatched(self, symbols: Sequence[str]) -> None:
        """Say which layers no symbol of the run has; where only one symbol is loaded, the others may well be right."""
        if self._symbol is not None and self._semantics.context == "traded":
            return
        unmatched = self._layers.unmatched(symbols)
        if unmatched:
            layers = (
                f"symbols.{name}" + (f" (did you mean {near}?)" if near else "")
                for name, near in unmatched.items()
            )
            self._tell(
                f"[config] {self._layers.path}: without effect, the run has no such symbol: {', '.join(layers)}"
            )

    def _of_symbol(self, symbol: str | None) -> dict[str, Any]:
        own = None if symbol is None else self._by_symbol.get(symbol)
        return self._portfolio if own is None else own

    def with_swept(self, values: Mapping[str, float]) -> tuple[BacktestStrategy, list[str]]:
        from mei.rules.mei_alpha.keys import set_swept

        copy = _MeiAlpha(self._layers, self._symbol, self._semantics, self._tell)
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

    def bars_needed(self, symbol: str, lookback: int) -> int:
        from mei.rules.mei_alpha.records import ready_bars

        if self._semantics.warm_up == "lookback":
            return lookback
        return max(lookback, ready_bars(self._by_symbol.get(symbol, self._portfolio)))

    def run(self, inputs: ReplayInputs) -> ReplayResult:
        from mei.engines.mei_alpha import SymbolConfigs, replay

        configs = SymbolConfigs(self._portfolio, self._by_symbol)
        return replay(inputs, configs, self._semantics, usual_threads())

    reads_lookback = True

    def setting_of(self, path: str) -> str:
        from mei.rules.mei_alpha.keys import set_swept

        typed: dict[str, Any] = {}
        set_swept(typed, path, 1.0)
        return max(typed, default=path)

    def value_fault(self, path: str, value: float) -> str | None:
        from mei.rules.mei_alpha import keys, ranges
        from mei.workflows.swept_relations import number_fault

        kind = keys.BY_PATH[path].kind
        must = number_fault(kind, value, keys.WORDS.get(kind, {}))
        return ranges.value_fault(path, value) if must is None else must

    def relations(self) -> Sequence[Relation]:
        from mei.workflows.swept_relations import mei_alpha_relations

        layers = {"": self._portfolio}
        if self._semantics.symbol_layer == "always":
            for name in self._layers.symbols:
                layers[f"symbols.{name}: "] = self._layers.for_symbol(name)
        return mei_alpha_relations(layers)

    def sweep(self, inputs: ReplayInputs, n_threads: int, card: Card | None = None) -> SweepEngine:
        from mei.engines.mei_alpha import SymbolConfigs
        from mei.workflows.swept_rows import MeiAlphaSweep

        base = SymbolConfigs(self._portfolio, self._by_symbol)
        return MeiAlphaSweep(inputs, base, self._semantics, n_threads, card)

    def stage_of(self, path: str) -> int:
        from mei.rules.mei_alpha.keys import set_swept
        from mei.rules.mei_alpha.records import reads_indicators, reads_screen

        typed: dict[str, Any] = {}
        set_swept(typed, path, 1.0)
        if any(map(reads_indicators, typed)):
            return 0
        return 1 if any(map(reads_screen, typed)) else 2

    def kernel(self, *, is_sweep: bool, n_symbols: int = 1) -> str:
        return "tally.walk_configs" if is_sweep else "walk.walk"

    def kind_of(self, path: str) -> str:
        from mei.rules.mei_alpha.keys import BY_PATH

        return str(BY_PATH[path].kind) if path in BY_PATH else "float"

    def settings_text(self) -> str:
        by_symbol = {name: sorted(one.items()) for name, one in sorted(self._by_symbol.items())}
        return repr((sorted(self._portfolio.items()), by_symbol))

    def reasons(self, result: ReplayResult) -> list[str]:
        from mei.rules.mei_alpha.reasons import reason_text

        return _worded(result, reason_text)

    def signals(self, result: ReplayResult) -> list[Signal]:
        from mei.workflows.signals import mei_alpha_signals

        return mei_alpha_signals(result)

    def slippage_bps(self, symbol: str | None = None) -> float:
        config = self._of_symbol(self._symbol if symbol is None else symbol)
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
        """From a file; the default file may be absent. Unknown keys and switches without meaning are refused."""
        from mei.engines.momentum_breakout import checked_settings
        from mei.model.settings import Costs
        from mei.model.typed_settings import merged_over
        from mei.model.yaml12 import load_yaml
        from mei.rules.momentum_breakout.settings import DEFAULTS

        _refuse_other_semantics(semantics)
        is_there = Path(config).exists() or config != DEFAULT_CONFIG
        document = _section(load_yaml(Path(config)) if is_there else None, config)
        usual = {"fee_bps": Costs().fee_bps, "slippage_bps": Costs().slippage_bps}
        _refuse_unknown_keys(document, config, {MOMENTUM_BREAKOUT: DEFAULTS, "costs": usual})
        params, given = (
            _section(document.get(name), f"{config}: {name}")
            for name in (MOMENTUM_BREAKOUT, "costs")
        )
        checked_settings(params)
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

    def prepare(self, symbols: Sequence[str], *, tells: bool = True) -> None:
        """Nothing: every symbol has the same settings."""

    def with_swept(self, values: Mapping[str, float]) -> tuple[BacktestStrategy, list[str]]:
        from mei.engines.momentum_breakout import UNUSED
        from mei.rules.momentum_breakout.settings import DEFAULTS

        params = dict(self._params)
        unknown = []
        for path, value in values.items():
            name = self.setting_of(path)
            default = None if name in UNUSED else DEFAULTS.get(name)
            if isinstance(default, bool):
                params[name] = value != 0.0
            elif isinstance(default, (int, float)):
                params[name] = type(default)(value)
            else:
                unknown.append(path)
        return _MomentumBreakout(params, self._costs, self._semantics), unknown

    def sweepable(self) -> tuple[str, ...]:
        from mei.engines.momentum_breakout import UNUSED
        from mei.rules.momentum_breakout.settings import DEFAULTS

        known = {name: value for name, value in DEFAULTS.items() if name not in UNUSED}
        numbers = [name for name, value in known.items() if isinstance(value, (int, float))]
        return (*numbers, *(f"{MOMENTUM_BREAKOUT}.{name}" for name in numbers))

    def bars_needed(self, symbol: str, lookback: int) -> int:
        """The signal has a warm-up of its own."""
        from mei.rules.momentum_breakout.settings import DEFAULTS

        return int(self._params.get("lookback", DEFAULTS["lookback"]))

    def run(self, inputs: ReplayInputs) -> ReplayResult:
        from mei.engines.momentum_breakout import replay

        return replay(inputs, self._params, self._costs, self._semantics.entry_fill)

    reads_lookback = False

    def setting_of(self, path: str) -> str:
        return path.removeprefix(f"{MOMENTUM_BREAKOUT}.")

    def value_fault(self, path: str, value: float) -> str | None:
        from mei.rules.momentum_breakout.settings import DEFAULTS
        from mei.workflows.swept_relations import momentum_breakout_value_fault

        settings = {**DEFAULTS, **self._params}
        return momentum_breakout_value_fault(settings, self.setting_of(path), value)

    def relations(self) -> Sequence[Relation]:
        from mei.rules.momentum_breakout.settings import DEFAULTS
        from mei.workflows.swept_relations import momentum_breakout_relations

        return momentum_breakout_relations({**DEFAULTS, **self._params})

    def sweep(self, inputs: ReplayInputs, n_threads: int, card: Card | None = None) -> SweepEngine:
        from mei.workflows.momentum_rows import MomentumSweep

        fill = self._semantics.entry_fill
        return MomentumSweep(inputs, self._params, self._costs, fill, n_threads, card)

    def stage_of(self, path: str) -> int:
        from mei.engines.momentum_breakout import SIGNAL_SETTINGS, WINDOW_SETTINGS

        name = path.removeprefix(f"{MOMENTUM_BREAKOUT}.")
        if name in WINDOW_SETTINGS:
            return 0
        return 1 if name in SIGNAL_SETTINGS else 2

    def kernel(self, *, is_sweep: bool, n_symbols: int = 1) -> str:
        if not is_sweep:
            return "portfolio.walk"
        return "leaps.walk_cases" if n_symbols == 1 else "portfolio_cases.walk_portfolios"

    def kind_of(self, path: str) -> str:
        from mei.rules.momentum_breakout.settings import DEFAULTS

        default = DEFAULTS.get(path.removeprefix(f"{MOMENTUM_BREAKOUT}."), 0.0)
        if isinstance(default, bool):
            return "bool"
        return "uint" if isinstance(default, int) else "float"

    def settings_text(self) -> str:
        return repr((sorted(self._params.items()), self._costs))

    def reasons(self, result: ReplayResult) -> list[str]:
        from mei.rules.momentum_breakout.reasons import reason_text

        return _worded(result, reason_text)

    def signals(self, result: ReplayResult) -> list[Signal]:
        """It keeps none."""
        return []

    def slippage_bps(self, symbol: str | None = None) -> float:
        return float(self._costs.slippage_bps)

    def exit_slippage_bps(self, symbol: str) -> float:
        return self.slippage_bps(symbol)


def _refuse_other_semantics(semantics: Semantics) -> None:
    """momentum_breakout has one definition; the repairs are of another strategy's reference implementation."""
    other = [
        f"{field.name}={getattr(semantics, field.name)}"
        for field in fields(semantics)
        if field.name not in _SWITCHES_OF_MOMENTUM
        and getattr(semantics, field.name) != getattr(STRICT, field.name)
    ]
    if other:
        names = [name for name in _SWITCHES_OF_MOMENTUM if name in CHOICES]
        raise ConfigError(
            f"{MOMENTUM_BREAKOUT} has no reference implementation, --semantics must be strict, if need be with "
            f"{', '.join(names)} (strict,entry_fill=signal_close), was "
            f"{'reference' if semantics == REFERENCE else ', '.join(other)}"
        )


def _refuse_unknown_keys(
    document: Mapping[str, Any], path: str, sections: Mapping[str, Mapping[str, Any]]
) -> None:
    """Roots of the file that are read by nothing; sections: those that are, with their keys. The loop's file may have
    Mei Alpha's section beside them."""
    from difflib import get_close_matches

    for name in document:
        if name in sections or name == MEI_ALPHA:
            continue
        inside = next((section for section, keys in sections.items() if name in keys), None)
        near = get_close_matches(str(name), sections, n=1)
        if inside is not None:
            hint = f"put it under {inside} ({inside}.{name})"
        elif name in ("global", "symbols", "live"):
            hint = f"it is of a file of {MEI_ALPHA}, name one of {MOMENTUM_BREAKOUT} with --config"
        else:
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sections)}"
        raise ConfigError(f"{path}: {name} is not a key of {MOMENTUM_BREAKOUT}'s file: {hint}")


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
