"""Small worlds for the ledger's tests: bars are numbered, times follow."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from sqlalchemy import Connection

from mei.ledger.claims import Claim, claim_series
from mei.ledger.database import Ledger
from mei.ledger.files import ChunkFile, register_file
from mei.ledger.publish import Publication, next_version, publish_training
from mei.ledger.series import BarRange, SeriesKey, TrainingRule

BAR_MS = 60_000
KEY = SeriesKey("backtest/0123456789ab", "BTC/USDT", "1m")


def bars(first: int, last: int) -> BarRange:
    """Bars number first..last, both inclusive."""
    return BarRange(first * BAR_MS, last * BAR_MS)


def numbers(ranges: list[BarRange]) -> list[tuple[int, int]]:
    """Ranges as bar numbers."""
    return [(span.first_ms // BAR_MS, span.last_ms // BAR_MS) for span in ranges]


def close_ms(bar: int) -> int:
    """When bar number `bar` is known."""
    return (bar + 1) * BAR_MS


def chunk(first: int, last: int, *, registered: int | None = None, salt: str = "") -> ChunkFile:
    """A file of the bars first..last, registered when bar `registered` (default: its last) closes."""
    name = f"{first}-{last}{salt}"
    return ChunkFile(
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        path=f"{name}.csv",
        first_ms=first * BAR_MS,
        last_ms=last * BAR_MS,
        n_bars=last - first + 1,
        registered_at_ms=close_ms(last if registered is None else registered),
    )


def gappy_chunk(*runs: tuple[int, int]) -> ChunkFile:
    """A file of several runs of bars."""
    whole = chunk(runs[0][0], runs[-1][1], salt="gappy")
    n_bars = sum(last - first + 1 for first, last in runs)
    return replace(whole, n_bars=n_bars, spans=tuple(bars(*run) for run in runs))


def register(ledger: Ledger, *files: ChunkFile, key: SeriesKey = KEY) -> list[bool]:
    """Register in one transaction."""
    with ledger.unit_of_work() as unit:
        news = [register_file(unit.connection, key, file) for file in files]
        unit.commit("register")
    return news


def claim(
    ledger: Ledger,
    bar: int,
    *,
    owner: str = "trainer",
    token: str | None = None,
    now_ms: int = 0,
    lease_ms: int = 1_000,
    key: SeriesKey = KEY,
) -> Claim:
    """Claim the series as of the close of `bar`."""
    with ledger.unit_of_work() as unit:
        taken = claim_series(
            unit.connection,
            key,
            as_of_ms=close_ms(bar),
            owner=owner,
            token=token or f"{owner}-{bar}-{now_ms}-{key.symbol}",
            now_ms=now_ms,
            lease_ms=lease_ms,
        )
        unit.commit("claim")
    return taken


def publication(
    taken: Claim,
    version: int,
    *fitted: tuple[int, int],
    mode: TrainingRule = "exactly_once",
    parent: int | None = None,
    promote: bool = False,
    latency_bars: int = 0,
) -> Publication:
    """What a trainer that fitted the bars `fitted` would publish."""
    ranges = tuple(bars(*run) for run in fitted)
    return Publication(
        claim=taken,
        version=version,
        parent_version=parent,
        trained_through_ms=max(span.last_ms for span in ranges) + BAR_MS,
        serves_from_ms=taken.as_of_ms + latency_bars * BAR_MS,
        path=f"models/{version}",
        sha256=f"{version:064x}",
        metrics_json="{}",
        mode=mode,
        fitted=ranges,
        n_fit=sum(last - first + 1 for first, last in fitted),
        promote=promote,
        reason="because",
        response_json=f'{{"version": {version}}}',
        seen_through_ms=max((file.last_ms for file in taken.files), default=0),
    )


def publish(conn: Connection, taken: Claim, *fitted: tuple[int, int], **more: object) -> int:
    """Publish in the caller's transaction; the version."""
    version = next_version(conn, taken.key.stream)
    publish_training(conn, publication(taken, version, *fitted, **more), now_ms=0)
    return version


def train(
    ledger: Ledger, bar: int, *fitted: tuple[int, int], key: SeriesKey = KEY, **more: object
) -> int:
    """Claim as of the close of `bar`, fit the bars `fitted`, publish; the version."""
    taken = claim(ledger, bar, key=key)
    with ledger.unit_of_work() as unit:
        version = publish(unit.connection, taken, *fitted, **more)
        unit.commit("publish")
    return version
