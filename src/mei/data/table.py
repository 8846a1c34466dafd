"""Lines of text to rows of numbers, exactly as Python's `float()` reads them.

The fast path is numpy's C reader, which stops at anything odd; only then are the lines read one by one, to say which
line is wrong and to let empty cells through as NaN.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mei.data.layout import FIELDS, Layout
from mei.data.text import TextBlock
from mei.model.bars import BAR_DTYPE, BarArray, IntArray, empty_bars
from mei.model.errors import DataError

#: Cells that say "no value"; they become NaN. Any other text that is no number ends the reading.
_NO_VALUE = frozenset({"", "nan", "null", "none", "na", "n/a"})
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.ASCII | re.IGNORECASE
)
_INTEGER = re.compile(r"[+-]?\d{1,18}|\d{19}", re.ASCII)
_INT64_MAX = np.iinfo(np.int64).max


class Table(NamedTuple):
    """Rows of a block, timestamps still in the file's unit. `fault` is what ended the reading, if anything did."""

    bars: BarArray
    lines: IntArray
    fault: DataError | None


def read_table(block: TextBlock, layout: Layout, path: Path) -> Table:
    """Parse whole lines of a candle file (without its header)."""
    n_lines = block.text.count(b"\n")
    if block.text.isspace():
        return _read_line_by_line(block, layout, path)
    try:
        rows = np.loadtxt(
            io.BytesIO(block.text),
            dtype=layout.row_dtype(),
            delimiter=",",
            comments=None,
            ndmin=1,
        )
    except ValueError:
        return _read_line_by_line(block, layout, path)
    if len(rows) != n_lines:  # numpy skips blank lines
        return _read_line_by_line(block, layout, path)
    bars = np.empty(n_lines, dtype=BAR_DTYPE)
    for field in FIELDS:
        bars[field] = rows[field]
    return Table(bars, np.arange(block.first_line, block.first_line + n_lines), None)


def _read_line_by_line(block: TextBlock, layout: Layout, path: Path) -> Table:
    texts = block.text.decode().split("\n")[:-1]
    bars = empty_bars(len(texts))
    fault: DataError | None = None
    n_read = 0
    for n_read, text in enumerate(texts):
        row = _read_line(text, layout)
        if isinstance(row, str):
            fault = DataError(f"{path}:{block.first_line + n_read}: {row}")
            break
        bars[n_read] = row
    else:
        n_read = len(texts)
    lines = np.arange(block.first_line, block.first_line + n_read)
    return Table(bars[:n_read], lines, fault)


def _read_line(text: str, layout: Layout) -> tuple[int | float, ...] | str:
    """The row in the order of FIELDS, or what is wrong with it."""
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) != layout.n_columns:
        found = f"found {len(cells)}" if text.strip() else "the line is blank"
        return f"wrong number of columns: there must be {layout.n_columns}, {found}"
    stamp, *values = (cells[position] for position in layout.positions)
    if not _INTEGER.fullmatch(stamp) or int(stamp) > _INT64_MAX:
        return f"timestamp must be an integer (epoch s, ms, µs or ns), found {stamp[:40]!r}"
    row: list[int | float] = [int(stamp)]
    for field, cell in zip(FIELDS[1:], values, strict=True):
        if cell.lower() in _NO_VALUE:
            row.append(float("nan"))
        elif _NUMBER.fullmatch(cell):
            row.append(float(cell))
        else:
            return f"{field} must be a number, found {cell[:40]!r}"
    return tuple(row)
