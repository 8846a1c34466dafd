"""What a paper trader remembers of its switches, and when a loss throws one.

Judged at the points of the equity curve alone, one after another: however boundaries are taken together, a switch is
thrown at the same point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from mei.model.bars import DAY_MS
from mei.workflows.paper.request import CLOSE_ONLY, HALT_ALL, MODES, RUN, Limits

DRAWDOWN, DAILY_LOSS = "drawdown", "daily_loss"
#: Audit events by what threw the switch.
KILL_EVENTS = {DRAWDOWN: "RISK_KILL_DRAWDOWN", DAILY_LOSS: "RISK_KILL_DAILY_LOSS"}


@dataclass(frozen=True, slots=True)
class Memory:
    """kill: DRAWDOWN, DAILY_LOSS or empty, killed_ms: the point that threw it. pause: the mode that an operator asked
    for, else empty. is_halted: no step was taken since halt_all. day: UTC day (number since the epoch) of the newest
    point, day_start_usd: equity it began with. last_usd: newest point. peak_usd: highest point, or the one of the last
    resume. mode: as last told. series: labels of the bars, main, exit, entry. told: bars found late or changed.
    pause_file: absolute path of the one that is watched, empty = none is, None = not noted; pause_folder: see
    `request.folder_id`.
    """

    kill: str = ""
    killed_ms: int | None = None
    pause: str = ""
    is_halted: bool = False
    day: int | None = None
    day_start_usd: float | None = None
    last_usd: float | None = None
    peak_usd: float | None = None
    mode: str = RUN
    series: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    pause_file: str | None = None
    pause_folder: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON carries it."""
        return asdict(self)

    @property
    def day_is_over_ms(self) -> int:
        """When the UTC day of the newest point ends, epoch ms."""
        return ((self.day or 0) + 1) * DAY_MS


@dataclass(frozen=True, slots=True)
class Trip:
    """A switch thrown. at_ms: the point. from_usd: what was lost from, lost_pct: how much of it, limit_pct: allowed."""

    kind: str
    at_ms: int
    equity_usd: float
    from_usd: float
    lost_pct: float
    limit_pct: float


def memory_of(content: Mapping[str, Any] | None) -> Memory:
    """From what `plain` gave; None = nothing remembered."""
    known = {field.name for field in fields(Memory)}
    found = {name: value for name, value in (content or {}).items() if name in known}
    found |= {name: tuple(found[name] or ()) for name in ("series", "told") if name in found}
    return Memory(**found)


def follow(
    memory: Memory, points: Iterable[tuple[int, float]], limits: Limits
) -> tuple[Memory, Trip | None]:
    """The memory after the points (epoch ms UTC, equity in USD), up to and with the first that throws a switch."""
    for at_ms, equity_usd in points:
        # A point at midnight is the last of its day: what becomes known then happened before.
        day = (at_ms - 1) // DAY_MS
        if day != memory.day:
            began_usd = equity_usd if memory.last_usd is None else memory.last_usd
            memory = replace(memory, day=day, day_start_usd=began_usd)
        peak_usd = equity_usd
        if memory.peak_usd is not None and memory.peak_usd > equity_usd:
            peak_usd = memory.peak_usd
        memory = replace(memory, last_usd=equity_usd, peak_usd=peak_usd)
        trip = _trip(memory, at_ms, equity_usd, limits)
        if trip is not None:
            return replace(memory, kill=trip.kind, killed_ms=at_ms), trip
    return memory, None


def resumed(memory: Memory) -> Memory:
    """The memory after an operator's resume: losses count from the newest point on."""
    return replace(
        memory,
        kill="",
        killed_ms=None,
        pause="",
        peak_usd=memory.last_usd,
        day_start_usd=memory.last_usd,
    )


def mode_of(memory: Memory, paused: str) -> tuple[str, str]:
    """The mode and why: the strictest of the pause file's (`paused`, empty = none), an operator's, and a kill's."""
    asked = [(RUN, "")]
    if memory.kill:
        asked.append((CLOSE_ONLY, f"kill switch: {memory.kill}"))
    if memory.pause:
        asked.append((memory.pause, "asked for over HTTP"))
    if paused:
        asked.append((paused, "pause file"))
    strictest = max(asked, key=lambda one: MODES.index(one[0]))
    why = "; ".join(reason for mode, reason in asked if mode == strictest[0] and reason)
    return strictest[0], why


def paused_by(path: str | None) -> tuple[str, str | None]:
    """The mode a pause file asks for (empty = none), and a fault of the file, in words.

    A file that is there and says nothing known stops entries.
    """
    if path is None:
        return "", None
    try:
        with open(path, "rb") as file:  # noqa: PTH123 — one read, no path object made each time
            text = file.read(256).decode(errors="replace").strip().lower()
    except FileNotFoundError:
        return "", None
    except OSError as error:
        return CLOSE_ONLY, f"{path}: a pause file must be readable, was not ({error.strerror})"
    if text in (CLOSE_ONLY, HALT_ALL):
        return text, None
    return CLOSE_ONLY, (
        f"{path}: a pause file must say {CLOSE_ONLY} or {HALT_ALL}, says {text[:40]!r}: taken as {CLOSE_ONLY}"
    )


def _trip(memory: Memory, at_ms: int, equity_usd: float, limits: Limits) -> Trip | None:
    for kind, from_usd, limit_pct in (
        (DRAWDOWN, memory.peak_usd, limits.max_drawdown_pct),
        (DAILY_LOSS, memory.day_start_usd, limits.max_daily_loss_pct),
    ):
        if memory.kill == DRAWDOWN or memory.kill == kind or limit_pct <= 0.0:
            continue
        if from_usd is None or not from_usd > 0.0:
            continue
        lost_pct = (from_usd - equity_usd) / from_usd * 100.0
        if lost_pct >= limit_pct:
            return Trip(kind, at_ms, equity_usd, from_usd, lost_pct, limit_pct)
    return None
