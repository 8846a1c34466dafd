"""The switches between reference and strict, as plain booleans (docs/concepts/semantics.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: switch -> (the field here, reference value, repaired value)
ENGINE_SWITCHES = {
    "bar_time": ("known_at_close", "open", "close"),
    "entry_fill": ("next_open", "signal_close", "next_open"),
    "exit_fill": ("level", "close", "level"),
    "take_profit": ("latches", "repeats", "latches"),
    "trailing": ("configured", "base", "configured"),
    "equity": ("marked", "realised", "marked"),
    "run_end": ("window_end", "data", "window"),
    "costs": ("both_sides", "half_bp_exit", "both_sides"),
    "funding": ("held", "after_step", "held"),
    "bump": ("capped", "unbounded", "capped"),
    "warm_up": ("ready", "lookback", "ready"),
    "context": ("universe", "traded", "universe"),
    "btc_symbol": ("btc_base", "exact", "base"),
    "excursions": ("lived", "bars", "held"),
}

#: switches that do not concern the engine.
IGNORED = frozenset({"symbol_layer", "config_errors", "sweep_window", "trade_ids"})


@dataclass(frozen=True)
class Switches:
    """Every field False is the reference."""

    known_at_close: bool = False
    next_open: bool = False
    level: bool = False
    latches: bool = False
    configured: bool = False
    marked: bool = False
    window_end: bool = False
    both_sides: bool = False
    held: bool = False
    capped: bool = False
    ready: bool = False
    universe: bool = False
    btc_base: bool = False
    lived: bool = False


def read_switches(semantics: Mapping[str, str]) -> Switches:
    """Names and values of semantics.md; a switch that is absent has its reference value."""
    fields = {}
    for name, value in semantics.items():
        if name in IGNORED:
            continue
        field, reference, repaired = ENGINE_SWITCHES[name]
        if value not in (reference, repaired):
            raise ValueError(f"{name} must be {reference} or {repaired}, was {value!r}")
        fields[field] = value == repaired
    return Switches(**fields)


REFERENCE = {name: values[1] for name, values in ENGINE_SWITCHES.items()}
STRICT = {name: values[2] for name, values in ENGINE_SWITCHES.items()}
