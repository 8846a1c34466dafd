"""Calls that may hang, with an end to the waiting: a name server or a dripping answer is no read timeout."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")


def within(limit_s: float, call: Callable[[], _T]) -> _T:
    """What `call` returns or raises; TimeoutError when it has done neither after `limit_s`.

    It runs in a thread of its own, which is then left to itself: what it does late, it does all the same.
    """
    results: SimpleQueue[tuple[_T | None, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except Exception as error:
            results.put((None, error))

    # A daemon: a program that ends does not wait for it.
    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = results.get(timeout=limit_s)
    except Empty:
        raise TimeoutError(f"no end after {limit_s:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
