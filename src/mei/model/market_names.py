"""Which market a symbol names: BTC, BTCUSDT, BTC/USDT and BTC/USDT:USDT are one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

#: Quotes that stand for a dollar, longest first.
_DOLLARS = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "DAI")
_DOLLAR = "USD"
_PARTED = re.compile(r"([^-/_:]+)[-/_:]([^-/_:]+)(?:[-/_:](.+))?")
_FUTURES = ("PERP", "SWAP")


def market_of(symbol: str) -> tuple[str, str]:
    """Base and quote of a symbol, in upper case; every dollar, and no quote at all, is USD.

    A name of more parts than base, quote and what it is settled in (a future with its day, a venue) is a market of its
    own: the whole name, and no quote.
    """
    name = symbol.upper()
    parted = _PARTED.fullmatch(name)
    if parted is not None:
        base, quote, settled = parted.groups()
        if settled in (None, base, *_DOLLARS, *_FUTURES):
            return base, _DOLLAR if quote in (*_DOLLARS, *_FUTURES) else quote
        return name, ""
    for quote in (*_DOLLARS, "EUR", *_FUTURES):
        if name.endswith(quote) and name != quote:
            return name.removesuffix(quote), "EUR" if quote == "EUR" else _DOLLAR
    return name, _DOLLAR


def same_markets(symbols: Iterable[str]) -> list[list[str]]:
    """The symbols that name a market together with others, market by market, in the order given."""
    names: dict[tuple[str, str], list[str]] = {}
    for symbol in symbols:
        names.setdefault(market_of(symbol), []).append(symbol)
    return [found for found in names.values() if len(found) > 1]


def meant(symbol: str, known: Sequence[str]) -> str | None:
    """The known name that `symbol` may stand for: of the same market, else of nearly the same spelling."""
    market = market_of(symbol)
    for name in known:
        if market_of(name) == market:
            return name
    by_case = {name.upper(): name for name in reversed(known)}
    close = difflib.get_close_matches(symbol.upper(), list(by_case), n=1, cutoff=0.75)
    return by_case[close[0]] if close else None


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names of many, for a line: A, B, C, … (20)."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"
