"""What of the data of a sweep's window is not there: told in the reports, for a sweep trades on without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mei.data.candle_health import candle_health
from mei.workflows.market import Series

_GAPS: Final = ("leading_gap", "gap", "empty_window", "missing")
#: Of the warnings of one kind, so many are kept.
_MOST: Final = 50


def traded_symbols(main: Series) -> tuple[str, ...]:
    """Symbols of the main candles, sorted: all of them are traded. DataError for a file that cannot be read."""
    found: set[str] = set()
    for path in main.db_set.split(","):
        with candle_health(path) as health:
            found.update(health.symbols_by_interval().get(main.interval, ()))
    return tuple(sorted(found))


def candle_holes(reports: Sequence[Mapping[str, Any]], intervals: set[str]) -> list[str]:
    """A sentence for each series with bars missing. reports: of `check_candle_dbs` over the window."""
    lines = [
        f"candles: {series['symbol']} {of_label['interval']}: {series['missing_bars']} of "
        f"{series['expected_bars']} bars of the window are missing"
        for report in reports
        for database in report["dbs"]
        for of_label in database["intervals"]
        if of_label["interval"] in intervals
        for series in of_label["symbols"]
        if series["missing_bars"]
    ]
    return _cut(lines)


def funding_holes(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each symbol without rates somewhere. report: of `check_funding_rates_db` over the window."""
    of_symbol: dict[str, list[str]] = {}
    for issue in report["issues"]:
        if issue["kind"] in _GAPS:
            of_symbol.setdefault(issue["symbol"], []).append(issue["said"])
    lines = [
        f"funding: {symbol}: {said[0]}" + (f", and {len(said) - 1} more" if said[1:] else "")
        for symbol, said in of_symbol.items()
    ]
    return _cut(lines)


def warnings_among(lines: Sequence[str]) -> list[str]:
    """Of what a sweep told, its warnings, each once."""
    return list(dict.fromkeys(line for line in lines if "warning: " in line.lower()))


def _cut(lines: list[str]) -> list[str]:
    more = [f"and {len(lines) - _MOST} more, all of them in checks/"] if len(lines) > _MOST else []
    return [*lines[:_MOST], *more]
