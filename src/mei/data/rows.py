"""What a row must be, whatever file it stands in: on the grid, in order, and a candle that can have happened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mei.data.stamps import EARLIEST_MS, LATEST_MS, Unit, grid_offset_ms, unit_of, utc_text
from mei.data.table import Table
from mei.model.bars import BarArray
from mei.model.errors import DataError

Mask = npt.NDArray[np.bool_]

#: Reasons for which GAP_POLICY=drop leaves a row out, in the order in which they are looked for.
NOT_A_NUMBER = "not_a_number"
INFINITE = "infinite"
NON_POSITIVE_PRICE = "non_positive_price"
NEGATIVE_VOLUME = "negative_volume"
HIGH_BELOW_LOW = "high_below_low"
OUTSIDE_RANGE = "outside_range"
DUPLICATE = "duplicate"
OUT_OF_ORDER = "out_of_order"

_PRICES = ("open", "high", "low", "close")


class RowCheck:
    """Checks the rows of one file as they come, block by block, and gives them in ms.

    With `drop`, faulty rows are left out and counted in `dropped`; else the first one is a DataError. Timestamps that
    are no bar's open (mixed units, off the grid, before 2009 or after 2100) are a DataError either way: then the file
    is not what it seems.
    """

    def __init__(self, path: Path, step_ms: int, *, drop: bool) -> None:
        self.unit: Unit | None = None
        self.first_ms: int | None = None
        self.newest_ms = -1
        self.dropped: Counter[str] = Counter()
        self._path = path
        self._step_ms = step_ms
        self._drop = drop
        self._first_stamp = (0, 0)

    def accept(self, table: Table) -> BarArray:
        """The good bars of a block, ascending and unique; then raises the table's own fault, if it has one."""
        bars = table.bars
        if len(bars):
            unit = self.unit or self._recognise_unit(table)
            stamps_ok = self._stamps_ok(bars, unit)
            values_ok = _values_ok(bars)
            if self._drop:
                self._require_stamps(table, stamps_ok, unit)
                bars = self._in_order(self._dropped_by_value(_in_ms(bars, unit), values_ok))
            else:
                self._require_all(table, stamps_ok, values_ok, unit)
                bars = _in_ms(bars, unit)
            if len(bars):
                self.newest_ms = int(bars["timestamp"][-1])
        if table.fault is not None:
            raise table.fault
        return bars

    def _recognise_unit(self, table: Table) -> Unit:
        stamp, line = int(table.bars["timestamp"][0]), int(table.lines[0])
        unit = unit_of(stamp)
        if unit is None:
            raise DataError(_out_of_span(self._path, line, stamp))
        self.unit, self._first_stamp = unit, (line, stamp)
        self.first_ms = int(unit.to_ms(table.bars["timestamp"][:1])[0])
        return unit

    def _stamps_ok(self, bars: BarArray, unit: Unit) -> Mask:
        stamps = bars["timestamp"]
        offset = unit.from_ms(grid_offset_ms(self._step_ms))
        on_grid: Mask = (stamps - offset) % unit.from_ms(self._step_ms) == 0
        # The first stamp decided the unit, so the span is the unit's.
        return on_grid & _between(stamps, unit)

    def _require_stamps(self, table: Table, stamps_ok: Mask, unit: Unit) -> None:
        if not stamps_ok.all():
            self._refuse_stamp(table, int(np.argmin(stamps_ok)), unit)

    def _require_all(self, table: Table, stamps_ok: Mask, values_ok: Mask, unit: Unit) -> None:
        stamps = unit.to_ms(table.bars["timestamp"])
        before = np.concatenate(([self.newest_ms], stamps[:-1]))
        ok = stamps_ok & values_ok & (stamps > before)
        if ok.all():
            return
        row = int(np.argmin(ok))
        if not stamps_ok[row]:
            self._refuse_stamp(table, row, unit)
        if not values_ok[row]:
            self._refuse(table, row, _value_fault(table.bars[row])[1])
        at, last = utc_text(int(stamps[row])), utc_text(int(before[row]))
        if stamps[row] == before[row]:
            self._refuse(
                table, row, f"duplicated row: every timestamp must stand once, {at} stands twice"
            )
        self._refuse(table, row, f"unsorted: timestamps must ascend, found {at} after {last}")

    def _refuse(self, table: Table, row: int, fault: str) -> None:
        hint = "correct the file or set GAP_POLICY=drop to leave such rows out"
        raise DataError(f"{self._path}:{table.lines[row]}: {fault}; {hint}")

    def _refuse_stamp(self, table: Table, row: int, unit: Unit) -> None:
        stamp, line = int(table.bars["timestamp"][row]), int(table.lines[row])
        found = unit_of(stamp)
        if found is None:
            raise DataError(_out_of_span(self._path, line, stamp))
        if found != unit:
            first_line, first = self._first_stamp
            raise DataError(
                f"{self._path}:{line}: mixed units: a file must keep to one, line {first_line} is in {unit.name}"
                f" ({first}), this line in {found.name} ({stamp}); convert the file to one unit"
            )
        raise DataError(
            f"{self._path}:{line}: timestamp {stamp} is not on the grid: it must be the open of a bar of"
            f" {self._step_ms} ms, a multiple of that in UTC; is the file in the folder of its timeframe?"
            " (import-candles makes longer bars of shorter ones: --timeframe 1m --resample 1h)"
        )

    def _dropped_by_value(self, bars: BarArray, values_ok: Mask) -> BarArray:
        for bar in bars[~values_ok]:
            self.dropped[_value_fault(bar)[0]] += 1
        return bars[values_ok]

    def _in_order(self, bars: BarArray) -> BarArray:
        stamps = bars["timestamp"]
        newest = np.maximum.accumulate(np.concatenate(([self.newest_ms], stamps)))[:-1]
        ascending = stamps > newest
        n_dropped = int(np.count_nonzero(~ascending))
        if n_dropped:
            n_twice = int(np.count_nonzero(stamps == newest))
            self.dropped[DUPLICATE] += n_twice
            self.dropped[OUT_OF_ORDER] += n_dropped - n_twice
        kept: BarArray = bars[ascending]
        return kept


