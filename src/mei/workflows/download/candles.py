"""One series of candles, from what is missing in its database to a database in which nothing is.

The window goes up the grid page by page. A page is written in one transaction together with what turned out to be
empty in it, so that the file is at every moment complete up to where the download was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from mei.data.candle_writer import CandleWriter, EmptyRun, SeenHole, Series
from mei.data.price_jumps import Jump
from mei.data.stamps import grid_offset_ms, time_text
from mei.model import faults
from mei.model.bars import DAY_MS, interval_ms
from mei.model.errors import ConfigError, MeiError
from mei.workflows.download.exchange import Exchange
from mei.workflows.download.holes import SEEN_AGAIN_MS, judge
from mei.workflows.download.joints import Joints
from mei.workflows.download.page import (
    Page,
    Slots,
    bar_array,
    faults_text,
    read_page,
    runs_of_slots,
)
from mei.workflows.download.patience import Patience

#: A candle counts as closed so long after its end on the exchange's clock: the last trades are booked then.
SETTLE_MS = 2_000
#: How often a hole is asked for again before it is taken to be empty, and how long to wait before each, s.
HOLE_ATTEMPTS = 2
HOLE_WAIT_S = 1.0
#: Between two lines on how far it is, ms.
_TELL_EVERY_MS = 5_000
_WEEK_MS = 7 * DAY_MS
#: Open holes named in a line.
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Means:
    """What a download works with. now_ms: the local clock, for rates and progress only."""

    exchange: Exchange
    patience: Patience
    now_ms: Callable[[], int]
    tell: Callable[[str], None]
    hole_wait_s: float = HOLE_WAIT_S


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What became of a series. through_ms: open up to which nothing is missing, None = from the start on.

    last_ms: the newest open that was asked for (the newest closed one, or the end asked for). n_empty: slots noted as
    empty now; n_faulty: rows that were no candles. holes: opens without a bar before the newest bar, first and last,
    that stay open: they are asked for again. jumps: of prices, where new bars join bars that were there.
    """

    series: Series
    first_ms: int
    last_ms: int
    through_ms: int | None
    n_new: int
    n_empty: int
    n_faulty: int
    took_ms: int
    holes: tuple[tuple[int, int], ...] = ()
    jumps: tuple[Jump, ...] = ()

    def describe(self) -> str:
        """One line for people."""
        rate = f", {self.n_new * 1000 / self.took_ms:,.0f} bars/s" if self.took_ms > 0 else ""
        said = [f"{self.n_new} new bars{rate}"]
        if self.n_empty:
            said.append(f"{self.n_empty} noted as empty")
        if self.n_faulty:
            said.append(f"{self.n_faulty} rows were no candles")
        if self.last_ms < self.first_ms:
            said.append("no candle is closed yet")
        elif self.through_ms is None:
            said.append(f"nothing there from {time_text(self.first_ms)} on")
        else:
            said.append(f"complete through {time_text(self.through_ms)}")
            if self.through_ms < self.last_ms and not self.holes:
                said.append(f"nothing there after it, up to {time_text(self.last_ms)}")
        said += self._open_holes()
        return f"{self.series.symbol} {self.series.interval}: {', '.join(said)}"

    def warnings(self) -> list[str]:
        """A line for each jump."""
        return jump_lines(self.series, self.jumps)

    def _open_holes(self) -> list[str]:
        if not self.holes:
            return []
        shown = [
            f"{time_text(first)} to {time_text(last)}" for first, last in self.holes[:_MOST_NAMED]
        ]
        more = f" and {len(self.holes) - _MOST_NAMED} more" if len(self.holes) > _MOST_NAMED else ""
        return [f"holes still open, to be asked for again: {', '.join(shown)}{more}"]


