"""Candles as CSV with a header, as `research` reads them."""

from __future__ import annotations

from mei.model.bars import BAR_DTYPE, BarArray

HEADER = ",".join(BAR_DTYPE.names or ())


def csv_text(bars: BarArray) -> str:
    """Bars as CSV; every number reads back as the same double."""
    return "\n".join([HEADER, *(",".join(map(repr, row)) for row in bars.tolist())]) + "\n"
