"""On a real card: rows of random sweeps are those of the CPU, bit for bit. Skipped, with the reason, without one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mei.engines.cuda_device import CupyCard, fault_of_card
from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_cuda import CudaSweep
from mei.engines.mei_alpha_sweep import Sweep
from mei.engines.same_rows import compare_rows
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.rules.mei_alpha.keys import DEFAULTS
from tests.cuda.momentum import FILLS, ONE, SEVERAL, SIGNALS, case_of
from tests.oracles.mei_alpha.cases import LOOSE
from tests.sweeps.test_mei_alpha_sweep import columns_of, layout, market, random_overrides

_FAULT = fault_of_card()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(_FAULT is not None, reason=_FAULT or ""),
]


@pytest.mark.parametrize("semantics", [STRICT, REFERENCE], ids=["strict", "reference"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_are_those_of_the_cpu(seed: int, semantics: Semantics) -> None:
    rng = random.Random(seed)
    inputs = market(seed, with_sub_bars=seed != 2)
    base = dict(DEFAULTS | LOOSE)
    columns = columns_of([random_overrides(rng) for _ in range(500)], base)
    configs = SymbolConfigs(base, {"ETH": base | {"trade.sl_atr_mult": 1.25}})
    card = CupyCard()
    # Too few records at first, and more than one batch.
    sweep = CudaSweep(inputs, configs, semantics, layout, 2, card, first_log=64, most_walks=192)
    found = sweep.run(columns, 500)
    expected = Sweep(inputs, configs, semantics, layout, 2).run(columns, 500)
    assert compare_rows(found, expected).largest_difference == 0.0
    assert found.tobytes() == expected.tobytes()
    assert np.median(found["tally"]["trades"]) > 5
    assert card.spent.n_launches > 3
    (launch,) = card.launches()
    assert launch.stack_bytes == 0
    assert 0.0 < card.occupancy_frac(launch) <= 1.0


@pytest.mark.parametrize("entry_fill", FILLS)
@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("shape", "n_kernels"), [(ONE, 2), (SEVERAL, 1)])
def test_rows_of_momentum_breakout_are_those_of_the_cpu(
    shape: str, n_kernels: int, signal: str, entry_fill: str
) -> None:
    """Groups of one configuration and of many, in more than one batch."""
    card = CupyCard()
    for seed, n_values in ((1, 9), (2, 3), (3, 2)):
        case = case_of(shape, signal, entry_fill, n=3000, n_bars=5000, seed=seed, n_values=n_values)
        found, expected = case.on_card(card, most_walks=1024), case.on_cpu()
        assert compare_rows(found, expected).largest_difference == 0.0
        assert found.tobytes() == expected.tobytes()
        assert np.median(found["tally"]["trades"]) > 5
    launches = card.launches()
    assert len(launches) == n_kernels
    for launch in launches:
        assert launch.stack_bytes == 0
        assert 0.0 < card.occupancy_frac(launch) <= 1.0
