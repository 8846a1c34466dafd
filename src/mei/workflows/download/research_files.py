"""Candles of a database as the files that the learning loop reads: RESEARCH_DIR/<BASE_QUOTE>/<timeframe>/*.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mei.data.candle_text import csv_text
from mei.data.candle_writer import CandleWriter, Series
from mei.model.bars import path_name
from mei.report.atomic import ensure_folder, write_atomically


def write_research(
    writer: CandleWriter, series: Series, research_dir: Path, symbol: str
) -> list[Path]:
    """Write every bar of `series`, one file a UTC month of opens; the files that were new or changed.

    Each file is replaced whole. A file that holds the same bytes is left alone, so doing it twice changes nothing.
    Raises OutputError.
    """
    ends = writer.ends(series)
    if ends is None:
        return []
    folder = research_dir / path_name(symbol) / series.interval
    ensure_folder(folder)
    written = []
    first, last = (np.datetime64(ms, "ms").astype("datetime64[M]") for ms in ends)
    for month in np.arange(first, last + 1):
        bars = writer.bars(series, _ms(month), _ms(month + 1) - 1)
        if not len(bars):
            continue
        path = folder / f"{path_name(symbol)}-{series.interval}-{month}.csv"
        content = csv_text(bars).encode()
        if path.is_file() and path.read_bytes() == content:
            continue
        write_atomically(path, content)
        written.append(path)
    return written


def _ms(month: np.datetime64) -> int:
    return int(month.astype("datetime64[ms]").astype(np.int64))
