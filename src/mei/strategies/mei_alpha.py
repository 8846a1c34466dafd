"""Mei Alpha as a portfolio strategy of the loop: the steps of `LiveWalk`, strict, on the shared account."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mei.data.strategy_faults import type_fault, typed
from mei.data.strategy_yaml import load_layers
from mei.engines.mei_alpha import SymbolConfigs, check_configs
from mei.engines.mei_alpha_live import RISK_FIELDS, LiveTerms, LiveWalk
from mei.model.errors import ConfigError
from mei.model.orders import Action, Bar, Execution
from mei.model.replay import ACTIONS
from mei.model.semantics import STRICT
from mei.model.typed_settings import wrong_type
from mei.rules.mei_alpha.keys import BY_PATH, DEFAULTS, WORDS, Config
from mei.rules.mei_alpha.ranges import config_faults
from mei.rules.mei_alpha.reasons import reason_text
from mei.strategies.base import Params, PortfolioContext, PortfolioStrategy

_SOURCE = "config/strategy.yaml: mei_alpha"
#: What the run itself says; a preset or a dotted key must not contradict it.
_OF_RUN = {"slippage_bps": "SLIPPAGE_BP"}
#: First words of the replay's actions -> those of the loop.
_ACTIONS: Mapping[str, Action] = {
    "OPEN": "open",
    "ADD": "add",
    "REDUCE": "reduce",
    "CLOSE": "close",
}
_log = logging.getLogger("mei_alpha")


class MeiAlpha(PortfolioStrategy):
    """All instruments together: BTC's direction, breadth, ranking, margin; adds, partial exits, moving stops.

    Its settings are those of a strategy file of Mei Alpha (`strategy_file`), with dotted keys over every layer of it.
    Semantics are strict; the fill of what is decided at a close is the run's ENTRY_FILL, costs are the run's.
    """

    name = "mei_alpha"
    #: lookback: bars a symbol needs before entries. strategy_file: relative to the folder of config/strategy.yaml.
    defaults: Mapping[str, Any] = {"lookback": 200, "strategy_file": ""}

    @classmethod
    def resolved(
        cls, configured: Mapping[str, Any], folder: Path, instruments: tuple[str, ...]
    ) -> dict[str, Any]:
        """lookback; settings: those that differ from the built-in ones; symbols: instrument -> those that differ from
        them for it. Raises ConfigError."""
        own = dict(cls.defaults)
        over: Config = {}
        for name, value in configured.items():
            if name in own:
                must = wrong_type(own[name], value)
                if must is not None:
                    raise ConfigError(f"{_SOURCE}.{name} must be {must}, was {value!r}")
                own[name] = value
            else:
                over[name] = _value_of(name, value)
        whole, by_symbol = _layers(own["strategy_file"], folder, instruments)
        whole |= over
        for config in (whole, *(config | over for config in by_symbol.values())):
            faults = [*config_faults(config), *_sub_bars(config)]
            if faults:
                raise ConfigError(f"{_SOURCE}: {'; '.join(faults)}")
        each = {name: _changes(config | over, whole) for name, config in by_symbol.items()}
        settings = {
            "lookback": own["lookback"],
            "settings": _changes(whole, DEFAULTS),
            "symbols": {name: changes for name, changes in each.items() if changes},
        }
        check_configs(_configs(settings, 0.0))
        return settings

    def on_start(self, context: PortfolioContext) -> None:
        """Prepare an empty walk."""
        super().on_start(context)
        settings = context.settings
        terms = LiveTerms(
            interval_ms=context.interval_ms,
            lookback=settings["lookback"],
            fee_rate=context.costs.fee_bps / 1e4,
        )
        self._walk = LiveWalk(
            context.instruments,
            _configs(settings, context.costs.slippage_bps),
            terms,
            replace(STRICT, entry_fill=context.entry_fill),
        )
        self._applied: dict[str, Mapping[str, Any]] = {}

    def on_step(
        self, close_ms: int, bars: Mapping[str, Bar], params: Mapping[str, Params]
    ) -> list[Execution]:
        """One step of the walk with the account as the loop has it."""
        for name in bars:
            values = params[name].values
            if values is not self._applied.get(name):
                self._apply(name, values)
        context, walk = self.context, self._walk
        walk.set_account(context.cash_usd, context.other_equity_usd)
        return [self._execution(trade) for trade in walk.step(close_ms, bars)]

    def quantities(self) -> Mapping[str, float]:
        """Signed base quantities of positions; 0 with an order to enter alone."""
        return self._walk.quantities

    def is_entry_ordered(self, instrument: str) -> bool:
        """An order to open waits for the instrument's next bar."""
        return self._walk.is_entry_ordered(instrument)

    def unrealised_usd(self) -> float:
        """At the last closes, summed in the order of the names."""
        return self._walk.unrealised_usd

    def state(self) -> dict[str, Any]:
        """The walk's state."""
        return self._walk.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with a walk's state; parameters come with the next step."""
        self._walk.restore(state)
        self._applied.clear()

    def _apply(self, name: str, values: Mapping[str, Any]) -> None:
        tuned = {key: value for key, value in values.items() if key not in self.context.settings}
        for key in tuned:
            if key in _OF_RUN or key not in RISK_FIELDS:
                hint = f"; it is set by {_OF_RUN[key]}" if key in _OF_RUN else ""
                raise ConfigError(
                    "strategy_schemas/mei_alpha.yaml must have parameters that sizing or exits of one symbol read "
                    f"({', '.join(one for one in RISK_FIELDS if one not in _OF_RUN)}), found {key!r}{hint}"
                )
        self._walk.set_risk(name, tuned)
        self._applied[name] = values

    def _execution(self, trade: Any) -> Execution:
        kind, _, side = ACTIONS[trade["action"]].partition("_")
        is_buy = (side == "LONG") == (kind in ("OPEN", "ADD"))
        moved = self.context.costs.slippage_bps / 1e4
        price = float(trade["price"])
        details = (float(trade["detail_1"]), float(trade["detail_2"]))
        return Execution(
            instrument=self._walk.names[trade["symbol"]],
            action=_ACTIONS[kind],
            side="buy" if is_buy else "sell",
            qty=float(trade["qty"]),
            reference_px=price / (1.0 + moved if is_buy else 1.0 - moved),
            price=price,
            fee=float(trade["fee_usd"]),
            pnl=float(trade["pnl_usd"]),
            reason=reason_text(int(trade["reason"]), int(trade["confidence"]), *details),
        )


