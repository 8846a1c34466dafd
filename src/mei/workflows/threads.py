"""How many threads a run takes."""

from __future__ import annotations

import os


def usual_threads() -> int:
    """One per CPU this process may use, unless RAYON_NUM_THREADS says otherwise (as in the reference)."""
    wanted = os.environ.get("RAYON_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0))
