"""Symbols as people write them."""

from __future__ import annotations

from collections.abc import Collection


def as_there(symbol: str, there: Collection[str]) -> str:
    """The symbol as written; in upper case if it is there only so."""
    return symbol.upper() if symbol not in there and symbol.upper() in there else symbol
