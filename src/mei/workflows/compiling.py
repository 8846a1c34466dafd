"""How long compiling took, of a run that had to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def compile_seconds() -> Iterator[Callable[[], float]]:
    """What it yields says for how many seconds something was compiled in this process since, whichever thread did.

    Code that comes from the disk is not compiled: 0.
    """
    from numba.core.event import install_recorder

    with install_recorder("numba:compile") as recorder:
        yield lambda: seconds_of(recorder.buffer)


def seconds_of(events: Sequence[tuple[float, Any]]) -> float:
    """How long anything was going on. events: (seconds, what `is_start` or `is_end`), in order; they nest and overlap.

    One that has not ended counts up to the last event.
    """
    total_s = since_s = 0.0
    n_open = 0
    for at_s, event in events:
        if n_open:
            total_s += at_s - since_s
        since_s = at_s
        n_open += 1 if event.is_start else -1
    return total_s
