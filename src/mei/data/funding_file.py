"""Funding files: CSV (plain, .gz or .zip) with a header, a time and a rate in each row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mei.data.stamps import EARLIEST_MS, LATEST_MS, Unit, unit_of, utc_text
from mei.data.text import text_blocks
from mei.model.bars import FloatArray, IntArray
from mei.model.errors import DataError
from mei.model.settings import GapPolicy

_TIMES = ("timestamp", "time", "calc_time", "fundingtime", "funding_time")
_RATES = ("funding_rate", "last_funding_rate", "fundingrate", "rate")


@dataclass(frozen=True, slots=True)
class FundingFile:
    """What a funding file holds. time_ms ascending and unique, epoch ms UTC; rate as fraction of notional.

    n_dropped: rows that were left out (gap_policy drop). usual_ms: the commonest distance between two rates (0 for a
    single one), n_longer: how many distances are longer than that.
    """

    path: Path
    time_ms: IntArray
    rate: FloatArray
    n_dropped: int
    usual_ms: int
    n_longer: int

    def describe(self) -> str:
        """One line for people."""
        said = [
            f"{self.path}: {len(self.rate)} funding rates from {utc_text(int(self.time_ms[0]))}"
            f" to {utc_text(int(self.time_ms[-1]))}, mostly every {self.usual_ms / 3_600_000:g} h"
        ]
        if self.n_longer:
            said.append(f"{self.n_longer} times longer apart than that")
        if self.usual_ms not in (0, 3_600_000):
            said.append(
                "every full hour pays the newest rate, so rates of other lengths must be made hourly"
                " (an 8-hourly one divided by 8)"
            )
        if self.n_dropped:
            said.append(f"dropped {self.n_dropped} rows")
        return "; ".join(said)


def read_funding(path: Path, gap_policy: GapPolicy = "keep") -> FundingFile:
    """Read a funding file. DataError, naming the line, for a row that is no rate, stands twice or is out of order.

    With gap_policy "drop" such rows are left out and counted; a time without unit is an error even then.
    """
    if not path.is_file():
        raise DataError(f"{path}: must be a file of funding rates, there is none; check the path")
    columns: tuple[int, int, int] | None = None
    unit: Unit | None = None
    times: list[int] = []
    rates: list[float] = []
    n_dropped = 0
    for block in text_blocks(path):
        for number, line in enumerate(block.text.decode().splitlines(), block.first_line):
            where = f"{path}:{number}"
            cells = [cell.strip() for cell in line.split(",")]
            if columns is None:
                columns = _columns(cells, where)
                continue
            time_ms, unit = _time(cells, columns, unit, where)
            fault = _fault(cells, columns, time_ms, times[-1] if times else None)
            if fault is None:
                times.append(time_ms)
                rates.append(float(cells[columns[1]]))
            elif gap_policy == "drop":
                n_dropped += 1
            else:
                raise DataError(f"{where}: {fault}; correct the file or use --gap-policy drop")
    if not times:
        raise DataError(f"{path}:1: there must be funding rates below a header, there are none")
    time_ms_all = np.array(times, dtype=np.int64)
    usual_ms, n_longer = _spacing(time_ms_all)
    return FundingFile(path, time_ms_all, np.array(rates), n_dropped, usual_ms, n_longer)


def _columns(header: list[str], where: str) -> tuple[int, int, int]:
    """Where the time and the rate stand, and how many columns there are."""
    names = [name.strip('"').removeprefix("\ufeff").lower() for name in header]
    time = next((names.index(name) for name in _TIMES if name in names), None)
    rate = next((names.index(name) for name in _RATES if name in names), None)
    if time is None or rate is None:
        raise DataError(
            f"{where}: the header must name timestamp and funding_rate, found {','.join(names)[:200]}"
        )
    return time, rate, len(names)


def _time(
    cells: list[str], columns: tuple[int, int, int], unit: Unit | None, where: str
) -> tuple[int, Unit]:
    if len(cells) != columns[2]:
        raise DataError(
            f"{where}: wrong number of columns: there must be {columns[2]}, found {len(cells)}"
        )
    text = cells[columns[0]]
    found = unit_of(int(text)) if text.isascii() and text.isdigit() else None
    if found is None or (unit is not None and found != unit):
        raise DataError(
            f"{where}: the time must be an integer in {unit.name if unit else 's, ms, µs or ns'} between"
            f" {utc_text(EARLIEST_MS)[:4]} and {utc_text(LATEST_MS)[:4]}, found {text[:40]!r}"
        )
    return int(text) * found.denominator // found.numerator, found


def _fault(
    cells: list[str], columns: tuple[int, int, int], time_ms: int, before_ms: int | None
) -> str | None:
    text = cells[columns[1]]
    try:
        is_rate = "_" not in text and math.isfinite(float(text))
    except ValueError:
        is_rate = False
    if not is_rate:
        return f"funding_rate must be a finite number, found {text[:40]!r}"
    if before_ms is not None and time_ms == before_ms:
        return f"every time must stand once, {utc_text(time_ms)} stands twice"
    if before_ms is not None and time_ms < before_ms:
        return f"times must ascend, found {utc_text(time_ms)} after {utc_text(before_ms)}"
    return None


def _spacing(time_ms: IntArray) -> tuple[int, int]:
    if len(time_ms) < 2:
        return 0, 0
    distances = np.diff(time_ms)
    values, counts = np.unique(distances, return_counts=True)
    usual_ms = int(values[np.argmax(counts)])
    return usual_ms, int((distances > usual_ms).sum())
