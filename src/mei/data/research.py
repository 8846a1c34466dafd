"""Research candles: `RESEARCH_DIR/<BASE_QUOTE>/<timeframe>/*.csv[.gz]` or klines (csv, csv.gz, zip with one csv).

`scan_series` checks everything once and says what is there; `read_series` streams the bars. GAP_POLICY decides what a
missing bar and a faulty row mean:

keep   missing bars are absent and reported; a faulty row is an error
error  a gap is an error too
drop   faulty rows (not a number, infinite, price <= 0, negative volume, high < low, open or close outside the range,
       duplicates, out of order) are left out, counted by reason; of duplicates the first good row stays
ffill  gaps are filled with flat bars of no volume at the last close; a faulty row is an error
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mei.data.candle_file import CandleFile, FileHead, line_of, read_head
from mei.data.merge import merged
from mei.data.price_jumps import JumpCount, JumpTally
from mei.data.stamps import utc_text
from mei.data.stream import Blocks, Gap, GapTally, Window, clipped, filled, in_blocks_of
from mei.data.text import file_sha256, is_candle_file
from mei.model.bars import BAR_DTYPE, BarArray, interval_ms, path_name, symbol_name
from mei.model.errors import ConfigError, DataError
from mei.model.settings import GapPolicy

_MAX_LISTED_SERIES = 40


@dataclass(frozen=True, slots=True)
class FileScan:
    """One file. sha256: of its bytes on the disk. unit: s, ms, µs or ns. n_rows: rows in it, dropped ones included.

    first_ms: open of its first row; last_ms: open of its last good bar (first_ms if it has none).
    """

    name: str
    sha256: str
    unit: str
    n_rows: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class SeriesScan:
    """What `scan_series` found. Counts of bars, first_ms and last_ms are after policy and window.

    files: in order of their first row. ignored: names in the folder that are no candle files. gaps: the first ones that
    reach into the window (with ffill: filled), n_gaps and n_missing count all. dropped: (reason, rows) over whole
    files. n_overlapping: bars that stand alike in more than one file. sha256: of the bars as BAR_DTYPE,
    independent of how they are split into files, packed, or which unit they are in.
    jumps: of prices, onto bars of the window; see `price_jumps`.
    """

    folder: Path
    symbol: str
    timeframe: str
    gap_policy: GapPolicy
    start_ms: int | None
    end_ms: int | None
    files: tuple[FileScan, ...]
    ignored: tuple[str, ...]
    n_bars: int
    first_ms: int
    last_ms: int
    gaps: tuple[Gap, ...]
    n_gaps: int
    n_missing: int
    dropped: tuple[tuple[str, int], ...]
    n_overlapping: int
    sha256: str
    jumps: JumpCount

    def describe(self) -> str:
        """One line for people: how much there is, from when to when, and everything that was not in order."""
        said = [
            f"{self.symbol} {self.timeframe}: {self.n_bars} bars from {utc_text(self.first_ms)} to"
            f" {utc_text(self.last_ms)} in {len(self.files)} files"
        ]
        if self.n_gaps:
            treatment = "filled" if self.gap_policy == "ffill" else "missing"
            said.append(f"{self.n_gaps} gaps ({self.n_missing} bars {treatment})")
        said += [f"dropped {count} rows: {reason}" for reason, count in self.dropped]
        if self.n_overlapping:
            said.append(f"{self.n_overlapping} bars in more than one file, alike")
        if self.jumps.n_jumps:
            said.append(self.jumps.describe())
        if self.ignored:
            said.append(f"ignored {', '.join(self.ignored)}")
        return "; ".join(said)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the folder, as JSON knows it, for run.json."""
        told = asdict(self)
        del told["folder"]
        told["gaps"] = [gap._asdict() for gap in self.gaps]
        told["dropped"] = dict(self.dropped)
        first, largest = (jump and jump._asdict() for jump in self.jumps[1:])
        told["jumps"] = {"n_jumps": self.jumps.n_jumps, "first": first, "largest": largest}
        return told


def available_series(research_dir: Path) -> list[tuple[str, str]]:
    """(symbol, timeframe) of every folder that holds candle files, sorted; none if `research_dir` is missing."""
    folders = {path.parent for path in research_dir.glob("*/*/*") if is_candle_file(path)}
    series = [(folder.parent.name, folder.name) for folder in folders]
    return sorted((symbol_name(name), frame) for name, frame in series if not name.startswith("."))


