"""Records and columns as JSON carries them, every bit kept: numbers JSON lacks (NaN, infinities) become text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

Plain = int | float | str


def plain(value: Any) -> Plain:
    """A number as JSON carries it; `float` reads the text back."""
    number: Plain = value.item() if hasattr(value, "item") else value
    return repr(number) if isinstance(number, float) and not isfinite(number) else number


def plain_list(column: Any) -> list[Plain]:
    """A one-dimensional array as JSON carries it."""
    return [plain(value) for value in column.tolist()]


def content_of(record: Any) -> dict[str, Any]:
    """A record: name of each field -> its value."""
    return {name: plain(record[name]) for name in record.dtype.names}


def fill_record(record: Any, content: Mapping[str, Any]) -> None:
    """Set every field of a record from what `content_of` gave."""
    for name in record.dtype.names:
        record[name] = _number(content[name])


def columns_of(records: Any) -> dict[str, list[Plain]]:
    """An array of records: name of each field -> its values."""
    return {name: plain_list(records[name]) for name in records.dtype.names}


def fill_columns(records: Any, content: Mapping[str, Sequence[Plain]]) -> None:
    """Set every field of an array of records from what `columns_of` gave."""
    for name in records.dtype.names:
        records[name] = [_number(value) for value in content[name]]


def _number(value: Plain) -> int | float:
    return float(value) if isinstance(value, str) else value
