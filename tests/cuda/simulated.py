"""The card that numba's CUDA simulator is: kernels as Python threads, memory as arrays. Needs NUMBA_ENABLE_CUDASIM=1.

Run as a script it sweeps on the simulated card and on the CPU and compares rows, bit for bit.
"""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import numpy as np
from numba import cuda

from mei.engines.bind import Rule
from mei.engines.cuda_arguments import aligned
from mei.engines.cuda_device import Spent
from mei.engines.interpreted import with_attributes
from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_cuda import CudaSweep
from mei.engines.mei_alpha_sweep import Sweep
from mei.model.semantics import REFERENCE, STRICT
from mei.rules.mei_alpha.keys import DEFAULTS
from tests.oracles.mei_alpha.cases import LOOSE
from tests.sweeps.test_mei_alpha_sweep import columns_of, layout, market, random_overrides

_BLOCK = 4
_MOST_WALKS = 5


class SimulatedCard:
    """A Card of `free` bytes. sizes: threads of every launch."""

    name = "CUDA simulator"

    def __init__(self, free: int) -> None:
        self.free = free
        self.spent = Spent()
        self.sizes: list[int] = []

    def free_bytes(self) -> int:
        return self.free

    def upload(self, host: Any) -> Any:
        self.spent.uploaded_bytes += host.nbytes
        return with_attributes(np.array(host, dtype=aligned(host.dtype), order="C"))

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        # What a walk finds in its state must not matter.
        noise = np.zeros(shape, dtype=aligned(np.dtype(dtype)))
        noise.view(np.uint8)[...] = 0x2A
        return with_attributes(noise)

    def download(self, array: Any, dtype: np.dtype[Any]) -> Any:
        return np.array(array.view(aligned(dtype)), dtype=dtype)

    def run(self, kernel: Rule, arguments: tuple[Any, ...], n_threads: int) -> None:
        self.sizes.append(n_threads)
        # The rules a kernel calls are device functions as they stand: what they call is for the compiler to bind.
        cuda.jit(kernel)[-(-n_threads // _BLOCK), _BLOCK](*arguments)


def main(seed: int, n_configs: int) -> int:
    """Sweep `n_configs` random configurations both ways in both semantics; the number of closes compared."""
    n_closes = 0
    for number, semantics in enumerate((STRICT, REFERENCE)):
        rng = random.Random(seed + number)
        inputs = market(seed + number, with_sub_bars=True)
        base = dict(DEFAULTS | LOOSE)
        columns = columns_of([random_overrides(rng) for _ in range(n_configs)], base)
        configs = SymbolConfigs(base, {"ETH": base | {"trade.sl_atr_mult": 1.25}})
        card = SimulatedCard(1 << 30)
        sweep = CudaSweep(
            inputs, configs, semantics, layout, 2, card, first_log=16, most_walks=_MOST_WALKS
        )
        found = sweep.run(columns, n_configs)
        expected = Sweep(inputs, configs, semantics, layout, 2).run(columns, n_configs)
        assert found.tobytes() == expected.tobytes(), f"seed {seed}, {semantics}"
        # Several batches, and walks with more trades than there was room for run again.
        assert max(card.sizes) == _MOST_WALKS, card.sizes
        assert sum(card.sizes) > n_configs, card.sizes
        n_closes += int(found["tally"]["trades"].sum())
        assert len(set(found["tally"]["final_balance"].tolist())) > n_configs // 3
    return n_closes


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    print(main(int(sys.argv[1]), int(sys.argv[2])), "closes")
