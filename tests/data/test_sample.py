"""The sample market: the same everywhere, with regimes in which breakouts behave as they are said to."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from mei.data.research import SeriesScan, read_series, scan_series
from mei.data.sample import (
    SAMPLE_START_MS,
    SAMPLE_SYMBOLS,
    sample_regimes,
    sample_was_interrupted,
    write_sample,
)
from mei.data.sample_market import CALM, TREND, WHIP
from mei.model import faults
from mei.model.bars import BarArray
from mei.model.errors import ConfigError, OutputError

MINUTE_MS = 60_000
HORIZON = 60
CHANNEL = 60


@pytest.fixture(scope="module")
def research_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("research")
    write_sample(folder)
    return folder


def scanned(research_dir: Path, symbol: str) -> SeriesScan:
    return scan_series(research_dir, symbol, "1m", "keep", None, None)


def bars_of(research_dir: Path, symbol: str) -> BarArray:
    return np.concatenate(list(read_series(scanned(research_dir, symbol))))


def regimes_at(bars: BarArray) -> np.ndarray:
    return sample_regimes()[(bars["timestamp"] - SAMPLE_START_MS) // MINUTE_MS]


def text_sha256(paths: list[Path]) -> str:
    return hashlib.sha256(
        b"".join(gzip.decompress(path.read_bytes()) for path in paths)
    ).hexdigest()


def test_the_text_of_the_sample_is_pinned(research_dir: Path) -> None:
    paths = sorted(research_dir.rglob("*.csv.gz"))
    assert [path.relative_to(research_dir).as_posix() for path in paths] == [
        f"{symbol}/1m/sample-2024-01-{day}.csv.gz"
        for symbol in ("BTC_USDT", "ETH_USDT")
        for day in ("01", "11", "21")
    ]
    assert text_sha256(paths) == "7cb02bfc710fa7077a5786d2452b942990dfd40436d92945192838b06097b9d0"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = write_sample(tmp_path / "a", days=2)
    second = write_sample(tmp_path / "b", days=2)
    other = write_sample(tmp_path / "c", days=2, seed=43)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert text_sha256(first) != text_sha256(other)


def test_a_symbol_does_not_depend_on_its_company(tmp_path: Path) -> None:
    (alone,) = write_sample(tmp_path / "a", symbols=("ETH/USDT",), days=2)
    _, among = write_sample(tmp_path / "b", symbols=("BTC/USDT", "ETH/USDT"), days=2)
    assert alone.read_bytes() == among.read_bytes()


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_there_are_thirty_days_with_two_outages(research_dir: Path, symbol: str) -> None:
    scan = scanned(research_dir, symbol)
    assert [gap.n_missing for gap in scan.gaps] == [45, 420]
    assert scan.n_bars == 30 * 1440 - 45 - 420
    assert (scan.first_ms, scan.last_ms) == (
        SAMPLE_START_MS,
        SAMPLE_START_MS + (30 * 1440 - 1) * MINUTE_MS,
    )
    assert scan.gaps == scanned(research_dir, "BTC/USDT").gaps


def test_regimes_last_hours_to_a_day_and_all_are_common() -> None:
    regimes = sample_regimes()
    changes = np.flatnonzero(np.diff(regimes)) + 1
    minutes = np.diff(changes)
    assert len(regimes) == 30 * 1440
    assert minutes.min() >= 180
    assert minutes.max() <= 1440
    assert len(changes) > 40
    assert (np.bincount(regimes, minlength=3) / len(regimes)).min() > 0.15


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_breakouts_fade_follow_through_or_whip_by_regime(research_dir: Path, symbol: str) -> None:
    bars = bars_of(research_dir, symbol)
    returns_bps = _returns_after_breaks_bps(bars)
    regimes = regimes_at(bars)
    mean, error = {}, {}
    for regime in (CALM, TREND, WHIP):
        some = returns_bps[(regimes == regime) & ~np.isnan(returns_bps)]
        # Breaks come in runs that share their future: the error of the mean is that of one a run.
        mean[regime], error[regime] = some.mean(), some.std() / np.sqrt(len(some) / 10)
        assert len(some) > 300
    assert mean[CALM] < -5 * error[CALM]
    assert mean[TREND] > 3 * error[TREND]
    assert mean[TREND] > 12, "more than a round trip at default costs"
    assert mean[WHIP] < min(-30, -5 * error[WHIP])


def _returns_after_breaks_bps(bars: BarArray) -> np.ndarray:
    """Return over HORIZON bars in the direction of a channel break; NaN where there is no break."""
    close = bars["close"]
    highest = sliding_window_view(bars["high"], CHANNEL).max(axis=1)[:-1]
    lowest = sliding_window_view(bars["low"], CHANNEL).min(axis=1)[:-1]
    side = np.where(
        close[CHANNEL:] > highest, 1.0, np.where(close[CHANNEL:] < lowest, -1.0, np.nan)
    )
    returns_bps = np.full(len(bars), np.nan)
    ahead = close[CHANNEL + HORIZON :] / close[CHANNEL:-HORIZON] - 1
    returns_bps[CHANNEL:-HORIZON] = side[:-HORIZON] * ahead * 1e4
    return returns_bps


@pytest.mark.parametrize("symbol", SAMPLE_SYMBOLS)
def test_volatility_and_volume_tell_the_regimes_apart(research_dir: Path, symbol: str) -> None:
    bars = bars_of(research_dir, symbol)
    regimes = regimes_at(bars)
    range_bps = (bars["high"] - bars["low"]) / bars["close"] * 1e4
    for column in (range_bps, bars["volume"]):
        calm, trend, whip = (
            float(column[regimes == regime].mean()) for regime in (CALM, TREND, WHIP)
        )
        assert calm * 1.7 < trend < whip / 1.7
    moves = np.abs(bars["close"] / bars["open"] - 1)
    for regime in (CALM, TREND, WHIP):
        inside = regimes == regime
        assert np.corrcoef(moves[inside], bars["volume"][inside])[0, 1] > 0.3


def test_writing_again_leaves_alike_files_alone(tmp_path: Path) -> None:
    paths = write_sample(tmp_path, days=1)
    before = [path.stat().st_mtime_ns for path in paths]
    assert write_sample(tmp_path, days=1) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_other_candles_are_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "BTC_USDT/1m/mine.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(OutputError, match="must not overwrite other candles"):
        write_sample(tmp_path, days=1)
    assert mine.read_text() == "precious"


@pytest.mark.parametrize("n_hits", [1, 2, 3, 4])
def test_an_interrupted_sample_shows_no_half_series_and_is_finished_by_the_same_call(
    tmp_path: Path, n_hits: int
) -> None:
    class KilledError(Exception):
        pass

    hit: list[str] = []

    def kill(name: str) -> None:
        hit.append(name)
        if len(hit) == n_hits:
            raise KilledError

    faults.install(kill)
    try:
        with pytest.raises(KilledError):
            write_sample(tmp_path, days=12)
    finally:
        faults.install(None)
    for symbol in SAMPLE_SYMBOLS:
        folder = tmp_path / symbol.replace("/", "_")
        assert not folder.exists() or len(list(folder.rglob("*.csv.gz"))) == 2
    assert sample_was_interrupted(tmp_path)
    paths = write_sample(tmp_path, days=12)
    assert not sample_was_interrupted(tmp_path)
    assert all(path.is_file() for path in paths)
    assert len(paths) == 4


@pytest.mark.parametrize(("days", "start_ms"), [(0, SAMPLE_START_MS), (1, SAMPLE_START_MS + 1)])
def test_impossible_samples_are_refused(tmp_path: Path, days: int, start_ms: int) -> None:
    with pytest.raises(ConfigError, match="a sample must have days >= 1 and start at midnight"):
        write_sample(tmp_path, days=days, start_ms=start_ms)


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "research").write_text("a file where a folder must be")
    with pytest.raises(OutputError, match="RESEARCH_DIR") as caught:
        write_sample(tmp_path / "research", days=1)
    assert "\n" not in str(caught.value)
