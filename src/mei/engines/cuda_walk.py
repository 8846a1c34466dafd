"""The kernel of Mei Alpha sweeps: one thread a configuration. Importing it needs numba-cuda (or its simulator)."""

from importlib import import_module
from typing import Any

from mei.rules.mei_alpha.tally import Grouping
from mei.rules.mei_alpha.world import State
from mei.rules.mei_alpha.worlds import Worlds, walk_one

cuda: Any = import_module("numba.cuda")


def walk_kernel(
    worlds: Worlds,
    world_of: Any,
    risks: Any,
    balance_usd: float,
    first_walked: int,
    states: State,
    grouping: Grouping,
    tallies: Any,
    groups: Any,
) -> None:
    """Configuration `number` of `walk_one` for the thread of this number."""
    number = cuda.grid(1)
    if number < len(tallies):
        walk_one(
            worlds,
            world_of,
            risks,
            number,
            balance_usd,
            first_walked,
            states,
            grouping,
            tallies,
            groups,
        )
