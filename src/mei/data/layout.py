"""Which column of a candle file holds what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mei.model.bars import BAR_DTYPE
from mei.model.errors import DataError

FIELDS: tuple[str, ...] = BAR_DTYPE.names or ()

#: Headerless exchange klines: open time, o, h, l, c, v, close time, and five more.
KLINE_COLUMNS = 12

#: Exchange dumps that do have a header call the timestamp so.
_ALIASES = {"open_time": "timestamp"}


@dataclass(frozen=True, slots=True)
class Layout:
    """`positions[i]` is the column of `FIELDS[i]`; rows have `n_columns`; `n_header_lines` is 0 or 1."""

    positions: tuple[int, ...]
    n_columns: int
    n_header_lines: int

    def row_dtype(self) -> np.dtype[Any]:
        """A field for every column of the file; those that are not used keep a single byte."""
        names = dict(zip(self.positions, FIELDS, strict=True))
        columns = range(self.n_columns)
        return np.dtype(
            [
                (names[i], BAR_DTYPE[names[i]]) if i in names else (f"column_{i}", "S1")
                for i in columns
            ]
        )


def layout_of(first_line: bytes, path: Path) -> Layout:
    """Read the header, or recognise the headerless kline; DataError when it is neither."""
    text = first_line.decode().removeprefix("\ufeff")
    cells = [cell.strip().strip('"').lower() for cell in text.split(",")]
    if not _is_number(cells[0]):
        return _with_header([_ALIASES.get(cell, cell) for cell in cells], path)
    if len(cells) != KLINE_COLUMNS:
        raise DataError(
            f"{path}:1: must begin with the header {','.join(FIELDS)}, or be a kline of {KLINE_COLUMNS} columns"
            f" without header; found {len(cells)} columns without header"
        )
    return Layout(tuple(range(len(FIELDS))), KLINE_COLUMNS, 0)


def _with_header(names: list[str], path: Path) -> Layout:
    missing = [field for field in FIELDS if field not in names]
    if missing:
        raise DataError(
            f"{path}:1: missing column {', '.join(missing)}; the header must name {','.join(FIELDS)},"
            f" found {','.join(names)[:200]}"
        )
    twice = [field for field in FIELDS if names.count(field) > 1]
    if twice:
        raise DataError(
            f"{path}:1: column {', '.join(twice)} is named twice; every column must have its own name"
        )
    return Layout(tuple(names.index(field) for field in FIELDS), len(names), 1)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
