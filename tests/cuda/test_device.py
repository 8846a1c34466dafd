"""Which machine walks, what a machine without a usable card says, and how far two runs' rows are apart."""

from __future__ import annotations

import numpy as np
import pytest

from mei.engines.cuda_device import fault_of_card
from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_cuda import CudaSweep
from mei.engines.same_rows import compare_rows, sample_of, verify
from mei.engines.select import select_device
from mei.model.errors import ConfigError
from mei.model.semantics import STRICT
from mei.rules.mei_alpha.keys import DEFAULTS
from tests.cuda.compiling import CompilingCard
from tests.cuda.momentum import ONE, SEVERAL, case_of
from tests.sweeps.test_mei_alpha_sweep import layout, market

NO_CARD = "a sweep on the GPU needs an NVIDIA card that CUDA can use, the driver finds no device: check nvidia-smi"


def test_a_card_that_was_asked_for_is_used_or_refused() -> None:
    card = CompilingCard()
    chosen = select_device("gpu", lambda: None, lambda: card)
    assert chosen.card is card
    assert chosen.said == "GPU no card, as asked for"
    with pytest.raises(ConfigError, match="finds no device: check nvidia-smi") as caught:
        select_device("gpu", lambda: NO_CARD, lambda: card)
    assert caught.value.exit_code == 2


def test_auto_says_what_it_chose_and_why() -> None:
    card = CompilingCard()
    assert select_device("auto", lambda: None, lambda: card).card is card
    chosen = select_device("auto", lambda: NO_CARD, lambda: card)
    assert chosen.card is None
    assert chosen.said == f"CPU: {NO_CARD}"
    assert select_device("cpu", lambda: None, lambda: card).card is None


def test_other_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="--device must be one of auto, cpu, gpu, was 'tpu'"):
        select_device("tpu")


@pytest.mark.parametrize(
    ("package", "module"), [("cupy-cuda12x", "cupy"), ("numba-cuda", "numba_cuda")]
)
def test_a_missing_package_is_named_with_how_to_install_it(package: str, module: str) -> None:
    fault = fault_of_card(has_module=lambda name: name != module)
    assert fault is not None
    assert f"package {package} is not installed: pip install 'mei-backtester[cuda]'" in fault


def test_this_machine_either_has_a_usable_card_or_says_why_not() -> None:
    fault = fault_of_card()
    if fault is None:
        assert select_device("gpu").card is not None
    else:
        with pytest.raises(ConfigError) as caught:
            select_device("gpu")
        assert str(caught.value) == fault
        assert fault.startswith("a sweep on the GPU needs an NVIDIA card that CUDA can use, ")


def test_too_little_memory_is_told_with_what_one_walk_needs() -> None:
    class SmallCard(CompilingCard):
        def free_bytes(self) -> int:
            return 1 << 16

    inputs = market(1, with_sub_bars=False)
    sweep = CudaSweep(inputs, SymbolConfigs(DEFAULTS), STRICT, layout, 1, SmallCard())
    with pytest.raises(ConfigError, match=r"needs 0\.3 MiB of 0\.1 MiB: sweep a shorter period"):
        sweep.run({"trade.sl_atr_mult": np.array([1.0])}, 1)


@pytest.mark.parametrize("shape", [ONE, SEVERAL])
@pytest.mark.parametrize(
    ("free", "words"),
    [
        # Asked before anything goes there, and once signals and exits are there.
        ([1 << 12], r"signals and exits must fit .* of no card kept for them, needs 0\.0 MiB of 0"),
        (
            [1 << 20, 1 << 9],
            r"state must fit .* sweep a shorter period or fewer symbols, or use --d",
        ),
    ],
)
def test_too_little_memory_for_momentum_breakout(shape: str, free: list[int], words: str) -> None:
    class SmallCard(CompilingCard):
        def free_bytes(self) -> int:
            return left.pop(0)

    left = list(free)
    case = case_of(shape, "channel", "next_open", n=3, n_bars=200, seed=1)
    with pytest.raises(ConfigError, match=words):
        case.on_card(SmallCard())


ROW = np.dtype([("tally", [("pnl", "<f8"), ("trades", "<i8")]), ("groups", "<f8", (2,))])


def test_rows_that_are_equal_are_0_apart() -> None:
    rows = np.zeros(3, dtype=ROW)
    rows["tally"]["pnl"] = [1.5, np.nan, np.inf]
    compared = compare_rows(rows, rows.copy())
    assert (compared.n_rows, compared.n_different, compared.largest_difference) == (3, 0, 0.0)


def test_the_largest_difference_is_found_and_named() -> None:
    rows = np.zeros(3, dtype=ROW)
    other = rows.copy()
    other["tally"]["trades"][1] = 2
    other["groups"][2, 1] = -2.5
    compared = compare_rows(rows, other)
    assert (compared.n_different, compared.largest_difference, compared.where) == (2, 2.5, "groups")
    other["tally"]["pnl"][0] = np.nan
    compared = compare_rows(rows, other)
    assert (compared.largest_difference, compared.where) == (np.inf, "tally.pnl")


def test_bits_count_where_numbers_are_equal() -> None:
    rows = np.zeros(2, dtype=ROW)
    other = rows.copy()
    other["tally"]["pnl"][1] = -0.0
    compared = compare_rows(rows, other)
    assert (compared.n_different, compared.largest_difference) == (1, 0.0)


def test_a_sample_holds_the_best_and_others_once_each() -> None:
    sample = sample_of(100, best=[7, 3, 7], n_random=5, seed=1)
    assert len(sample) == len(set(sample.tolist())) == 7
    assert {3, 7} <= set(sample.tolist())
    assert sample.tolist() == sample_of(100, [3, 7], 5, 1).tolist()
    assert sample_of(3, [0], 10, 1).tolist() == [0, 1, 2]


def test_rows_run_again_are_compared_with_those_of_the_same_number() -> None:
    rows = np.zeros(5, dtype=ROW)
    rows["tally"]["trades"] = range(5)
    run = np.zeros(5, dtype=ROW)
    run["tally"]["trades"] = [0, 1, 2, 3, 7]
    assert verify(rows, np.array([1, 3]), lambda numbers: run[numbers]).n_different == 0
    assert verify(rows, np.array([1, 4]), lambda numbers: run[numbers]).largest_difference == 3.0
