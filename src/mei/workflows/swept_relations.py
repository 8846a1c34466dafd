"""What swept numbers of each strategy must be, alone and together, where a strategy file would be refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mei.rules.mei_alpha.ranges import ORDERED, Order
from mei.rules.momentum_breakout.settings import CHANNEL, DEFAULTS
from mei.workflows.relation import Relation, Values


def number_fault(kind: str, value: float, words: Mapping[str, int]) -> str | None:
    """What a number for a setting of `kind` must be, in words, or None if it is that.

    words: of an enumeration, with the number of each; empty for other kinds.
    """
    if kind == "uint" and not (value.is_integer() and value >= 0.0):
        return "whole numbers, 0 or more"
    if kind == "bool" and value not in (0.0, 1.0):
        return "0 (false) or 1 (true)"
    if words and value not in words.values():
        return " or ".join(f"{number} ({word})" for word, number in words.items())
    return None


def mei_alpha_relations(layers: Mapping[str, Mapping[str, Any]]) -> list[Relation]:
    """Every order over each configuration. layers: words before a sentence about it -> the configuration."""
    return [_ordered(order, owner, config) for order in ORDERED for owner, config in layers.items()]


def momentum_breakout_value_fault(
    settings: Mapping[str, Any], name: str, value: float
) -> str | None:
    """What a value of setting `name` must be beside the others, in words, or None if it is that."""
    if name == ("breakout_z" if settings["signal"] == CHANNEL else "breakout_bps"):
        return f"left out, they have no effect while signal is {settings['signal']}"
    if name == "lookback" and not (value.is_integer() and value >= 2.0):
        return "whole numbers, 2 or more"
    if name == "lookback" and value > settings["max_lookback"]:
        return f"at most max_lookback = {settings['max_lookback']}"
    kind = {bool: "bool", int: "uint"}.get(type(DEFAULTS[name]), "float")
    must = number_fault(kind, value, {})
    return "at least 0" if must is None and value < 0.0 else must


def momentum_breakout_relations(settings: Mapping[str, Any]) -> list[Relation]:
    """An order must have a size."""
    fixed, share = "notional_usd", "allocation_frac"

    def is_broken(values: Values) -> Any:
        return (values[fixed] == 0.0) & (values[share] == 0.0)

    def wanted(text: Mapping[str, str]) -> str:
        return " or ".join(f"{one} > 0" for one in text.values() if one != "0")

    base = {name: float(settings[name]) for name in (fixed, share)}
    return [Relation(base, is_broken, f"{fixed} or {share} must be above 0", wanted)]


def _ordered(order: Order, owner: str, config: Mapping[str, Any]) -> Relation:
    small, large, may_equal, switch = order
    sign = "<=" if may_equal else "<"

    def is_broken(values: Values) -> Any:
        low, high = values[small], values[large]
        wrong = low > high if may_equal else low >= high
        return wrong if switch is None else wrong & (values[switch] != 0.0)

    def wanted(text: Mapping[str, str]) -> str:
        condition = f"{text[small]} {sign} {text[large]}"
        is_swept = switch is not None and text[switch] == switch
        return f"{switch} == 0 or {condition}" if is_swept else condition

    paths = [path for path in (small, large, switch) if path is not None]
    base = {path: float(config[path]) for path in paths}
    must = f"{owner}{small} must be {order.must} {large}"
    return Relation(base, is_broken, must, wanted)
