"""The market clock: bar closes, and the training cadence on them."""

from __future__ import annotations

MINUTE_MS = 60_000


def next_cadence_ms(after_ms: int, cron_minutes: int) -> int:
    """The first multiple of `cron_minutes` since the epoch that lies strictly after `after_ms`."""
    step_ms = cron_minutes * MINUTE_MS
    return (after_ms // step_ms + 1) * step_ms
