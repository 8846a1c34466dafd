"""What a paper trader tells its audit_events of: bars and rates that are not as they should be, switches thrown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mei.model.bars import DAY_MS
from mei.workflows.paper.feed import Feed
from mei.workflows.paper.risk import KILL_EVENTS, Memory, Trip
from mei.workflows.paper.state import PaperState

#: Bars and rates that are remembered, so that each is told once.
_MOST_TOLD = 2000


@dataclass(frozen=True, slots=True)
class Event:
    """Something for audit_events."""

    event: str
    level: str
    data: Mapping[str, Any]


def odd_events(
    feed: Feed, state: PaperState, memory: Memory, until_ms: int
) -> tuple[Memory, list[Event]]:
    """What is missing at the boundaries about to be taken, and what came late to those before; each is told once.

    Rates that have stopped are told once a UTC day of each symbol held.
    """
    events: list[Event] = []
    told = list(memory.told)
    missing = feed.missing(state, until_ms)
    unpaid, stopped = feed.unpaid(state.held(), state.as_of_ms, until_ms)
    for symbol in stopped:
        key = f"{until_ms // DAY_MS}:funding:{symbol}:stopped"
        if key not in told:
            told.append(key)
            unpaid.append(symbol)
    if missing or unpaid:
        data = {
            "from_ms": state.as_of_ms,
            "to_ms": until_ms,
            "bars": missing,
            "funding": sorted(unpaid, key=str.encode),
        }
        events.append(Event("MISSING_BARS", "warning", data))
    known = set(told)
    fresh = [odd for odd in feed.odd(state) if odd.key not in known]
    for what, name in (("late", "LATE_BARS"), ("changed", "CHANGED_BARS")):
        bars = [
            {"series": odd.series, "symbol": odd.symbol, "open_ms": odd.open_ms}
            for odd in fresh
            if odd.what == what
        ]
        if bars:
            events.append(Event(name, "warning", {"as_of_ms": state.as_of_ms, "bars": bars}))
    told += [odd.key for odd in fresh]
    return replace(memory, told=tuple(told[-_MOST_TOLD:])), events


def kill_event(trip: Trip, state: PaperState) -> Event:
    """A switch thrown; state: the one after it, with the orders that are cancelled."""
    data = {
        "at_ms": trip.at_ms,
        "equity_usd": trip.equity_usd,
        "from_usd": trip.from_usd,
        "lost_pct": trip.lost_pct,
        "limit_pct": trip.limit_pct,
        "cancelled": sorted(state.ordered()),
    }
    return Event(KILL_EVENTS[trip.kind], "error", data)
