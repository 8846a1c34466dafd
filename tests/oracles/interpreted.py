"""Mei Alpha without the compiler: the engine with its rules bound as plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from mei.engines import mei_alpha, mei_alpha_market
from mei.engines.interpreted import bind_python


@contextmanager
def interpreted() -> Iterator[None]:
    """Inside, `mei.engines.mei_alpha.replay` runs the rules uncompiled; outside, everything is as before."""
    with (
        patch.object(mei_alpha, "bind_cpu", bind_python),
        patch.object(mei_alpha_market, "bind_cpu", bind_python),
    ):
        yield
