"""Around a strategy's own code: its errors named, and what it keeps checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mei.loop.execution import Book
from mei.model.errors import MeiError, StrategyError
from mei.strategies.base import PortfolioStrategy, Strategy


def hook_error(book: Book, hook: str, open_ms: int | None, error: Exception) -> StrategyError:
    """What to raise for whatever a strategy's hook raised: it names strategy, instrument and bar."""
    when = "" if open_ms is None else f" at the bar that opened at {open_ms}"
    return StrategyError(
        f"strategy {book.strategy} failed in {hook} on {book.instrument}{when}: "
        f"{type(error).__name__}: {' '.join(str(error).split())}"
    )


@contextmanager
def strategy_hook(book: Book, hook: str) -> Iterator[None]:
    """Around a hook that is not called at every bar: errors that are not ours become `hook_error`."""
    try:
        yield
    except MeiError:
        raise
    except Exception as error:
        raise hook_error(book, hook, None, error) from error


def kept_state(book: Book, strategy: Strategy | PortfolioStrategy) -> dict[str, Any]:
    """What the strategy keeps for a restart. Raises StrategyError unless JSON carries it as it is."""
    with strategy_hook(book, "state"):
        state = strategy.state()
    fault = json_fault(state)
    if fault is not None:
        raise StrategyError(
            f"what strategy {book.strategy} keeps must come back from JSON as it was, {fault}: "
            "keep plain finite numbers, text, lists and dicts with text keys, or override state() and restore()"
        )
    return state


def json_fault(value: Any, path: str = "state") -> str | None:
    """What in `value` would not come back from JSON as it is: None, or where and what, in words."""
    kind = type(value)
    if value is None or kind in (bool, str):
        return None
    if kind is int:
        return None if abs(value) < 2**63 else f"{path} is {value}, beyond 64 bits"
    if kind is float:
        return None if math.isfinite(value) else f"{path} is {value}"
    if kind is list:
        faults = (json_fault(item, f"{path}[{i}]") for i, item in enumerate(value))
        return next((fault for fault in faults if fault is not None), None)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                return f"{path} has the key {key!r}"
            fault = json_fault(item, f"{path}.{key}")
            if fault is not None:
                return fault
        return None
    return f"{path} is a {kind.__module__}.{kind.__qualname__}"
