"""A year of real one-minute candles, and what reading it costs."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mei.data.stream import Gap
from tests.data.candles import BTC_2023, bars_of, csv, minutes, put, scan

needs_real_candles = pytest.mark.skipif(
    not BTC_2023.exists(), reason="needs BTCUSDT_2023_1m.csv.gz in ../shared/data"
)

# VmHWM, not ru_maxrss: the latter survives exec, so it would tell the size of the test process.
_PEAK_OF_READING = """
import sys
from pathlib import Path
from mei.data.research import read_series, scan_series
scan = scan_series(Path(sys.argv[1]), "BTC/USDT", "1m", sys.argv[2], None, None)
n_bars = sum(len(block) for block in read_series(scan, block_rows=1000))
assert n_bars == scan.n_bars
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(n_bars, status["VmHWM"].split()[0])
"""


@pytest.fixture
def year(tmp_path: Path) -> Path:
    put(tmp_path, "placeholder.csv", "")
    (tmp_path / "BTC_USDT/1m/placeholder.csv").unlink()
    (tmp_path / "BTC_USDT/1m/BTCUSDT_2023_1m.csv.gz").symlink_to(BTC_2023.resolve())
    return tmp_path


@needs_real_candles
def test_a_real_year_has_all_its_bars_and_its_one_gap(year: Path) -> None:
    scanned = scan(year)
    assert scanned.n_bars == 525_520
    assert scanned.gaps == (Gap(1_679_661_540_000, 1_679_666_400_000, 80),)
    assert scanned.sha256 == "369739d11008ba3a71340038183507a9823ca80095c35aaabe6c215047f4750a"


@needs_real_candles
def test_a_real_year_filled_has_every_minute(year: Path) -> None:
    assert scan(year, "ffill").n_bars == 365 * 1440


@needs_real_candles
def test_real_numbers_are_those_of_python_float(year: Path) -> None:
    bars = bars_of(scan(year, end_ms=1_672_531_200_000 + 20_000 * 60_000))
    with gzip.open(BTC_2023, "rt") as lines:
        next(lines)
        rows = [next(lines).split(",") for _ in range(len(bars))]
    for place, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        assert bars[name].tolist() == [float(row[place]) for row in rows]


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux's /proc for the peak of memory"
)
@pytest.mark.parametrize("policy", ["keep", "ffill"])
def test_memory_does_not_grow_with_the_series(tmp_path: Path, policy: str) -> None:
    peaks_kb = []
    for n_rows in (100_000, 500_000):
        folder = tmp_path / str(n_rows)
        rows = np.array(minutes(0, 1000))
        _, _, rest = np.char.partition(rows, ",").T
        stamps = (1_600_000_020_000 + 60_000 * np.arange(n_rows)).astype("U13")
        text = np.char.add(np.char.add(stamps, ","), np.resize(rest, n_rows))
        put(folder, "c.csv", csv(*text.tolist()))
        command = [sys.executable, "-c", _PEAK_OF_READING, str(folder), policy]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(told[0]) == n_rows
        peaks_kb.append(int(told[1]))
    assert abs(peaks_kb[1] - peaks_kb[0]) < 8_000, (
        f"peak RSS in kB for 100k and 500k rows: {peaks_kb}"
    )