def scan_series(
    research_dir: Path,
    symbol: str,
    timeframe: str,
    gap_policy: GapPolicy,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> SeriesScan:
    """Read and check every file of a series once; bars with start_ms <= timestamp < end_ms count.

    Memory does not depend on the length. DataError, naming file and line, for every fault the policy does not allow,
    for a missing series (lists those that exist) and for a window without bars; ConfigError for a wrong timeframe.
    """
    interval_ms(timeframe)
    folder, paths, ignored = _candle_paths(research_dir, symbol, timeframe)
    window = Window(start_ms, end_ms)
    return _scan(folder, paths, ignored, symbol, timeframe, gap_policy, window)


def scan_file(path: Path, symbol: str, timeframe: str, gap_policy: GapPolicy) -> SeriesScan:
    """As `scan_series`, for one candle file that may lie anywhere (.csv, .csv.gz or .zip)."""
    if not is_candle_file(path) or not path.is_file():
        raise DataError(f"{path}: must be a file .csv, .csv.gz or .zip, is not; check the path")
    return _scan(path.parent, [path], (), symbol, timeframe, gap_policy, Window(None, None))


def _scan(
    folder: Path,
    paths: Sequence[Path],
    ignored: tuple[str, ...],
    symbol: str,
    timeframe: str,
    gap_policy: GapPolicy,
    window: Window,
) -> SeriesScan:
    step_ms = interval_ms(timeframe)
    heads = sorted((read_head(path, step_ms) for path in paths), key=_by_first_row)
    files = [CandleFile(head, step_ms, drop=gap_policy == "drop") for head in heads]
    hashes = [file_sha256(file.head.path) for file in files]
    jumps = JumpTally(step_ms, window.holds)
    tally = _Tally(GapTally(step_ms, window), heads, refuse_gaps=gap_policy == "error")
    tally.take(_policed(files, gap_policy, window, tally, jumps))
    if not tally.n_bars:
        raise _nothing_in_window(folder, files, window)
    dropped = sum((file.check.dropped for file in files), Counter[str]())
    return SeriesScan(
        folder=folder,
        symbol=symbol,
        timeframe=timeframe,
        gap_policy=gap_policy,
        start_ms=window.start_ms,
        end_ms=window.end_ms,
        files=tuple(_file_scan(file, sha256) for file, sha256 in zip(files, hashes, strict=True)),
        ignored=ignored,
        n_bars=tally.n_bars,
        first_ms=tally.first_ms,
        last_ms=tally.last_ms,
        gaps=tuple(tally.gaps.gaps),
        n_gaps=tally.gaps.n_gaps,
        n_missing=tally.gaps.n_missing,
        dropped=tuple(sorted(dropped.items())),
        n_overlapping=tally.n_overlapping,
        sha256=tally.content.hexdigest(),
        jumps=jumps.count,
    )


def read_series(
    scan: SeriesScan, *, from_ms: int | None = None, block_rows: int = 20_000
) -> Iterator[BarArray]:
    """The bars of a scanned series from `from_ms` on, in blocks of `block_rows` (the last may be shorter).

    Ascending and unique across blocks, policy and window applied, `n_bars` in all without `from_ms`; blocks do not
    share memory. DataError when a file has changed since the scan.
    """
    if block_rows < 1:
        raise ConfigError(f"block_rows must be >= 1, was {block_rows}")
    starts = [start for start in (scan.start_ms, from_ms) if start is not None]
    window = Window(max(starts, default=None), scan.end_ms)
    step_ms = interval_ms(scan.timeframe)
    needed_from_ms = _needed_from_ms(scan, window.start_ms)
    files = [
        _ScannedFile(scan.folder / file.name, file, step_ms, drop=scan.gap_policy == "drop")
        for file in scan.files
        if needed_from_ms is None or file.last_ms >= needed_from_ms
    ]
    blocks: Blocks = merged(files, lambda _: None)
    if scan.gap_policy == "ffill":
        blocks = filled(blocks, step_ms)
    yield from in_blocks_of(clipped(blocks, window, stop_at_end=True), block_rows)


class _ScannedFile:
    """A file that must still be what the scan saw when its turn comes to be read."""

    def __init__(self, path: Path, scanned: FileScan, step_ms: int, *, drop: bool) -> None:
        self.head = read_head(path, step_ms)
        self._scanned = scanned
        self._step_ms = step_ms
        self._drop = drop

    def blocks(self) -> Iterator[BarArray]:
        if file_sha256(self.head.path) != self._scanned.sha256:
            raise DataError(
                f"{self.head.path}:1: the file must not change during a run, but its SHA-256 is not that of the scan;"
                " put it back, or start a new run"
            )
        yield from CandleFile(self.head, self._step_ms, drop=self._drop).blocks()


class _Tally:
    """Sums up a stream of bars without keeping them."""

    def __init__(self, gaps: GapTally, heads: Sequence[FileHead], *, refuse_gaps: bool) -> None:
        self.gaps = gaps
        self.n_bars = 0
        self.n_overlapping = 0
        self.first_ms = -1
        self.last_ms = -1
        self.content = hashlib.sha256()
        self._heads = heads
        self._refuse_gaps = refuse_gaps

    def take(self, blocks: Blocks) -> None:
        for bars in blocks:
            if not self.n_bars:
                self.first_ms = int(bars["timestamp"][0])
            self.last_ms = int(bars["timestamp"][-1])
            self.n_bars += len(bars)
            self.content.update(bars.astype(BAR_DTYPE, copy=False).tobytes())

    def overlap(self, n_bars: int) -> None:
        self.n_overlapping += n_bars

    def gap(self, gap: Gap) -> None:
        if not self._refuse_gaps:
            return
        for head in self._heads:
            line = line_of(head, gap.before_ms) if head.first_ms <= gap.before_ms else None
            if line is not None:
                raise DataError(
                    f"{head.path}:{line}: a gap: {gap.n_missing} bars are missing between {utc_text(gap.after_ms)} and"
                    f" {utc_text(gap.before_ms)}; fetch them or set GAP_POLICY to keep or ffill"
                )


def _policed(
    files: Sequence[CandleFile],
    gap_policy: GapPolicy,
    window: Window,
    tally: _Tally,
    jumps: JumpTally,
) -> Blocks:
    # Filled before it is cut, so that a window that starts in a gap starts with the close before it.
    blocks = jumps.watch(tally.gaps.watch(merged(files, tally.overlap), tally.gap))
    if gap_policy == "ffill":
        blocks = filled(blocks, tally.gaps.step_ms)
    return clipped(blocks, window, stop_at_end=False)


def _by_first_row(head: FileHead) -> tuple[int, str]:
    return head.first_ms, head.path.name


def _file_scan(file: CandleFile, sha256: str) -> FileScan:
    unit, first_ms = file.check.unit, file.head.first_ms
    assert unit is not None, "a file without rows is refused by its head"
    last_ms = max(first_ms, file.check.newest_ms)
    return FileScan(file.head.path.name, sha256, unit.name, file.n_rows, first_ms, last_ms)


def _candle_paths(
    research_dir: Path, symbol: str, timeframe: str
) -> tuple[Path, list[Path], tuple[str, ...]]:
    folder = research_dir / path_name(symbol) / timeframe
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [path for path in entries if is_candle_file(path)]
    if not paths:
        series = [f"{name} {frame}" for name, frame in available_series(research_dir)]
        listed = ", ".join(series[:_MAX_LISTED_SERIES]) or "nothing"
        raise DataError(
            f"{folder}: there must be candles of {symbol} {timeframe} here (.csv, .csv.gz or .zip) and there are none;"
            f" found {listed}; put files there, or change RESEARCH_DIR, SYMBOLS or TIMEFRAME"
        )
    visible = (path.name for path in entries if not path.name.startswith("."))
    return folder, paths, tuple(name for name in visible if not is_candle_file(folder / name))


def _needed_from_ms(scan: SeriesScan, start_ms: int | None) -> int | None:
    """Files that end before this need not be read; filling needs the last close before the window as well."""
    if start_ms is None or scan.gap_policy != "ffill":
        return start_ms
    return max((file.last_ms for file in scan.files if file.last_ms < start_ms), default=start_ms)


def _nothing_in_window(folder: Path, files: Sequence[CandleFile], window: Window) -> DataError:
    start, end = (None if ms is None else utc_text(ms) for ms in window)
    first_ms = min(file.head.first_ms for file in files)
    last_ms = max(max(file.check.newest_ms, file.head.first_ms) for file in files)
    return DataError(
        f"{folder}: there must be bars in the window, there are none with START_TS={start} <= timestamp < END_TS={end};"
        f" the files reach from {utc_text(first_ms)} to {utc_text(last_ms)}"
    )
