"""What the driver keeps for each instrument and book: answers read ahead, and how far they hold."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from mei.loop.engine import Leg
from mei.loop.feed import SymbolFeed
from mei.loop.portfolio import Portfolio, Seat
from mei.loop.ports import PolicyPoint, PresetRows, Regimes


class ReadAhead:
    """A leg or a seat, and the presets read ahead for it: rows for bars number `start` to `end - 1`.

    A closed trade teaches the policy something, so rows from its bar on are thrown away and asked again;
    `batch_bars` shrinks then and grows again, since a batch answers exactly what single requests would.
    """

    __slots__ = ("batch_bars", "end", "is_tuned", "merged", "point", "rows", "start", "tuned")

    def __init__(self, tuned: Leg | Seat, batch_bars: int, *, is_tuned: bool = True) -> None:
        self.tuned = tuned
        #: Whether the policy knows presets of this strategy; otherwise its settings stand for the whole run.
        self.is_tuned = is_tuned
        self.batch_bars = batch_bars
        self.rows: PresetRows | None = None
        self.start = self.end = 0
        #: Policy state after bar `start - 1`.
        self.point = PolicyPoint()
        #: Preset -> its parameters merged over the strategy's settings.
        self.merged: dict[str, dict[str, Any]] = {}

    def point_before(self, bar: int) -> PolicyPoint:
        """The policy state after bar number `bar - 1`."""
        if self.rows is None or bar == self.start:
            return self.point
        return self.rows.point(bar - 1 - self.start)

    def accept(self, rows: PresetRows, bar: int) -> None:
        """Use `rows` from bar number `bar` on."""
        self.point = self.point_before(bar)
        self.rows, self.start, self.end = rows, bar, bar + len(rows.preset)
        settings = self.tuned.settings
        self.merged = {name: {**settings, **values} for name, values in rows.presets.items()}


class LegBook(ReadAhead):
    """Of a strategy that trades this instrument alone."""

    __slots__ = ("leg",)

    def __init__(self, leg: Leg, batch_bars: int, *, is_tuned: bool = True) -> None:
        super().__init__(leg, batch_bars, is_tuned=is_tuned)
        self.leg = leg


class SeatBook(ReadAhead):
    """Of a strategy that trades all instruments."""

    __slots__ = ("portfolio", "seat")

    def __init__(
        self, portfolio: Portfolio, seat: Seat, batch_bars: int, *, is_tuned: bool = True
    ) -> None:
        super().__init__(seat, batch_bars, is_tuned=is_tuned)
        self.portfolio = portfolio
        self.seat = seat


class SymbolBook:
    """An instrument: its feed, legs and seats, and the regimes read ahead for bars number `start` to `end - 1`."""

    __slots__ = (
        "as_of_ms",
        "chunk_start",
        "end",
        "feed",
        "has_new_chunk",
        "is_trained",
        "last_close_px",
        "legs",
        "regimes",
        "seats",
        "start",
    )

    def __init__(
        self, feed: SymbolFeed, legs: list[LegBook], seats: Sequence[SeatBook] = ()
    ) -> None:
        self.feed = feed
        self.legs = legs
        self.seats = seats
        self.regimes: Regimes | None = None
        self.as_of_ms: list[int] = []
        self.start = self.end = 0
        #: Number of the first bar that is not in a registered chunk yet.
        self.chunk_start = 0
        self.last_close_px: float | None = None
        #: A first model has been promoted (what `TRAINING=first_only` waits for).
        self.is_trained = False
        #: A chunk was registered since the last training that was asked for.
        self.has_new_chunk = False

    @property
    def read_ahead(self) -> list[ReadAhead]:
        """All books of the instrument, legs first."""
        return [*self.legs, *self.seats]

    def accept(self, regimes: Regimes, as_of_ms: list[int], bar: int) -> None:
        """Use `regimes` from bar number `bar` on."""
        self.regimes, self.as_of_ms = regimes, as_of_ms
        self.start, self.end = bar, bar + len(as_of_ms)

    def cut_from_ms(self, from_ms: int) -> None:
        """Throw away what was read ahead for closes at or after `from_ms`: another model serves there."""
        kept = bisect_left(self.as_of_ms, from_ms, 0, self.end - self.start)
        self.end = self.start + kept
        for book in self.read_ahead:
            book.end = min(book.end, max(self.end, book.start))

    def features(self, row: int, n_states: int) -> dict[str, float | None]:
        """The policy's context of one row: regime probabilities and the volatility z-score."""
        columns = self.feature_columns(row, row + 1, n_states)
        return {name: values[0] for name, values in columns.items()}

    def feature_columns(self, first: int, end: int, n_states: int) -> dict[str, list[float | None]]:
        """Columns of the policy's context for rows `first` to `end - 1`; null before the first model."""
        regimes = self.regimes
        assert regimes is not None, "features are asked after regimes"
        columns: dict[str, list[float | None]] = {}
        for state in range(n_states):
            column = regimes.probabilities[state][first:end] if regimes.probabilities else None
            columns[f"regime_{state}"] = column or [None] * (end - first)
        columns["volatility_z"] = regimes.volatility_z[first:end]
        return columns
