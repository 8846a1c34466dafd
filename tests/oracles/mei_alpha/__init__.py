"""Mei Alpha in plain Python, written from the specification alone; shares no code with the rules or the engine.

`replay` runs any set of the switches of docs/concepts/semantics.md, `snapshots` gives the indicators of a series. Slow
and obvious on purpose: floats, lists and dicts, one function per paragraph of the specification.
"""

from tests.oracles.mei_alpha.defaults import DEFAULTS
from tests.oracles.mei_alpha.engine import Result, replay, snapshots
from tests.oracles.mei_alpha.switches import REFERENCE, STRICT

__all__ = ["DEFAULTS", "REFERENCE", "STRICT", "Result", "replay", "snapshots"]
