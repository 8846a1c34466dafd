"""A card that takes everything and runs nothing: what a sweep would start there, to be compiled without a driver."""

from __future__ import annotations

from typing import Any

import numpy as np

from mei.engines.bind import Rule
from mei.engines.cuda_arguments import DeviceArray, aligned
from mei.engines.cuda_device import Spent
from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_cuda import CudaSweep
from mei.model.semantics import STRICT
from mei.rules.mei_alpha.keys import DEFAULTS
from tests.cuda.momentum import ONE, SEVERAL, case_of
from tests.sweeps.test_mei_alpha_sweep import layout, market

#: A kernel and its arguments.
Started = tuple[Rule, tuple[Any, ...]]


class CompilingCard:
    """A Card. started: kernels with their arguments, as they came; results are zeros."""

    name = "no card"

    def __init__(self) -> None:
        self.spent = Spent()
        self.started: list[Started] = []

    def free_bytes(self) -> int:
        return 1 << 34

    def upload(self, host: Any) -> DeviceArray:
        return self.zeros(host.shape, host.dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        return DeviceArray(shape, aligned(np.dtype(dtype)), 0x1000)

    def download(self, array: DeviceArray, dtype: np.dtype[Any]) -> Any:
        return np.zeros(array.shape, dtype=dtype)

    def run(self, kernel: Rule, arguments: tuple[Any, ...], n_threads: int) -> None:
        self.started.append((kernel, arguments))


def mei_alpha_kernel() -> Started:
    """The kernel a sweep of Mei Alpha starts, and what it starts it with."""
    card = CompilingCard()
    inputs = market(1, with_sub_bars=True)
    sweep = CudaSweep(inputs, SymbolConfigs(DEFAULTS), STRICT, layout, 1, card)
    sweep.run({"trade.sl_atr_mult": np.array([1.0, 2.0])}, 2)
    assert len(card.started) == 1
    return card.started[0]


def momentum_kernels() -> list[Started]:
    """Those of momentum_breakout, of one symbol and of several."""
    card = CompilingCard()
    for shape in (ONE, SEVERAL):
        case_of(shape, "channel", "next_open", n=3, n_bars=200, seed=1).on_card(card)
    return card.started
