"""A card whose threads are calls, one after another, of the kernel's rule compiled for this machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from mei.engines.bind import Rule, bind_cpu
from mei.engines.cuda_device import Spent
from mei.engines.momentum_breakout_threads import find_exit, leap, walk_portfolio
from mei.rules.mei_alpha.worlds import walk_one

#: Kernel -> what its threads call, with their number first.
_MOMENTUM = {
    "exits_kernel": find_exit,
    "leaps_kernel": leap,
    "portfolios_kernel": walk_portfolio,
}


class HostCard:
    """A Card of `free` bytes. error_usd: added to every tally's fees, for a card that computes wrongly.

    sizes: threads of every launch of walks.
    """

    name = "this machine"

    def __init__(self, error_usd: float = 0.0, free: int = 1 << 30) -> None:
        self.error_usd = error_usd
        self.free = free
        self.spent = Spent()
        self.sizes: list[int] = []

    def free_bytes(self) -> int:
        return self.free

    def upload(self, host: Any) -> Any:
        # Laid out as everywhere on the CPU: numba takes aligned records for a kind of these, and warns.
        return np.array(host, order="C")

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        return np.zeros(shape, dtype=dtype)

    def download(self, array: Any, dtype: np.dtype[Any]) -> Any:
        return array.astype(dtype)

    def run(self, kernel: Rule, arguments: tuple[Any, ...], n_threads: int) -> None:
        if kernel.__name__ == "walk_kernel":
            worlds, world_of, risks, *others = arguments
            for number in range(n_threads):
                bind_cpu(walk_one)(worlds, world_of, risks, number, *others)
        else:
            thread = bind_cpu(_MOMENTUM[kernel.__name__])
            for number in range(n_threads):
                thread(number, *arguments)
        if kernel.__name__ != "exits_kernel":
            self.sizes.append(n_threads)
            if self.error_usd:
                arguments[-2]["fees"] += self.error_usd
