"""Named points at which a test may end the process, to prove that every one of them is survivable.

A point costs one comparison when no plan is installed. Only the outermost layer of a process installs one.
"""

from __future__ import annotations

from collections.abc import Callable

#: What runs at each point; None outside tests.
_handler: Callable[[str], None] | None = None


def install(handler: Callable[[str], None] | None) -> None:
    """Call `handler(name)` at every point from now on; None removes it."""
    global _handler
    _handler = handler


def hit(name: str) -> None:
    """Mark a point: `<part>.<what>.<before|after>`, for example `ledger.publish.before_commit`."""
    if _handler is not None:
        _handler(name)
