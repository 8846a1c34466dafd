"""What a strategy file must say to be deployed, beside what a strict run asks (specification part 3, section 1).

A trader must not run on a default that nobody has written down: the settings named here must all stand in the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mei.data.strategy_faults import shown
from mei.model.errors import ConfigError
from mei.model.yaml12 import load_yaml

_SECTIONS: Final = ("trade", "indicators", "thresholds.entry")
#: Path under `global` -> lowest and highest value; a number, whole or not.
_NUMBERS: Final[dict[str, tuple[float, float]]] = {
    "trade.allocation_pct": (0.0, 1.0),
    "trade.leverage": (0.0, math.inf),
    "trade.sl_atr_mult": (0.0, math.inf),
    "trade.tp_atr_mult": (0.0, math.inf),
    "trade.slippage_bps": (0.0, math.inf),
    "trade.max_total_margin_pct": (0.0, 1.0),
    "trade.min_notional_usd": (0.0, math.inf),
    "trade.min_atr_pct": (0.0, 1.0),
    "thresholds.entry.min_adx": (0.0, math.inf),
}
#: Whole numbers of at least 1.
_COUNTS: Final = (
    "trade.max_open_positions",
    "indicators.adx_window",
    "indicators.ema_fast_window",
    "indicators.ema_slow_window",
    "indicators.bb_window",
    "indicators.atr_window",
)
_SWITCHES: Final = ("trade.bump_to_min_notional",)
_FAST: Final = "indicators.ema_fast_window"
_SLOW: Final = "indicators.ema_slow_window"


@dataclass(frozen=True, slots=True)
class DeployFault:
    """One rule that is broken. path: with `global.`; is_absent: the setting is not in the file, or null."""

    path: str
    message: str
    is_absent: bool = False


def validate_deployable(config: Mapping[Any, Any]) -> list[str]:
    """The rules that a parsed strategy file breaks, a sentence each; none if it may be deployed."""
    return [fault.message for fault in deployable_faults(config)]


def validate_deployable_file(path: str) -> list[str]:
    """As `validate_deployable`, of a file; what keeps it from being read is a sentence as well."""
    if not Path(path).is_file():
        return [f"{path} must be a strategy file, there is none"]
    try:
        return validate_deployable(load_yaml(Path(path)))
    except ConfigError as error:
        return [str(error)]


def deployable_faults(config: Any) -> list[DeployFault]:
    """As `validate_deployable`, with the path of each and whether it is just not there."""
    if not isinstance(config, Mapping):
        return [DeployFault("", f"the root must be a mapping, was {shown(config)}")]
    layer = config.get("global")
    if not isinstance(layer, Mapping):
        return [
            DeployFault("global", f"global must be a mapping, was {shown(layer)}", layer is None)
        ]
    return [*_section_faults(layer), *_value_faults(layer)]


def _section_faults(layer: Mapping[Any, Any]) -> Iterator[DeployFault]:
    for path in _SECTIONS:
        node = _at(layer, path)
        if not isinstance(node, Mapping):
            yield DeployFault(
                f"global.{path}",
                f"global.{path} must be a mapping, was {shown(node)}",
                node is None,
            )


def _value_faults(layer: Mapping[Any, Any]) -> Iterator[DeployFault]:
    for path, (low, high) in _NUMBERS.items():
        value = _at(layer, path)
        words = (
            f"a number, {low:g} or more" if math.isinf(high) else f"a number of {low:g} to {high:g}"
        )
        is_right = _is_number(value) and low <= value <= high and math.isfinite(value)
        yield from _fault(path, value, words, is_right)
    for path in _COUNTS:
        value = _at(layer, path)
        yield from _fault(path, value, "a whole number, 1 or more", _is_count(value))
    for path in _SWITCHES:
        value = _at(layer, path)
        yield from _fault(path, value, "true or false", isinstance(value, bool))
    fast, slow = _at(layer, _FAST), _at(layer, _SLOW)
    if _is_count(fast) and _is_count(slow) and not fast < slow:
        yield DeployFault(
            f"global.{_FAST}", f"global.{_FAST} must be below global.{_SLOW} ({slow}), was {fast}"
        )


def _fault(path: str, value: Any, words: str, is_right: bool) -> Iterator[DeployFault]:
    if is_right:
        return
    found = "is absent" if value is None else f"was {shown(value)}"
    yield DeployFault(f"global.{path}", f"global.{path} must be {words}, {found}", value is None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _at(layer: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(layer, Mapping):
            return None
        layer = layer.get(part)
    return layer
