"""Code for cards rounds as a CPU does: read from what the compilers make, with no card and no driver at hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from mei.engines import cuda_code
from mei.engines.cuda_arguments import DeviceArray, aligned, parameters_of, signature_of
from mei.engines.cuda_code import (
    bind_cuda,
    float_operations,
    inexact_operations,
    kept_machine_code,
    kept_ptx,
    ptx_of,
)
from mei.model.errors import StrategyError
from mei.rules.costs import fill_px
from tests.cuda.compiling import Started, mei_alpha_kernel, momentum_kernels

pytest.importorskip("numba_cuda", reason="numba-cuda compiles for cards: pip install -e '.[dev]'")

AMPERE, HOPPER = (8, 0), (9, 0)
#: A NaN compares false: what `x if x > 0.0 else 0.0` makes of it is what max(x, 0.0) makes of it.
_MAX_OF_ZERO = re.compile(r"\bmax\.f64\s+%fd\d+, %fd\d+, 0d0000000000000000;")


def fused_kernel(prices: Any, a: float, b: float) -> None:
    """A product and a sum, which compilers for cards make one operation of, and a rule that has both."""
    prices[0] = prices[1] * a + b
    prices[2] = fill_px(prices[1], 1, b)


def small_arguments() -> tuple[Any, ...]:
    return DeviceArray((3,), np.dtype("<f8"), 0x1000), 1.0, 2.0


def test_a_product_and_a_sum_round_twice() -> None:
    ptx = ptx_of(fused_kernel, signature_of(small_arguments()), HOPPER)
    found = float_operations(ptx)
    assert found["mul.rn.f64"] >= 2
    assert found["add.rn.f64"] >= 2
    assert not inexact_operations(ptx)
    assert ".visible .entry fused_kernel(" in ptx


def test_code_that_fuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As numba-cuda makes it by itself, and as it would be should the switch one day not reach its compiler."""
    monkeypatch.setattr(cuda_code, "partial", lambda function, **_: function)
    with pytest.raises(StrategyError, match=r"must round as a CPU does, found \{.*fma\.rn\.f64"):
        ptx_of(fused_kernel, signature_of(small_arguments()), HOPPER)


def test_compilers_are_left_as_they_were() -> None:
    dispatcher: Any = import_module("numba.cuda.dispatcher")
    nvvm: Any = import_module("numba.cuda.cudadrv.nvvm")
    before = nvvm.compile_ir, dispatcher.get_current_device
    ptx_of(fused_kernel, signature_of(small_arguments()), AMPERE)
    assert (nvvm.compile_ir, dispatcher.get_current_device) == before


def test_what_counts_as_inexact() -> None:
    ptx = "\n".join(
        f"\t{name} \t%fd1, %fd2, %fd3;"
        for name in (
            "add.rn.f64",
            "mul.f64",
            "sub.f32",
            "fma.rn.f64",
            "mad.f32",
            "div.rn.f64",
            "div.approx.f32",
            "sqrt.approx.ftz.f32",
            "@%p1 add.f64",
            "ld.global.f64",
        )
    )
    assert set(inexact_operations(ptx)) == {
        "mul.f64",
        "sub.f32",
        "fma.rn.f64",
        "mad.f32",
        "div.approx.f32",
        "sqrt.approx.ftz.f32",
        "add.f64",
    }


def test_a_rule_reached_through_its_module_is_refused() -> None:
    namespace: dict[str, Any] = {"costs": import_module("mei.rules.costs")}
    exec("def through_module(x):\n    return costs.fill_px(x, 1, 1.0)", namespace)
    with pytest.raises(StrategyError, match="must import the rules it calls by name"):
        bind_cuda(namespace["through_module"])


def test_records_are_laid_out_for_a_card() -> None:
    packed = np.dtype([("is_gold", "?"), ("qty", "<f8"), ("has", "?"), ("n", "<i8")])
    assert packed.itemsize == 18
    laid_out = aligned(packed)
    assert [laid_out.fields[name][1] for name in laid_out.names] == [0, 8, 16, 24]
    rows = np.array([(True, 1.5, False, 7)], dtype=packed)
    assert rows.astype(laid_out).astype(packed).tobytes() == rows.tobytes()


#: Kernel -> the fewest of each operation that its code holds once everything is in line: fees, stops, sums.
KERNELS: dict[str, dict[str, int]] = {
    "walk_kernel": {"mul": 100, "add": 100, "sub": 100, "div": 100, "sqrt": 1},
    "exits_kernel": {"mul": 4, "add": 1, "div": 2},
    "leaps_kernel": {"mul": 40, "add": 40, "sub": 20, "div": 20, "sqrt": 1},
    "portfolios_kernel": {"mul": 40, "add": 30, "sub": 20, "div": 20, "sqrt": 1},
}


@pytest.fixture(scope="module")
def kernels() -> dict[str, Started]:
    """Every kernel that a sweep starts, with its arguments."""
    started = [mei_alpha_kernel(), *momentum_kernels()]
    return {kernel.__name__: (kernel, arguments) for kernel, arguments in started}


def test_every_kernel_of_a_sweep_is_looked_at(kernels: dict[str, Started]) -> None:
    assert set(kernels) == set(KERNELS)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("capability", [AMPERE, HOPPER], ids=["sm_80", "sm_90"])
def test_no_operation_of_a_whole_sweep_is_fused(
    kernels: dict[str, Started], capability: tuple[int, int], name: str
) -> None:
    rule, arguments = kernels[name]
    ptx = kept_ptx(rule, signature_of(arguments), capability)
    found = float_operations(ptx)
    assert not inexact_operations(ptx)
    assert not any(one.startswith("fma.") for one in found)
    for operation, least in KERNELS[name].items():
        assert found[f"{operation}.rn.f64"] >= least, operation
    assert found["min.f64"] == 0
    assert found["max.f64"] == len(_MAX_OF_ZERO.findall(ptx))
    # All rules are in line, so nothing was left to be compiled elsewhere.
    assert not re.search(r"^\s*(call|\.extern)\b", ptx, re.M)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_arguments_lie_as_the_code_reads_them(kernels: dict[str, Started], name: str) -> None:
    rule, arguments = kernels[name]
    ptx = kept_ptx(rule, signature_of(arguments), HOPPER)
    kinds = re.findall(r"^\s*\.param \.(\w+) \S*_param_\d+,?$", ptx, re.M)
    expected = {"float64": "f64", "int64": "u64", "uint64": "u64"}
    assert kinds == [expected[one.dtype.name] for one in parameters_of(arguments)]


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_a_whole_sweep_links_to_machine_code(kernels: dict[str, Started], name: str) -> None:
    rule, arguments = kernels[name]
    code = kept_machine_code(rule, signature_of(arguments), HOPPER)
    assert code[:4] == b"\x7fELF"
    assert rule.__name__.encode() in code


@pytest.mark.slow
@pytest.mark.parametrize(("script", "n_configs"), [("simulated", 6), ("simulated_momentum", 6)])
def test_the_kernels_give_the_rows_of_the_cpu_on_the_simulator(script: str, n_configs: int) -> None:
    """In a process of its own: numba decides at its import whether there is a card or a simulator."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.cuda.{script}", "1", str(n_configs)],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 1000
