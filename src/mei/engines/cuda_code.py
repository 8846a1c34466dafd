"""Rules as code of NVIDIA cards, made without a card or a driver at hand.

A kernel goes through three compilers: numba-cuda (rules -> PTX), NVVM within it, and the linker (PTX -> machine
code of one generation of cards). All three fuse `a * b + c` into one rounding unless told not to, which no CPU does:
here each is told, and the PTX of a kernel is read before it is used. What is not fused is IEEE 754 on both machines.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from types import SimpleNamespace
from typing import Any

from mei.engines.bind import Rule, with_bound_callees
from mei.jit import cache_dir
from mei.model.errors import StrategyError

#: A generation of cards, (major, minor): (9, 0) = H100.
Capability = tuple[int, int]

#: Packages whose version code depends on, as far as they are installed.
_COMPILERS = ("numba-cuda", "cuda-core", "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12")
#: The compilers are patched for a moment: one thread at a time.
_LOCK = Lock()

_ENTRY = re.compile(r"\.visible \.entry ([\w$]+)\(")
_FLOAT_OPERATION = re.compile(
    r"^\s*(?:@!?%p\d+\s+)?([a-z0-9]+(?:\.[a-z0-9]+)*\.f(?:32|64))\s", re.M
)
#: What rounds once for two operations; what the linker may fuse (no rounding named); what is not IEEE 754.
_NOT_EXACT = re.compile(r"(fma|mad)\..*|(add|sub|mul)(\.ftz)?\.f(32|64)|.*\.(ftz|approx|full)\b.*")


def bind_cuda(rule: Rule, replaced: Mapping[str, Rule] | None = None) -> Rule:
    """The rule with every rule it calls as device functions; the rule itself stays a plain function, to be a kernel.

    replaced: as in `bind_cpu`. Raises StrategyError when a rule reaches another through its module.
    """
    cuda: Any = import_module("numba.cuda")
    replacements = dict(replaced or {})
    bound: dict[Rule, Rule] = {}

    def bind(called: Rule) -> Rule:
        if called not in bound:
            copy = with_bound_callees(called, replacements, bind)
            bound[called] = cuda.jit(device=True)(copy)
        return bound[called]

    return with_bound_callees(rule, replacements, bind)


def ptx_of(kernel: Rule, signature: tuple[Any, ...], capability: Capability) -> str:
    """Assembly of a kernel and all it calls; its entry has the kernel's name.

    signature: numba types of the arguments. Beside rules a kernel calls what its module names in `PARTS`. Raises
    StrategyError when the code would round otherwise than a CPU does.
    """
    cuda: Any = import_module("numba.cuda")
    with _compiling_for(capability):
        compiled: tuple[str, Any] = cuda.compile(
            bind_cuda(kernel, kernel.__globals__.get("PARTS")),
            signature,
            device=False,
            abi="numba",
            cc=capability,
            output="ptx",
        )
    ptx = compiled[0].replace(_entry_of(compiled[0]), kernel.__name__)
    inexact = inexact_operations(ptx)
    if inexact:
        raise StrategyError(
            f"code of {kernel.__name__} for a card must round as a CPU does, found {dict(inexact)} in it: this "
            "version of numba-cuda is not one that pyproject.toml names"
        )
    return ptx


def float_operations(ptx: str) -> Counter[str]:
    """How often each instruction on floating-point numbers stands in PTX."""
    return Counter(_FLOAT_OPERATION.findall(ptx))


def inexact_operations(ptx: str) -> Counter[str]:
    """Those of the instructions that may round otherwise than a CPU does: fused, fusible, approximate."""
    found = float_operations(ptx)
    return Counter({name: n for name, n in found.items() if _NOT_EXACT.fullmatch(name)})


def machine_code_of(ptx: str, capability: Capability) -> bytes:
    """PTX as machine code (cubin) of one generation of cards."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    options = LinkerOptions(arch=architecture(capability), fma=False)
    return bytes(Linker(ObjectCode.from_ptx(ptx.encode()), options=options).link("cubin").code)


def kept_machine_code(kernel: Rule, signature: tuple[Any, ...], capability: Capability) -> bytes:
    """`machine_code_of` a kernel, kept on disk: made once for these sources, compilers and cards (a minute)."""
    return _kept(
        kernel,
        signature,
        capability,
        "cubin",
        lambda: machine_code_of(kept_ptx(kernel, signature, capability), capability),
    )


def kept_ptx(kernel: Rule, signature: tuple[Any, ...], capability: Capability) -> str:
    """`ptx_of` a kernel, kept likewise."""
    return _kept(
        kernel,
        signature,
        capability,
        "ptx",
        lambda: ptx_of(kernel, signature, capability).encode(),
    ).decode()


def _kept(
    kernel: Rule,
    signature: tuple[Any, ...],
    capability: Capability,
    ending: str,
    make: Callable[[], bytes],
) -> bytes:
    versions = ";".join(f"{name} {_version(name)}" for name in _COMPILERS)
    content = f"{kernel.__module__}.{kernel.__name__};{signature};{versions}"
    name = f"{kernel.__name__}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.{ending}"
    path = cache_dir("engines") / architecture(capability) / name
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(made)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    return path.read_bytes()


@contextmanager
def _compiling_for(capability: Capability) -> Iterator[None]:
    """numba-cuda as it should be: without FMA (it has no switch), and for cards that are not in this machine.

    Both are names its modules look up anew each time; `inexact_operations` finds out should they one day not.
    """
    dispatcher: Any = import_module("numba.cuda.dispatcher")
    nvvm: Any = import_module("numba.cuda.cudadrv.nvvm")
    with _LOCK:
        compile_ir, get_current_device = nvvm.compile_ir, dispatcher.get_current_device
        nvvm.compile_ir = partial(compile_ir, fma=False)
        dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
        try:
            yield
        finally:
            nvvm.compile_ir, dispatcher.get_current_device = compile_ir, get_current_device


def _entry_of(ptx: str) -> str:
    names = _ENTRY.findall(ptx)
    if len(names) != 1:
        raise StrategyError(f"PTX of a kernel must have one entry, found {len(names)}")
    return str(names[0])


def architecture(capability: Capability) -> str:
    """The name compilers have for a generation of cards."""
    return f"sm_{capability[0]}{capability[1]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
