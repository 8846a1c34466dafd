"""The sample candles of `make run`: 30 days of 1m bars of a made-up market, as an exchange would have left them.

Written as `<BASE_QUOTE>/1m/sample-<first day>.csv.gz`, a file every ten days. Two outages, common to all symbols as
those of an exchange are: 45 minutes after 27 % of the time, 7 hours after 63 %. Prices move on meanwhile; the bars
are missing.
The text is the same on every machine; the packed bytes are so for one version of zlib.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mei.data.sample_market import MINUTE_MS, MINUTES_PER_DAY, market_bars, regimes_of_market
from mei.model import faults
from mei.model.bars import DAY_MS, BarArray, path_name
from mei.model.errors import ConfigError, OutputError

#: Files of the sample begin with this, so that it cannot pass for a market among other candles.
SAMPLE_PREFIX = "sample-"
SAMPLE_SYMBOLS = ("BTC/USDT", "ETH/USDT")
SAMPLE_TIMEFRAME = "1m"
SAMPLE_DAYS = 30
SAMPLE_SEED = 42
SAMPLE_START_MS = 1_704_067_200_000  # 2024-01-01T00:00Z

#: Outages: where they begin, as a share of the whole time, and how long they last in minutes.
OUTAGES = ((0.27, 45), (0.63, 420))

_DAYS_PER_FILE = 10
_STAGING = ".sample"
_HEADER = "timestamp,open,high,low,close,volume\n"


def sample_regimes(*, days: int = SAMPLE_DAYS, seed: int = SAMPLE_SEED) -> npt.NDArray[np.int8]:
    """The truth behind the sample: the regime of each minute from its start, minutes of outages included.

    Shape (days * 1440,); 0 calm (breakouts fade), 1 trend (they follow through), 2 whip (violent, and fade).
    """
    return regimes_of_market(days * MINUTES_PER_DAY, seed)


def sample_bars(
    symbol: str,
    *,
    days: int = SAMPLE_DAYS,
    seed: int = SAMPLE_SEED,
    start_ms: int = SAMPLE_START_MS,
) -> BarArray:
    """The sample's 1m candles of `symbol`, outages left out, not yet rounded to what the files hold."""
    n_minutes = days * MINUTES_PER_DAY
    present = np.ones(n_minutes, dtype=np.bool_)
    for share, minutes in OUTAGES:
        begin = int(n_minutes * share)
        present[begin : begin + minutes] = False
    bars: BarArray = market_bars(symbol, n_minutes, seed, start_ms)[present]
    return bars


def write_sample(
    research_dir: Path,
    *,
    symbols: Sequence[str] = SAMPLE_SYMBOLS,
    days: int = SAMPLE_DAYS,
    seed: int = SAMPLE_SEED,
    start_ms: int = SAMPLE_START_MS,
) -> list[Path]:
    """Write the sample into `research_dir` and give the paths of its files, in order.

    Made in a hidden folder and renamed symbol by symbol; after an interruption, the same call finishes it
    (`sample_was_interrupted` says so). Symbols that are there already, alike, are left alone. ConfigError for
    impossible days or start; OutputError when something else is in a symbol's place, or the disk refuses.
    """
    if days < 1 or start_ms % DAY_MS:
        raise ConfigError(
            f"a sample must have days >= 1 and start at midnight UTC, was {days} days from {start_ms}"
        )
    staging = research_dir / _STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        written = []
        for symbol in symbols:
            folder = staging / path_name(symbol) / SAMPLE_TIMEFRAME
            folder.mkdir(parents=True)
            bars = sample_bars(symbol, days=days, seed=seed, start_ms=start_ms)
            for name, text in _files(bars, start_ms):
                (folder / name).write_bytes(gzip.compress(text.encode(), mtime=0))
                written.append(research_dir / path_name(symbol) / SAMPLE_TIMEFRAME / name)
        for symbol in symbols:
            _move(staging / path_name(symbol), research_dir / path_name(symbol))
        shutil.rmtree(staging)
    except OSError as error:
        raise OutputError(
            f"{research_dir}: the sample must be writable here ({error.strerror}: {error.filename});"
            " check RESEARCH_DIR and its rights"
        ) from None
    return written


def sample_was_interrupted(research_dir: Path) -> bool:
    """Whether a sample was begun here and not finished; `write_sample` with the same arguments finishes it."""
    return (research_dir / _STAGING).is_dir()


def _files(bars: BarArray, start_ms: int) -> Iterator[tuple[str, str]]:
    span_ms = _DAYS_PER_FILE * DAY_MS
    end_ms = int(bars["timestamp"][-1]) + MINUTE_MS
    for first_ms in range(start_ms, end_ms, span_ms):
        first, last = np.searchsorted(bars["timestamp"], (first_ms, first_ms + span_ms))
        day = datetime.fromtimestamp(first_ms / 1000, UTC).date()
        yield (
            f"{SAMPLE_PREFIX}{day.isoformat()}.csv.gz",
            _HEADER + "".join(map(_line, bars[first:last].tolist())),
        )


def _line(bar: tuple[int, float, float, float, float, float]) -> str:
    # Rounding keeps the order of numbers, so a high stays at or above its close.
    return "%d,%.2f,%.2f,%.2f,%.2f,%.4f\n" % bar  # noqa: UP031


def _move(made: Path, target: Path) -> None:
    if target.exists():
        if _contents(made) != _contents(target):
            raise OutputError(
                f"{target}: the sample must not overwrite other candles, and there are some; move them away"
            )
        return
    faults.hit("data.sample.before_rename")
    made.rename(target)
    faults.hit("data.sample.after_rename")


def _contents(folder: Path) -> dict[str, bytes]:
    """Unpacked content by relative path, for zlib may have been another version then."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): gzip.decompress(path.read_bytes())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in files
    }
