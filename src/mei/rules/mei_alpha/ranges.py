"""What a value of each setting of Mei Alpha must be to make sense, alone and beside the others.

The reference checks nothing of this; strict runs refuse a configuration with a fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from mei.rules.mei_alpha.keys import KEYS, Config

_MAX_WINDOW: Final = 100_000
_MAX_COUNT: Final = 1_000_000_000
_MAX_BPS: Final = 10_000.0


class Range(NamedTuple):
    """Bounds of a number, both inclusive unless `is_open`, which takes the lower bound out."""

    low: float = -math.inf
    high: float = math.inf
    is_open: bool = False

    def holds(self, value: float) -> bool:
        """Whether a finite value lies within."""
        return (value > self.low if self.is_open else value >= self.low) and value <= self.high

    def words(self) -> str:
        """The bounds for a message: `0 to 1`, `at least 1`, `above 0`; empty if there are none."""
        low = "above" if self.is_open else "at least"
        if math.isinf(self.low):
            return "" if math.isinf(self.high) else f"at most {self.high:g}"
        if math.isinf(self.high):
            return f"{low} {self.low:g}"
        if self.is_open:
            return f"above {self.low:g}, at most {self.high:.15g}"
        return f"{self.low:g} to {self.high:.15g}"


_ANY = Range()
_NOT_NEGATIVE = Range(0)
_POSITIVE = Range(0, is_open=True)
_FRACTION = Range(0, 1)
_INDEX = Range(0, 100)
_PERCENT = Range(0, 100)
_COUNT = Range(0, _MAX_COUNT)
_SOME = Range(1, _MAX_COUNT)
_WINDOW = Range(1, _MAX_WINDOW)

#: Of floats that have bounds other than those of their unit.
_OF_PATH: Final[dict[str, Range]] = {
    **dict.fromkeys(
        (
            "trade.leverage",
            "trade.leverage_low",
            "trade.leverage_medium",
            "trade.leverage_high",
            "trade.sl_atr_mult",
            "trade.tp_atr_mult",
            "trade.adx_sizing_full_adx",
            "trade.trailing_distance_atr",
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(
        (
            "trade.allocation_pct",
            "trade.max_total_margin_pct",
            "trade.tp_partial_pct",
            "trade.min_atr_pct",
            "trade.adx_sizing_min_mult",
            "thresholds.stoch_rsi.block_long_if_k_gt",
            "thresholds.stoch_rsi.block_short_if_k_lt",
        ),
        _FRACTION,
    ),
    **dict.fromkeys(
        (
            # 0 or less turns these off, or to the general value; profits and buffers may lie on either side.
            "trade.leverage_max_cap",
            "trade.add_min_profit_atr",
            "trade.breakeven_start_atr",
            "trade.breakeven_buffer_atr",
            "trade.trailing_start_atr_low_conf",
            "trade.trailing_distance_atr_low_conf",
            "trade.rsi_exit_profit_atr_switch",
            "trade.tsme_min_profit_atr",
            "thresholds.entry.ave_adx_mult",
        ),
        _ANY,
    ),
    "trade.slippage_bps": Range(0, _MAX_BPS),
    "trade.max_open_positions": _SOME,
    "trade.max_entry_orders_per_loop": _SOME,
    "thresholds.ranging.min_signals": Range(0, 3),
}
_OF_UNIT: Final[dict[str, Range]] = {"RSI": _INDEX, "ADX": _INDEX, "percent": _PERCENT}


class Order(NamedTuple):
    """Two settings, the smaller one first; switch: the one that must be on for it to matter, None = it always does."""

    small: str
    large: str
    may_equal: bool
    switch: str | None

    @property
    def must(self) -> str:
        """What `small` must be to `large`: `below` or `at most`."""
        return "at most" if self.may_equal else "below"


#: Pairs of settings that must be in order.
ORDERED: Final[tuple[Order, ...]] = (
    Order("indicators.ema_fast_window", "indicators.ema_slow_window", False, None),
    Order("trade.vol_scalar_min", "trade.vol_scalar_max", True, None),
    Order("trade.reentry_cooldown_min_mins", "trade.reentry_cooldown_max_mins", True, "trade.reentry_cooldown_minutes"),
    Order("thresholds.ranging.rsi_low", "thresholds.ranging.rsi_high", False, "filters.enable_ranging_filter"),
    Order(
        "market_regime.auto_reverse_breadth_low",
        "market_regime.auto_reverse_breadth_high",
        True,
        "market_regime.enable_auto_reverse",
    ),
)  # fmt: skip


def _range_of(path: str, kind: str, unit: str) -> Range:
    if path in _OF_PATH:
        return _OF_PATH[path]
    if kind == "uint":
        return _WINDOW if unit == "bars" else _COUNT
    return _OF_UNIT.get(unit, _NOT_NEGATIVE)


#: Bounds of every number among the settings.
RANGES: Final[dict[str, Range]] = {
    key.path: _range_of(key.path, key.kind, key.unit)
    for key in KEYS
    if key.kind in ("float", "uint")
}


def value_fault(path: str, value: Any) -> str | None:
    """What a well-typed `value` of `path` must be, in words, or None if it is that."""
    bounds = RANGES.get(path)
    if bounds is None:
        return None
    if not math.isfinite(value):
        return "a finite number"
    return None if bounds.holds(value) else bounds.words()


def relation_faults(config: Config) -> Iterator[tuple[str, str]]:
    """Pairs of settings out of order: the path at fault and the sentence about it."""
    for order in ORDERED:
        small, large, may_equal, switch = order
        is_right = config[small] < config[large] or (may_equal and config[small] == config[large])
        if is_right or (switch is not None and not config[switch]):
            continue
        yield (
            small,
            f"must be {order.must} {large} ({config[large]!r}), was {config[small]!r}",
        )


def relation_words() -> list[str]:
    """The orders that `relation_faults` asks for, a sentence each."""
    return [
        f"`{order.small}` must be {order.must} `{order.large}`"
        + (f" while `{order.switch}` is on" if order.switch else "")
        for order in ORDERED
    ]


def config_faults(config: Config) -> list[str]:
    """Every fault of a whole configuration, such as one that a sweep has changed; one sentence each."""
    alone = (
        f"{path} must be {fault}, was {value!r}"
        for path, value in config.items()
        if (fault := value_fault(path, value)) is not None
    )
    return [*alone, *(f"{path} {words}" for path, words in relation_faults(config))]
