"""What trainer processes do to a ledger: train, stall, walk away, and die at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from mei.ledger.claims import Claim, claim_series
from mei.ledger.database import Ledger
from mei.ledger.files import register_file, registered_through_ms, watermark_ms
from mei.ledger.models import last_completed_fit
from mei.ledger.publish import Publication, next_version, publish_training
from mei.ledger.ranges import consumed_ranges
from mei.ledger.series import BarRange, SeriesKey, count_bars, merged, without
from mei.model import faults
from mei.model.errors import ClaimBusyError, FencedOffError
from tests.ledger.builders import BAR_MS, chunk

STREAM = "backtest/concurrent"
KEYS = [SeriesKey(STREAM, symbol, "1m") for symbol in ("BTC/USDT", "ETH/USDT")]
LEASE_MS = 80
#: What may become of a round, and how often.
FATES = {
    "publish": 6,
    "walk away": 2,
    "stall": 2,
    "die at claim.before_commit": 1,
    "die at claim.after_commit": 1,
    "die while fitting": 1,
    "die at publish.before_commit": 1,
    "die at publish.after_commit": 1,
}


class Journal:
    """One line an event, appended in one write, so that it survives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(f"{event}\n".encode())

    def events(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def now_ms() -> int:
    """Wall clock that all processes share and that nobody sets."""
    return time.monotonic_ns() // 1_000_000


def work(location: str, journal_path: Path, seed: int, n_rounds: int) -> None:
    """Be a trainer for `n_rounds` rounds, or until killed."""
    rng = random.Random(seed)
    journal = Journal(journal_path)
    fates = [fate for fate, weight in FATES.items() for _ in range(weight)]
    with Ledger.open(location) as ledger:
        for number in range(n_rounds):
            token = f"{seed}-{number}-{os.getpid()}"
            _round(ledger, journal, rng, token, rng.choice(fates))


def drain(location: str) -> int:
    """Train once more on everything that is left and five bars more; how many bars that were."""
    n_bars = 0
    with Ledger.open(location) as ledger:
        for key in KEYS:
            with ledger.unit_of_work() as unit:
                next_bar = (watermark_ms(unit.connection, key) or 0) // BAR_MS + 1
                register_file(unit.connection, key, chunk(next_bar, next_bar + 4))
                unit.commit("register")
            taken = _claim_patiently(ledger, key, "last trainer", f"last-{key.symbol}", 60_000)
            pending = _pending(ledger, taken)
            _publish(ledger, taken, pending)
            n_bars += count_bars(pending, BAR_MS)
    return n_bars


def _round(ledger: Ledger, journal: Journal, rng: random.Random, token: str, fate: str) -> None:
    if fate.startswith("die at "):
        faults.install(lambda point: _die_at(point, f"ledger.{fate.removeprefix('die at ')}"))
    else:
        faults.install(None)
    journal.write(f"round {fate}")
    key = rng.choice(KEYS)
    _deliver(ledger, key, rng)
    taken = _claim_patiently(ledger, key, f"trainer {token}", token)
    pending = _pending(ledger, taken)
    time.sleep(rng.random() * 0.01)
    if fate == "die while fitting":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "walk away":
        return
    if fate == "stall":
        time.sleep(LEASE_MS * 1.5 / 1000)
    if not pending:
        journal.write("nothing to fit")
        return
    # The newest tenth is validation: it stays pending.
    n_held_back = count_bars(pending, BAR_MS) // 10
    fitted = without(pending, [_newest(pending, n_held_back)], BAR_MS) if n_held_back else pending
    try:
        _publish(ledger, taken, fitted)
        journal.write(f"published {token}")
    except FencedOffError:
        journal.write("fenced off")


def _die_at(point: str, chosen: str) -> None:
    if point == chosen:
        os.kill(os.getpid(), signal.SIGKILL)


def _deliver(ledger: Ledger, key: SeriesKey, rng: random.Random) -> None:
    """The next chunk, overlapping what is there, and sometimes an old one again."""
    with ledger.unit_of_work() as unit:
        newest = registered_through_ms(unit.connection, key, 2**60)
        first = 0 if newest is None else newest // BAR_MS + 1 - rng.choice((0, 0, 3, 12))
        register_file(
            unit.connection, key, chunk(max(first, 0), max(first, 0) + rng.randint(5, 40))
        )
        if rng.random() < 0.3:
            register_file(unit.connection, key, chunk(0, 20, salt=str(rng.randint(0, 3))))
        unit.commit("register")


def _claim_patiently(
    ledger: Ledger, key: SeriesKey, owner: str, token: str, lease_ms: int = LEASE_MS
) -> Claim:
    while True:
        try:
            with ledger.unit_of_work() as unit:
                # Market time: past every file, and another one each time.
                as_of_ms = 10**12 + time.monotonic_ns() // 1_000
                taken = claim_series(
                    unit.connection, key, as_of_ms=as_of_ms, owner=owner, token=token,
                    now_ms=now_ms(), lease_ms=lease_ms,
                )  # fmt: skip
                unit.commit("claim")
            return taken
        except ClaimBusyError:
            time.sleep(0.005)


def _pending(ledger: Ledger, taken: Claim) -> list[BarRange]:
    with ledger.reader() as conn:
        consumed = consumed_ranges(conn, taken.key, "exactly_once")
    registered = merged((run for file in taken.files for run in file.runs()), BAR_MS)
    return without(registered, consumed, BAR_MS)


def _newest(ranges: list[BarRange], n_bars: int) -> BarRange:
    """A range that holds the newest `n_bars` of `ranges`, and perhaps a gap."""
    bars = [
        open_ms
        for span in ranges
        for open_ms in range(span.first_ms, span.last_ms + BAR_MS, BAR_MS)
    ]
    return BarRange(bars[-n_bars], bars[-1])


def _publish(ledger: Ledger, taken: Claim, fitted: list[BarRange]) -> None:
    with ledger.unit_of_work() as unit:
        conn = unit.connection
        parent = last_completed_fit(conn, taken.key, taken.as_of_ms)
        publication = Publication(
            claim=taken,
            version=next_version(conn, STREAM),
            parent_version=None if parent is None else parent.version,
            trained_through_ms=fitted[-1].last_ms + BAR_MS,
            serves_from_ms=taken.as_of_ms,
            path=taken.token,
            sha256="0" * 64,
            metrics_json="{}",
            mode="exactly_once",
            fitted=tuple(fitted),
            n_fit=count_bars(fitted, BAR_MS),
            promote=len(taken.token) % 2 == 0,
            reason="",
            response_json="{}",
            seen_through_ms=max(file.last_ms for file in taken.files),
        )
        publish_training(conn, publication, now_ms())
        unit.commit("publish")
