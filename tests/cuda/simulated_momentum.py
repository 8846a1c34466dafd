"""Sweeps of momentum_breakout on numba's CUDA simulator and on the CPU, compared bit for bit.

A script: `python -m tests.cuda.simulated_momentum <seed> <configurations>`, with NUMBA_ENABLE_CUDASIM=1.
"""

from __future__ import annotations

import itertools
import sys
import warnings

import numpy as np

from tests.cuda.momentum import FILLS, ONE, SEVERAL, SIGNALS, case_of
from tests.cuda.simulated import SimulatedCard

_MOST_WALKS = 3


def main(seed: int, n_configs: int) -> int:
    """Both shapes of markets, both signals, both fills; the number of closes compared."""
    n_closes = 0
    for number, (shape, signal, entry_fill) in enumerate(
        itertools.product((ONE, SEVERAL), SIGNALS, FILLS)
    ):
        case = case_of(
            shape, signal, entry_fill, n=n_configs, n_bars=200, seed=seed + number, n_values=2
        )
        card = SimulatedCard(1 << 30)
        found = case.on_card(card, most_walks=_MOST_WALKS)
        expected = case.on_cpu()
        assert found.tobytes() == expected.tobytes(), (seed + number, shape, signal, entry_fill)
        n_closes += int(found["tally"]["trades"].sum())
    return n_closes


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    print(main(int(sys.argv[1]), int(sys.argv[2])), "closes")
