"""The kernels of momentum_breakout sweeps. Importing it needs numba-cuda (or its simulator)."""

from importlib import import_module
from typing import Any

from mei.engines.momentum_breakout_threads import (
    Accounts,
    Leaps,
    Portfolios,
    find_exit,
    leap,
    walk_portfolio,
)

cuda: Any = import_module("numba.cuda")

#: What the kernels call that is no rule, to be compiled with them (`cuda_code.ptx_of`).
PARTS = {"find_exit": find_exit, "leap": leap, "walk_portfolio": walk_portfolio}


def exits_kernel(leaps: Leaps) -> None:
    """Cell `number` of `find_exit` for the thread of this number."""
    number = cuda.grid(1)
    if number < leaps.keys.size:
        find_exit(number, leaps)


def leaps_kernel(
    leaps: Leaps, group_of: Any, cases: Any, terms: Any, days: Any, tallies: Any, groups: Any
) -> None:
    """Configuration `number` of `leap` for the thread of this number."""
    number = cuda.grid(1)
    if number < len(tallies):
        leap(number, leaps, group_of, cases, terms, days, tallies, groups)


def portfolios_kernel(
    market: Portfolios, group_of: Any, terms: Any, accounts: Accounts, tallies: Any, groups: Any
) -> None:
    """Configuration `number` of `walk_portfolio` for the thread of this number."""
    number = cuda.grid(1)
    if number < len(tallies):
        walk_portfolio(number, market, group_of, terms, accounts, tallies, groups)
