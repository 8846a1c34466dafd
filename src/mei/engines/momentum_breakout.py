"""momentum_breakout over a whole run: the trades and the equity of the learning loop without its learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mei.model.replay import ReplayInputs, ReplayResult
from mei.model.settings import Costs, EntryFill


def replay(
    inputs: ReplayInputs,
    params: Mapping[str, Any],
    costs: Costs,
    entry_fill: EntryFill = "next_open",
) -> ReplayResult:
    """Trade the candles with one account and one book a symbol (ascending); nothing is closed at the end.

    params: settings of the strategy over its defaults. Raises ConfigError naming a wrong one.
    """
    raise NotImplementedError
