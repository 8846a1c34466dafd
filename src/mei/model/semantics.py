"""What a replay does where the reference implementation is wrong: one named switch for each repair.

docs/concepts/semantics.md has the table: what the reference does, what strict does, why, and what it is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from mei.model.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Semantics:
    """A record of switches; the defaults are `strict`. Of each pair the first is the reference's way."""

    bar_time: Literal["open", "close"] = "close"
    entry_fill: Literal["signal_close", "next_open"] = "next_open"
    exit_fill: Literal["close", "level"] = "level"
    take_profit: Literal["repeats", "latches"] = "latches"
    trailing: Literal["base", "configured"] = "configured"
    equity: Literal["realised", "marked"] = "marked"
    run_end: Literal["data", "window"] = "window"
    costs: Literal["half_bp_exit", "both_sides"] = "both_sides"
    funding: Literal["after_step", "held"] = "held"
    bump: Literal["unbounded", "capped"] = "capped"
    warm_up: Literal["lookback", "ready"] = "ready"
    symbol_layer: Literal["alone", "always"] = "always"
    context: Literal["traded", "universe"] = "universe"
    btc_symbol: Literal["exact", "base"] = "base"
    config_errors: Literal["defaults", "refuse"] = "refuse"
    sweep_window: Literal["ignored", "applied"] = "applied"
    trade_ids: Literal["repeat", "unique"] = "unique"
    excursions: Literal["bars", "held"] = "held"


#: Of each switch: the reference's value and the repaired one.
CHOICES: dict[str, tuple[str, str]] = {
    "bar_time": ("open", "close"),
    "entry_fill": ("signal_close", "next_open"),
    "exit_fill": ("close", "level"),
    "take_profit": ("repeats", "latches"),
    "trailing": ("base", "configured"),
    "equity": ("realised", "marked"),
    "run_end": ("data", "window"),
    "costs": ("half_bp_exit", "both_sides"),
    "funding": ("after_step", "held"),
    "bump": ("unbounded", "capped"),
    "warm_up": ("lookback", "ready"),
    "symbol_layer": ("alone", "always"),
    "context": ("traded", "universe"),
    "btc_symbol": ("exact", "base"),
    "config_errors": ("defaults", "refuse"),
    "sweep_window": ("ignored", "applied"),
    "trade_ids": ("repeat", "unique"),
    "excursions": ("bars", "held"),
}

STRICT = Semantics()
_REFERENCE: dict[str, Any] = {name: choice[0] for name, choice in CHOICES.items()}
REFERENCE = Semantics(**_REFERENCE)

_NAMED = {"strict": STRICT, "reference": REFERENCE}


def parse_semantics(text: str) -> Semantics:
    """`strict`, `reference`, or one of them and switches: `strict,exit_fill=close`.

    Raises ConfigError naming the part that is neither.
    """
    base, *switches = [part.strip() for part in text.split(",")]
    if base not in _NAMED:
        raise ConfigError(
            f"--semantics must start with strict or reference, was {base!r} (example: strict,exit_fill=close)"
        )
    semantics = _NAMED[base]
    for switch in switches:
        name, _, value = switch.partition("=")
        if value not in CHOICES.get(name, ()):
            known = ", ".join(f"{key}={'|'.join(choice)}" for key, choice in CHOICES.items())
            raise ConfigError(f"--semantics: {switch!r} must be one of {known}")
        change: dict[str, Any] = {name: value}
        semantics = replace(semantics, **change)
    return semantics


def describe_semantics(semantics: Semantics) -> str:
    """The shortest text that `parse_semantics` reads back."""
    for name, named in _NAMED.items():
        if semantics == named:
            return name
    changed = [
        f"{field.name}={getattr(semantics, field.name)}"
        for field in fields(semantics)
        if getattr(semantics, field.name) != getattr(STRICT, field.name)
    ]
    return ",".join(["strict", *changed])
