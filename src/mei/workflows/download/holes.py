"""Which slots without a bar may be noted as empty now, and which must be asked for again by a later run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mei.data.candle_writer import EmptyRun, SeenHole
from mei.data.stamps import grid_offset_ms

#: A hole that ended less than this ago, on the exchange's clock, stays open: a candle may come late.
YOUNG_MS = 600_000
#: A hole of more slots than this may be an exchange that has lost its data for a moment: two runs must find it ...
MOST_AT_ONCE = 10
#: ... that are so far apart on the exchange's clock, ms.
SEEN_AGAIN_MS = 600_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """empty: to be noted. seen: large holes that nobody saw before, to be remembered. young_ms: open of the first slot
    that is too young to be noted, None = there is none.
    """

    empty: list[EmptyRun]
    seen: list[SeenHole]
    young_ms: int | None


def judge(
    runs: Sequence[EmptyRun], known: Sequence[SeenHole], step_ms: int, server_ms: int
) -> Verdict:
    """Sort out slots for which the exchange has no bar, though it has later ones.

    runs, known: ascending, without overlaps, as found by this run and as remembered. server_ms: the exchange's clock.
    """
    empty: list[EmptyRun] = []
    seen: list[SeenHole] = []
    for hole in _touching(runs, step_ms):
        if (hole[-1].last_ms - hole[0].first_ms) // step_ms < MOST_AT_ONCE:
            empty += hole
            continue
        for run in hole:
            proved, fresh = _split(run, known, step_ms, server_ms)
            empty += proved
            seen += fresh
    newest_ms = _newest_old_ms(step_ms, server_ms)
    young = [max(run.first_ms, newest_ms + step_ms) for run in empty if run.last_ms > newest_ms]
    kept = [replace(run, last_ms=min(run.last_ms, newest_ms)) for run in empty]
    return Verdict(
        [run for run in kept if run.first_ms <= run.last_ms], seen, young[0] if young else None
    )


def _touching(runs: Sequence[EmptyRun], step_ms: int) -> list[list[EmptyRun]]:
    """Runs with nothing between them are one hole."""
    holes = [[run] for run in runs[:1]]
    for before, run in pairwise(runs):
        if run.first_ms == before.last_ms + step_ms:
            holes[-1].append(run)
        else:
            holes.append([run])
    return holes


def _split(
    run: EmptyRun, known: Sequence[SeenHole], step_ms: int, server_ms: int
) -> tuple[list[EmptyRun], list[SeenHole]]:
    """What of a run was seen long enough ago, and what was not seen yet."""
    proved: list[EmptyRun] = []
    fresh: list[SeenHole] = []
    at_ms = run.first_ms
    for hole in known:
        if hole.last_ms < at_ms or hole.first_ms > run.last_ms:
            continue
        if hole.first_ms > at_ms:
            fresh.append(SeenHole(at_ms, hole.first_ms - step_ms, server_ms))
        first_ms, last_ms = max(at_ms, hole.first_ms), min(run.last_ms, hole.last_ms)
        if hole.seen_ms <= server_ms - SEEN_AGAIN_MS:
            proved.append(EmptyRun(first_ms, last_ms, run.reason))
        at_ms = last_ms + step_ms
    if at_ms <= run.last_ms:
        fresh.append(SeenHole(at_ms, run.last_ms, server_ms))
    return proved, fresh


def _newest_old_ms(step_ms: int, server_ms: int) -> int:
    """The newest open that is no longer young."""
    offset_ms = grid_offset_ms(step_ms)
    return (server_ms - YOUNG_MS - step_ms - offset_ms) // step_ms * step_ms + offset_ms