def _value_of(path: str, value: Any) -> Any:
    """The value of a dotted key as a configuration has it. Raises ConfigError."""
    key = BY_PATH.get(path)
    if key is None:
        near = get_close_matches(str(path), [*BY_PATH, *MeiAlpha.defaults], n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{_SOURCE} must have lookback, strategy_file and settings of Mei Alpha such as trade.leverage, "
            f"found {path!r}{hint}"
        )
    variable = _OF_RUN.get(path.removeprefix("trade."))
    if variable is not None:
        raise ConfigError(f"{_SOURCE}.{path} must not be set here: a run takes it from {variable}")
    must = type_fault(key.kind, value)
    words = WORDS.get(key.kind, {})
    if must is None and words and value.lower() not in words:
        must = f"one of {', '.join(words)}"
    if must is not None:
        raise ConfigError(f"{_SOURCE}.{path} must be {must}, was {value!r}")
    return typed(key.kind, value)


def _layers(
    file: str, folder: Path, instruments: tuple[str, ...]
) -> tuple[Config, dict[str, Config]]:
    """The configuration of the portfolio, and those of the instruments with a layer of their own."""
    if not file:
        return dict(DEFAULTS), {}
    layers = load_layers(folder / file, live=False, semantics=STRICT, tell=_log.warning)
    found: dict[str, Config] = {}
    used: set[str] = set()
    for instrument in instruments:
        base = instrument.partition("/")[0]
        for name in (instrument, instrument.replace("/", ""), base):
            if name in layers.symbols:
                found[instrument] = layers.for_symbol(name)
                used.add(name)
                break
    unused = [name for name in layers.symbols if name not in used]
    if unused:
        _log.warning(
            "%s: without effect, SYMBOLS has no such symbol: %s",
            layers.path,
            ", ".join(f"symbols.{name}" for name in unused),
        )
    return layers.portfolio, found


def _sub_bars(config: Config) -> list[str]:
    """What is said of sub-bars, which the loop has none of."""
    return [
        f'{path} must be empty in the loop, which has no finer candles, was {config[path]!r}: write {path}: ""'
        for path in ("engine.entry_interval", "engine.exit_interval")
        if config[path]
    ]


def _changes(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in config.items() if value != base[path]}


def _configs(settings: Mapping[str, Any], slippage_bps: float) -> SymbolConfigs:
    costs = {"trade.slippage_bps": slippage_bps}
    whole = {**DEFAULTS, **settings["settings"], **costs}
    each = {name: {**whole, **changes, **costs} for name, changes in settings["symbols"].items()}
    return SymbolConfigs(whole, each)
