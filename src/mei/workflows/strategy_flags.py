"""Flags that a strategy does not read: refused, rather than left without effect."""

from __future__ import annotations

from typing import Final

from mei.model.errors import ConfigError
from mei.model.semantics import Semantics
from mei.workflows.market import MarketRequest
from mei.workflows.strategy import MOMENTUM_BREAKOUT

_ONE_LENGTH: Final = "it trades bars of one length, as in the loop"


def refuse_unread_flags(
    strategy: str,
    market: MarketRequest,
    semantics: Semantics,
    *,
    live: bool,
    lookback: int | None = None,
) -> None:
    """ConfigError for a flag that would have no effect, with the reason. lookback: None = not given."""
    is_strict = semantics.config_errors == "refuse"
    if is_strict and market.universe_db is not None and not market.universe_filter:
        raise ConfigError(
            "--universe-db has no effect without --universe-filter: give both or neither"
        )
    if strategy != MOMENTUM_BREAKOUT:
        return
    given = (
        ("--lookback", lookback, "its signals wait for the lookback of its own settings"),
        ("--live", live or None, "its file has no live layer"),
        ("--exit-candles-db", market.exit_candles_db, _ONE_LENGTH),
        ("--exit-interval", market.exit_interval, _ONE_LENGTH),
        ("--entry-candles-db", market.entry_candles_db, _ONE_LENGTH),
        ("--entry-interval", market.entry_interval, _ONE_LENGTH),
        ("--funding-db", market.funding_db, "it pays no funding, as in the loop"),
    )
    for flag, value, reason in given:
        if value is not None:
            raise ConfigError(
                f"{flag} has no effect on {MOMENTUM_BREAKOUT}, {reason}: leave it out"
            )
