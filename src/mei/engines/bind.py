"""Rules compiled for a target machine: the same functions, another executor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from mei.jit import compiled


@cache
def bind_cpu(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule (a leaf: it calls no other rule) as machine code, cached on disk by the hash of all sources."""
    return compiled(rule)
