"""Candle files for tests: rows as text, packed in every way that is read."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np

from mei.data.research import SeriesScan, read_series, scan_series
from mei.model.bars import BarArray, empty_bars
from mei.model.settings import GapPolicy

SHARED_DATA = Path(__file__).parents[2] / "../shared/data"
BTC_2023 = SHARED_DATA / "binance-spot-timealiver/BTCUSDT_2023_1m.csv.gz"

HEADER = "timestamp,open,high,low,close,volume"
START_MS = 1_700_000_040_000
MINUTE_MS = 60_000


def row(minute: int, **cells: object) -> str:
    """A good candle `minute` minutes after START_MS; `cells` replaces what a test wants otherwise."""
    good = {
        "timestamp": START_MS + minute * MINUTE_MS,
        "open": 100.0 + minute % 7,
        "high": 110.0,
        "low": 90.0,
        "close": 101.0 + minute % 5,
        "volume": minute % 3,
    }
    return ",".join(str(cell) for cell in (good | cells).values())


def csv(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def minutes(first: int, last: int) -> list[str]:
    return [row(minute) for minute in range(first, last)]


def klines(first: int, last: int, per_ms: int = 1) -> str:
    """Headerless exchange klines of 12 columns; `per_ms=1000` stamps them in µs, as since 2025."""
    lines = []
    for minute in range(first, last):
        stamp = (START_MS + minute * MINUTE_MS) * per_ms
        cells = row(minute, timestamp=stamp)
        lines.append(f"{cells},{stamp + MINUTE_MS * per_ms - 1},123.4,17,1.5,99.25,0\n")
    return "".join(lines)


def packed_zip(text: str, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("BTCUSDT-1m.csv",):
            archive.writestr(name, text)
    return buffer.getvalue()


def put(research_dir: Path, name: str, content: str | bytes, timeframe: str = "1m") -> Path:
    """Write a candle file of BTC/USDT, packed as its name says if `content` is text."""
    folder = research_dir / "BTC_USDT" / timeframe
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = _packed(name, content)
    (folder / name).write_bytes(content)
    return folder / name


def _packed(name: str, text: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(text.encode(), mtime=0)
    return packed_zip(text) if name.endswith(".zip") else text.encode()


def scan(
    research_dir: Path,
    gap_policy: GapPolicy = "keep",
    start_ms: int | None = None,
    end_ms: int | None = None,
    timeframe: str = "1m",
) -> SeriesScan:
    return scan_series(research_dir, "BTC/USDT", timeframe, gap_policy, start_ms, end_ms)


def bars_of(scanned: SeriesScan, from_ms: int | None = None, block_rows: int = 20_000) -> BarArray:
    blocks = list(read_series(scanned, from_ms=from_ms, block_rows=block_rows))
    return np.concatenate([empty_bars(), *blocks])


def minutes_of(bars: BarArray) -> list[int]:
    return ((bars["timestamp"] - START_MS) // MINUTE_MS).tolist()
