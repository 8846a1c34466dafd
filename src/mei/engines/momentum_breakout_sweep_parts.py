"""The configurations of a sweep of momentum_breakout: settings as columns, cut into pieces that share their signals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mei.engines.momentum_breakout import WALK_SETTINGS, WindowKey, checked_settings
from mei.engines.momentum_breakout_market import Market
from mei.model.bars import DAY_MS, FloatArray
from mei.model.errors import ConfigError
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout.records import TERMS_DTYPE, RecordArray
from mei.rules.momentum_breakout.settings import CHANNEL, DEFAULTS, NAME
from mei.rules.momentum_breakout.tally import DAY_DTYPE

#: Settings a sweep may set: numbers and booleans.
SWEPT = tuple(name for name, value in DEFAULTS.items() if isinstance(value, int | float))
#: A whole number beyond this is no bar count, and would not be exact.
_MOST_WHOLE = 2.0**53
#: Pieces a thread gets when there is work enough, so that none waits long for the last one; the smallest worth making.
_PIECES_A_THREAD, _SMALLEST_PIECE = 8, 32
#: Setting -> its values, (n_configs,): int64, float64 or bool as the setting is.
Configs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Configurations that share their signals. numbers: which ones, (n,)."""

    window: WindowKey
    threshold: float
    allow_short: bool
    numbers: npt.NDArray[np.intp]


class Stages(Protocol):
    """How the configurations of one market are run."""

    def base(self, window: WindowKey, threshold: float) -> Any:
        """What all configurations of a window share whose threshold is `threshold` or more."""

    def expect(self, pieces: Sequence[Piece], configs: Configs) -> None:
        """Get ready for what these pieces have in common."""

    def run_piece(self, base: Any, piece: Piece, configs: Configs) -> tuple[Any, Any, int, int]:
        """Tallies (TALLY_DTYPE), groups (GROUP_DTYPE) and the numbers of long and short signals."""


def configs_of(columns: Mapping[str, FloatArray], n: int, base: Mapping[str, Any]) -> Configs:
    """Values of every swept setting, converted as a sweep's numbers are: whole numbers cut, booleans true unless 0.

    Of several columns for one setting the last counts. Raises ConfigError, naming the setting, for the first
    configuration that a replay would refuse.
    """
    # Of the setting's own type: a file may say 50 where 50.5 is swept.
    configs = {name: np.full(n, base[name], dtype=type(DEFAULTS[name])) for name in SWEPT}
    for path, column in columns.items():
        name = path.removeprefix(f"{NAME}.")
        values = np.asarray(column, dtype=np.float64)
        _check_numbers(path, values, DEFAULTS[name])
        configs[name] = values.astype(configs[name].dtype)
    is_wrong = configs["lookback"] > configs["max_lookback"]
    is_wrong |= configs["lookback"] < 2
    is_wrong |= (configs["notional_usd"] == 0.0) & (configs["allocation_frac"] == 0.0)
    for values in configs.values():
        is_wrong |= values < 0
    for number in np.flatnonzero(is_wrong):
        checked_settings({**base, **{name: configs[name][number].item() for name in SWEPT}})
    return configs


def _check_numbers(path: str, values: FloatArray, default: Any) -> None:
    is_wrong = ~np.isfinite(values)
    must = "a finite number"
    if isinstance(default, int) and not isinstance(default, bool):
        is_wrong |= np.abs(values) > _MOST_WHOLE
        must = "a whole number of 2**53 or less"
    if is_wrong.any():
        raise ConfigError(f"{path} must be {must}, was {float(values[np.argmax(is_wrong)])!r}")


def pieces_of(configs: Configs, signal: str, n: int, n_threads: int) -> list[Piece]:
    """The configurations in pieces that share their signals, in the order of the stages; every number is in one."""
    threshold = configs["breakout_bps" if signal == CHANNEL else "breakout_z"]
    by_stage = (configs["lookback"], threshold, configs["allow_short"])
    within = (configs["stop_bps"], configs["take_profit_bps"], configs["max_hold_bars"])
    order = np.lexsort((*within[::-1], *by_stage[::-1]))
    is_new = np.zeros(n, dtype=np.bool_)
    for column in by_stage:
        is_new[1:] |= column[order[1:]] != column[order[:-1]]
    most = max(_SMALLEST_PIECE, -(-n // (_PIECES_A_THREAD * n_threads)))
    pieces = []
    for members in np.split(order, np.flatnonzero(is_new)):
        for start in range(0, len(members), most):
            lookback, edge, shorts = (column[members[0]].item() for column in by_stage)
            window = WindowKey(signal, lookback)
            pieces.append(Piece(window, edge, shorts, members[start : start + most]))
    return pieces


def waves(pieces: Sequence[Piece], n_windows: int) -> Iterator[list[Piece]]:
    """The pieces, those of at most `n_windows` windows at a time."""
    wave: list[Piece] = []
    n_open = 0
    for _, members in groupby(pieces, key=lambda piece: piece.window):
        if n_open == n_windows:
            yield wave
            wave, n_open = [], 0
        wave += members
        n_open += 1
    if wave:
        yield wave


def terms_of(own: Configs, n_configs: int, costs: Costs, entry_fill: EntryFill) -> RecordArray:
    """What the walk reads of configurations: TERMS_DTYPE, (n_configs,)."""
    terms = np.zeros(n_configs, dtype=TERMS_DTYPE)
    for name in WALK_SETTINGS:
        terms[name] = own[name]
    terms["fee_bps"], terms["slippage_bps"] = costs.fee_bps, costs.slippage_bps
    terms["fills_at_close"] = int(entry_fill == "signal_close")
    return terms


def day_ends(market: Market) -> RecordArray:
    """The last step of each UTC day from the first step that may trade on, DAY_DTYPE; closes of one symbol."""
    known_ms = market.bars.known_ms[market.first_step :]
    days = known_ms // DAY_MS
    is_last = np.append(days[1:] != days[:-1], True)[: len(days)]
    steps = np.flatnonzero(is_last) + market.first_step
    ends = np.zeros(len(steps), dtype=DAY_DTYPE)
    ends["end"] = steps
    if len(market.symbols) == 1:
        ends["close"] = market.bars.close[steps]
    return ends
