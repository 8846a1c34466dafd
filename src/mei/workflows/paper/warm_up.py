"""Which symbols may signal already, which still warm up, which are not waited for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mei.workflows.paper.config_watch import Loaded
from mei.workflows.paper.feed import Feed
from mei.workflows.paper.state import PaperState
from mei.workflows.paper.stepping import tradable

#: Symbols that a line names.
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A symbol traded. n_bars: main bars its indicators have seen. n_needed: the bar of that number is the first that
    may signal. is_waited_for: boundaries wait for its bars."""

    symbol: str
    n_bars: int
    n_needed: int
    is_waited_for: bool

    @property
    def is_warming_up(self) -> bool:
        """No bar has been able to signal yet."""
        return self.n_bars < self.n_needed


def warm_up_of(state: PaperState, loaded: Loaded, feed: Feed, lookback: int) -> list[WarmUp]:
    """Every symbol traded, ascending. loaded: prepared for them."""
    gone = set(feed.not_waited_for(state))
    names = sorted(state.symbols, key=str.encode)
    return [
        WarmUp(
            symbol=name,
            n_bars=int(state.symbols[name]["n_bars"]),
            n_needed=loaded.strategy.bars_needed(name, lookback),
            is_waited_for=name not in gone,
        )
        for name in tradable(tuple(names), feed.traded)
    ]


def summary(found: Sequence[WarmUp]) -> str:
    """One line."""
    warming = [one for one in found if one.is_warming_up]
    gone = [one.symbol for one in found if not one.is_waited_for]
    parts = [f"{len(found) - len(warming)} of {len(found)} symbols may signal"]
    if warming:
        named = [f"{one.symbol} {one.n_bars}/{one.n_needed}" for one in warming]
        parts.append(f"warming up (bars seen/needed): {_some(named)}")
    if gone:
        parts.append(f"not waited for: {_some(gone)}")
    return f"[paper] {'; '.join(parts)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