def _between(stamps: npt.NDArray[np.int64], unit: Unit) -> Mask:
    inside: Mask = (stamps >= unit.from_ms(EARLIEST_MS)) & (stamps < unit.from_ms(LATEST_MS))
    return inside


def _in_ms(bars: BarArray, unit: Unit) -> BarArray:
    bars["timestamp"] = unit.to_ms(bars["timestamp"])
    return bars


def _values_ok(bars: BarArray) -> Mask:
    """True where the row can be a candle. NaN fails every comparison, and low > 0 covers the other prices."""
    opening, high, low = bars["open"], bars["high"], bars["low"]
    close, volume = bars["close"], bars["volume"]
    ok: Mask = (low > 0.0) & (high < np.inf) & (volume >= 0.0) & (volume < np.inf)
    ok &= (opening >= low) & (opening <= high) & (close >= low) & (close <= high)
    return ok


def _value_fault(bar: Any) -> tuple[str, str]:
    """Reason and words for a row that `_values_ok` refused."""
    numbers: dict[str, float] = {name: float(bar[name]) for name in (*_PRICES, "volume")}
    for name, number in numbers.items():
        if np.isnan(number):
            return NOT_A_NUMBER, f"{name} must be a number, the cell is empty or NaN"
    for name, number in numbers.items():
        if np.isinf(number):
            return INFINITE, f"{name} must be finite, found an infinite value ({number})"
    for name in _PRICES:
        if numbers[name] <= 0.0:
            return NON_POSITIVE_PRICE, f"{name} must be a price > 0, found {numbers[name]}"
    if numbers["volume"] < 0.0:
        return NEGATIVE_VOLUME, f"negative volume: it must be >= 0, found {numbers['volume']}"
    low, high = numbers["low"], numbers["high"]
    if high < low:
        return HIGH_BELOW_LOW, f"high must be >= low, found high {high} < low {low}"
    name = "open" if not low <= numbers["open"] <= high else "close"
    return (
        OUTSIDE_RANGE,
        f"{name} must lie in [low, high], found {numbers[name]} outside [{low}, {high}]",
    )


def _out_of_span(path: Path, line: int, stamp: int) -> str:
    return (
        f"{path}:{line}: timestamp {stamp} is before 2009 or after 2100 in every unit;"
        " it must be epoch s, ms, µs or ns of a bar's open"
    )