def jump_lines(series: Series, jumps: Iterable[Jump]) -> list[str]:
    """A line for each jump of prices where new bars join bars that were there."""
    return [
        f"Warning: {series.symbol} {series.interval}: new bars must go on from those that were there, the price jumps "
        f"at {jump.describe()}: check whether two markets were glued together (another --candles-dir keeps them apart)"
        for jump in jumps
    ]


def require_grid(timeframe: str) -> int:
    """Length of a bar in ms. ConfigError for a timeframe whose bars have no grid of their own: 3d, 5h, a month."""
    step_ms = interval_ms(timeframe)
    if DAY_MS % step_ms and step_ms != _WEEK_MS:
        raise ConfigError(
            f"--timeframe must divide a day or be 1w, was {timeframe!r}: download a shorter one and make it with "
            "import-candles --resample"
        )
    return step_ms


def window_of(step_ms: int, since_ms: int, until_ms: int | None, server_ms: int) -> Slots:
    """The opens at or after `since_ms` and before `until_ms` whose bars are closed on the exchange's clock."""
    offset_ms = grid_offset_ms(step_ms)
    first_ms = -(-(since_ms - offset_ms) // step_ms) * step_ms + offset_ms
    closed_ms = (server_ms - SETTLE_MS - offset_ms) // step_ms * step_ms + offset_ms - step_ms
    if until_ms is None:
        return Slots(first_ms, closed_ms, step_ms)
    before_ms = (until_ms - 1 - offset_ms) // step_ms * step_ms + offset_ms
    return Slots(first_ms, min(closed_ms, before_ms), step_ms)


def download_series(
    series: Series, writer: CandleWriter, window: Slots, means: Means, server_ms: int
) -> SeriesReport:
    """Bring what is missing in `window`. server_ms: the exchange's clock when the window was made.

    Raises MeiError; what was written before stays and need not be asked again.
    """
    work = _Work(series, writer, window, means, server_ms)
    try:
        for first_ms, last_ms in writer.missing(series, window.first_ms, window.last_ms):
            work.fill(first_ms, last_ms)
        return work.report()
    except MeiError:
        # What is written stays, and the next run finds nothing to join there.
        for line in jump_lines(series, work.joints.jumps):
            means.tell(line)
        raise


_NOTHING = Page({}, None, {})


class _Work:
    """A series under way."""

    def __init__(
        self, series: Series, writer: CandleWriter, window: Slots, means: Means, server_ms: int
    ) -> None:
        """server_ms: the exchange's clock."""
        self._series = series
        self._writer = writer
        self._window = window
        self._server_ms = server_ms
        self._means = means
        self._page_rows = means.exchange.page_rows(series.market)
        ends = writer.ends(series)
        self._newest_ms = -1 if ends is None else ends[1]
        self.joints = Joints(series, writer, window.step_ms)
        self._started_ms = self._told_ms = means.now_ms()
        self._n_new = self._n_empty = self._n_faulty = 0
        #: First slot that no answer had a bar for, of those before the page; None = none.
        self._unproven_ms: int | None = None
        self._has_probed = False

    def fill(self, first_ms: int, last_ms: int) -> None:
        """Ask for a run of missing slots until every one is there, known to be empty, or newer than all bars."""
        step_ms = self._window.step_ms
        at_ms = first_ms
        self._unproven_ms, self._has_probed = None, False
        self.joints.open(first_ms)
        while at_ms <= last_ms:
            slots = Slots(at_ms, min(at_ms + (self._page_rows - 1) * step_ms, last_ms), step_ms)
            page = self._page(slots)
            if page.bars:
                at_ms = self._settled(slots, page)
                continue
            later_ms = page.later_ms or self._probe(slots)
            self._tell_faults(page)
            if later_ms is not None:
                at_ms = self._hole_before(slots, later_ms, last_ms, page)
                continue
            # Nothing here, and nothing told to come: the next window, and this one stays open.
            self._unproven_ms = at_ms if self._unproven_ms is None else self._unproven_ms
            at_ms = slots.last_ms + step_ms
        self.joints.close(last_ms)
        if self._unproven_ms is not None and self._newest_ms > last_ms:
            self._note_empty(self._unproven_ms, last_ms, _NOTHING)

    def report(self) -> SeriesReport:
        """What was done, and how far the series is complete now."""
        first_ms, last_ms, step_ms = self._window
        missing = self._writer.missing(self._series, first_ms, last_ms)
        ends = self._writer.ends(self._series)
        newest_ms = first_ms if ends is None else ends[1]
        through_ms = missing[0][0] - step_ms if missing else last_ms
        return SeriesReport(
            self._series,
            first_ms,
            last_ms,
            through_ms if through_ms >= first_ms else None,
            self._n_new,
            self._n_empty,
            self._n_faulty,
            self._means.now_ms() - self._started_ms,
            tuple(run for run in missing if run[1] < newest_ms),
            tuple(self.joints.jumps),
        )

    def _page(self, slots: Slots) -> Page:
        """An answer; asked again, a few times, where it has nothing or holes or nonsense up to its newest bar."""
        page = self._asked(slots, slots.last_ms + slots.step_ms - 1)
        for _ in range(HOLE_ATTEMPTS):
            if page.bars and not _missing_in(page, slots):
                break
            if not page.bars and self._has_probed:
                break
            self._means.patience.sleep(self._means.hole_wait_s)
            again = self._asked(slots, slots.last_ms + slots.step_ms - 1)
            page = _together(page, again)
        return page

    def _settled(self, slots: Slots, page: Page) -> int:
        """Write a page with bars, and what is empty before and in it; the slot to go on with."""
        step_ms = slots.step_ms
        empty = _runs_by_fault(_missing_in(page, slots), page, step_ms)
        if self._unproven_ms is not None:
            empty.insert(0, EmptyRun(self._unproven_ms, slots.first_ms - step_ms, "no bar"))
        self._write(page, empty)
        self._unproven_ms, self._has_probed = None, False
        return max(page.bars) + step_ms

    def _probe(self, slots: Slots) -> int | None:
        """Open of the first bar after `slots`, if the exchange leaps to it when no end is given; None = not told."""
        if self._has_probed:
            return None
        self._has_probed = True
        after = self._asked(slots, None)
        opens = [*after.bars, *([] if after.later_ms is None else [after.later_ms])]
        return min(opens, default=None)

    def _hole_before(self, slots: Slots, later_ms: int, last_ms: int, page: Page) -> int:
        """Note everything before `later_ms` as empty, up to `last_ms`; the slot to go on with."""
        empty_to_ms = min(later_ms - slots.step_ms, last_ms)
        first_ms = slots.first_ms if self._unproven_ms is None else self._unproven_ms
        if empty_to_ms >= first_ms:
            self._note_empty(first_ms, empty_to_ms, page)
        self._unproven_ms = None
        return later_ms

    def _note_empty(self, first_ms: int, last_ms: int, page: Page) -> None:
        """Note what has no bar in first_ms..last_ms; bars that are there already are no hole."""
        empty = [
            EmptyRun(first, last, "no bar")
            for first, last in self._writer.missing(self._series, first_ms, last_ms)
        ]
        if page.faults:
            step_ms = self._window.step_ms
            opens = [at for run in empty for at in range(run.first_ms, run.last_ms + 1, step_ms)]
            empty = _runs_by_fault(opens, page, step_ms)
        self._write(_NOTHING, empty)

    def _write(self, page: Page, empty: list[EmptyRun]) -> None:
        faults.hit("download.page.before_write")
        bars = bar_array(page.bars.values())
        empty, seen = self._judged(empty)
        self._n_new += self._writer.add(self._series, bars, empty, seen)
        self.joints.take(bars)
        self._tell_faults(page)
        for run in empty:
            n_slots = (run.last_ms - run.first_ms) // self._window.step_ms + 1
            self._n_empty += n_slots
            self._tell(
                f"{self._means.exchange.name} has {n_slots} bars less ({run.reason}), "
                f"{time_text(run.first_ms)} to {time_text(run.last_ms)}; noted, not asked for again"
            )
        if page.bars:
            self._progress(max(page.bars))

    def _judged(self, empty: list[EmptyRun]) -> tuple[list[EmptyRun], list[SeenHole]]:
        """What may be noted, and what is to be remembered as seen; what is left open for now is told."""
        if not empty:
            return [], []
        known = self._writer.seen_holes(self._series, empty[0].first_ms, empty[-1].last_ms)
        verdict = judge(empty, known, self._window.step_ms, self._server_ms)
        if verdict.young_ms is not None:
            self._tell(
                f"no bar yet at {time_text(verdict.young_ms)}; the next run asks for it again"
            )
        for hole in verdict.seen:
            n_slots = (hole.last_ms - hole.first_ms) // self._window.step_ms + 1
            self._tell(
                f"{self._means.exchange.name} told of no bar for {n_slots} slots, {time_text(hole.first_ms)} to "
                f"{time_text(hole.last_ms)}; left open: noted when a run in {SEEN_AGAIN_MS // 60_000} minutes or later "
                "finds the same"
            )
        return verdict.empty, verdict.seen

    def _tell_faults(self, page: Page) -> None:
        if page.faults:
            self._n_faulty += len(page.faults)
            self._tell(f"left out: {faults_text(page.faults)}")

    def _asked(self, slots: Slots, until_ms: int | None) -> Page:
        exchange, series = self._means.exchange, self._series
        what = f"{exchange.name} {series.market} {series.interval} at {time_text(slots.first_ms)}"

        def request() -> list[Any]:
            return exchange.candles(
                series.market, series.interval, slots.first_ms, until_ms, self._page_rows
            )

        rows = self._means.patience.ask(what, request)
        faults.hit("download.page.received")
        return read_page(rows, slots)

    def _progress(self, at_ms: int) -> None:
        now_ms = self._means.now_ms()
        if now_ms - self._told_ms < _TELL_EVERY_MS:
            return
        self._told_ms = now_ms
        first_ms, last_ms, step_ms = self._window
        done = 100.0 * (at_ms + step_ms - first_ms) / (last_ms + step_ms - first_ms)
        rate = self._n_new * 1000 / max(now_ms - self._started_ms, 1)
        self._tell(
            f"at {time_text(at_ms)}, {done:.1f} %, {self._n_new} new bars, {rate:,.0f} bars/s"
        )

    def _tell(self, line: str) -> None:
        self._means.tell(f"{self._series.symbol} {self._series.interval}: {line}")


def _missing_in(page: Page, slots: Slots) -> list[int]:
    """Slots up to the newest bar of a page that have none."""
    if not page.bars:
        return []
    wanted = range(slots.first_ms, max(page.bars), slots.step_ms)
    return [open_ms for open_ms in wanted if open_ms not in page.bars]


def _together(page: Page, again: Page) -> Page:
    """What two answers to one question hold; a candle of the later one counts."""
    bars = {**page.bars, **again.bars}
    wrong = {open_ms: said for open_ms, said in page.faults.items() if open_ms not in bars}
    wrong |= {open_ms: said for open_ms, said in again.faults.items() if open_ms not in bars}
    return replace(page, bars=bars, later_ms=again.later_ms or page.later_ms, faults=wrong)


def _runs_by_fault(opens: list[int], page: Page, step_ms: int) -> list[EmptyRun]:
    """Opens without a bar as runs, those where there was something impossible apart."""
    faulty = [open_ms for open_ms in opens if open_ms in page.faults]
    plain = [open_ms for open_ms in opens if open_ms not in page.faults]
    runs = [EmptyRun(*ends, "impossible") for ends in runs_of_slots(faulty, step_ms)]
    return sorted([*runs, *(EmptyRun(*ends, "no bar") for ends in runs_of_slots(plain, step_ms))])
