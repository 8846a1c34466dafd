"""Universe databases: SQLite files that say which symbols were listed when.

Table `universe_listings(symbol, first_seen_ms, last_seen_ms)`, times in epoch ms UTC.
"""

from __future__ import annotations

from mei.data.sqlite_file import reading, shown
from mei.model.errors import DataError

TABLE = "universe_listings"
_COLUMNS = ("symbol", "first_seen_ms", "last_seen_ms")


def active_symbols(path: str, from_ms: int, to_ms: int) -> frozenset[str]:
    """Symbols listed at some time in [from_ms, to_ms] (epoch ms UTC, both ends included).

    DataError, naming the file, when it cannot be read, when a cell is not what it must be, or when no symbol was
    listed in the window.
    """
    with reading(path, TABLE, _COLUMNS, "universe database") as database:
        listings = database.execute(f"SELECT {', '.join(_COLUMNS)} FROM {TABLE}").fetchall()
    active: set[str] = set()
    for symbol, first_ms, last_ms in listings:
        if not (isinstance(symbol, str) and isinstance(first_ms, int) and isinstance(last_ms, int)):
            raise DataError(
                f"{path}: a listing must be a text and two integers (epoch ms), found symbol={shown(symbol)}"
                f" first_seen_ms={shown(first_ms)} last_seen_ms={shown(last_ms)}; correct the row"
            )
        if first_ms <= to_ms and last_ms >= from_ms:
            active.add(symbol)
    if not active:
        raise DataError(
            f"{path}: a symbol must be listed between {from_ms} and {to_ms}, none of {len(listings)} is;"
            " update the universe database, or run without the universe filter"
        )
    return frozenset(active)
