"""The smoke set: a made-up market of many symbols in 1h and 3m candles, for checks of sweeps against each other.

60 symbols over 19 days by default: more symbols than the 52 of `--parity-mode identical-symbol-universe`, and as many
days as a sweep on a GPU takes without asking. The candles are the same to the last bit on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mei.data.candle_import import write_bars
from mei.data.resample import resampled
from mei.data.sample import SAMPLE_SEED, SAMPLE_START_MS
from mei.data.sample_market import MINUTES_PER_DAY, market_bars
from mei.model.errors import ConfigError

SMOKE_SYMBOLS: Final = 60
SMOKE_DAYS: Final = 19
SMOKE_INTERVALS: Final = ("1h", "3m")
_NAMED: Final = ("BTC", "ETH")
_MOST_SYMBOLS: Final = 999


def smoke_symbols(n_symbols: int = SMOKE_SYMBOLS) -> list[str]:
    """BTC, ETH, SYN003, SYN004 and so on: names in ascending order."""
    numbered = (f"SYN{number:03d}" for number in range(len(_NAMED) + 1, n_symbols + 1))
    return [*_NAMED, *numbered][:n_symbols]


def write_smoke_market(
    folder: Path,
    *,
    n_symbols: int = SMOKE_SYMBOLS,
    days: int = SMOKE_DAYS,
    seed: int = SAMPLE_SEED,
    replace: bool = False,
    tell: Callable[[str], None],
) -> list[Path]:
    """Write candles_1h.db and candles_3m.db into `folder` (made if absent) and give their paths.

    Writing the same again changes nothing; other candles in their place are a DataError unless `replace`. `tell` gets a
    line for each database at the end. Raises ConfigError for numbers out of range, OutputError.
    """
    if not 1 <= n_symbols <= _MOST_SYMBOLS or days < 1:
        raise ConfigError(
            f"a smoke set must have 1 to {_MOST_SYMBOLS} symbols and days >= 1, "
            f"was {n_symbols} symbols, {days} days"
        )
    paths = [folder / f"candles_{interval}.db" for interval in SMOKE_INTERVALS]
    n_new = [0] * len(paths)
    n_bars = [0] * len(paths)
    for symbol in smoke_symbols(n_symbols):
        minutes = market_bars(f"{symbol}/USDT", days * MINUTES_PER_DAY, seed, SAMPLE_START_MS)
        for number, (interval, path) in enumerate(zip(SMOKE_INTERVALS, paths, strict=True)):
            bars = resampled(minutes, "1m", interval).bars
            n_new[number] += write_bars(path, symbol, interval, bars, replace=replace).n_new
            n_bars[number] += len(bars)
    for path, new, bars_of in zip(paths, n_new, n_bars, strict=True):
        tell(f"{path}: {n_symbols} symbols, {bars_of} bars, {new} of them new")
    return paths
