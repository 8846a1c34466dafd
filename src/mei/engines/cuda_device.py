"""A card in this machine: its memory, its kernels, its streams, all through CuPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from mei.engines.bind import Rule
from mei.engines.cuda_arguments import DeviceArray, aligned, parameters_of, signature_of
from mei.engines.cuda_code import Capability, kept_machine_code
from mei.model.errors import ConfigError

#: Packages a card is driven with -> the module each brings.
_PACKAGES = {"cupy-cuda12x": "cupy", "numba-cuda": "numba_cuda", "cuda-core": "cuda.core"}
_INSTALL = "pip install 'mei-backtester[cuda]'"
#: Oldest cards the compilers know: Turing.
_OLDEST: Capability = (7, 5)
#: Threads of a block: a walk takes so many registers that more threads would not fit side by side anyway.
BLOCK_THREADS = 64


@dataclass(slots=True)
class Spent:
    """What a card has done so far: seconds as its own clock tells them, bytes to and from its memory."""

    upload_s: float = 0.0
    kernel_s: float = 0.0
    download_s: float = 0.0
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    n_launches: int = 0


class Card(Protocol):
    """What a sweep needs of a card. Work is done in the order in which it is asked for."""

    name: str
    spent: Spent

    def free_bytes(self) -> int:
        """Memory that can be had."""

    def upload(self, host: Any) -> Any:
        """An array in the card's memory, records aligned."""

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """A new array of zeros in the card's memory, records aligned."""

    def download(self, array: Any, dtype: np.dtype[Any]) -> Any:
        """A copy of an array here, of the layout given, when all work before is done."""

    def run(self, kernel: Rule, arguments: tuple[Any, ...], n_threads: int) -> None:
        """Start a kernel with at least `n_threads` threads."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel's machine code on a card. name: the kernel's."""

    name: str
    function: Any
    registers: int
    stack_bytes: int


class CupyCard:
    """A CUDA device; memory of CuPy's pool, one stream."""

    def __init__(self, number: int = 0) -> None:
        """Raises ConfigError when there is no such usable device."""
        fault = fault_of_card(number)
        if fault is not None:
            raise ConfigError(fault)
        import cupy

        self._cupy: Any = cupy
        self._device = cupy.cuda.Device(number)
        with self._device:
            self._stream = cupy.cuda.Stream(non_blocking=True)
        properties = cupy.cuda.runtime.getDeviceProperties(number)
        self.name = properties["name"].decode()
        self.capability: Capability = (properties["major"], properties["minor"])
        self.n_processors = int(properties["multiProcessorCount"])
        self.registers_per_processor = int(properties["regsPerMultiprocessor"])
        self.threads_per_processor = int(properties["maxThreadsPerMultiProcessor"])
        self.total_bytes = int(properties["totalGlobalMem"])
        self.spent = Spent()
        self._kernels: dict[tuple[str, tuple[Any, ...]], Launch] = {}

    def free_bytes(self) -> int:
        """Memory nobody holds, and what CuPy's pool holds for nobody."""
        with self._device:
            free, _ = self._cupy.cuda.runtime.memGetInfo()
            return int(free) + int(self._cupy.get_default_memory_pool().free_bytes())

    def upload(self, host: Any) -> DeviceArray:
        """Copy an array to the card."""
        content = np.ascontiguousarray(host, dtype=aligned(host.dtype))
        if content.nbytes == 0:
            return DeviceArray(content.shape, content.dtype, 0)
        flat = content.reshape(-1).view(np.uint8)
        started = self._mark()
        with self._device, self._stream:
            owner = self._cupy.empty(flat.shape, dtype=np.uint8)
            owner.set(flat, stream=self._stream)
        self.spent.upload_s += self._since(started)
        self.spent.uploaded_bytes += content.nbytes
        return DeviceArray(content.shape, content.dtype, owner.data.ptr, owner)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """Memory set to zero."""
        empty = DeviceArray(shape, aligned(np.dtype(dtype)), 0)
        if empty.nbytes == 0:
            return empty
        with self._device, self._stream:
            owner = self._cupy.zeros(empty.nbytes, dtype=np.uint8)
        return DeviceArray(shape, empty.dtype, owner.data.ptr, owner)

    def download(self, array: DeviceArray, dtype: np.dtype[Any]) -> Any:
        """Copy an array from the card."""
        if array.owner is None:
            return np.zeros(array.shape, dtype=dtype)
        started = self._mark()
        with self._device, self._stream:
            flat = self._cupy.asnumpy(array.owner, stream=self._stream, blocking=True)
        self.spent.download_s += self._since(started)
        self.spent.downloaded_bytes += array.nbytes
        return flat.view(array.dtype).reshape(array.shape).astype(dtype, copy=False)

    def run(self, kernel: Rule, arguments: tuple[Any, ...], n_threads: int) -> None:
        """Start the kernel; what it does is done once its results are downloaded."""
        launch = self.launch_of(kernel, arguments)
        n_blocks = -(-n_threads // BLOCK_THREADS)
        started = self._mark()
        with self._device, self._stream:
            launch.function((n_blocks,), (BLOCK_THREADS,), tuple(parameters_of(arguments)))
        self.spent.kernel_s += self._since(started)
        self.spent.n_launches += 1

    def launch_of(self, kernel: Rule, arguments: tuple[Any, ...]) -> Launch:
        """The kernel's code for these arguments, compiled if it is not kept on disk."""
        signature = signature_of(arguments)
        key = (kernel.__name__, signature)
        if key not in self._kernels:
            code = kept_machine_code(kernel, signature, self.capability)
            with self._device:
                module = self._cupy.cuda.function.Module()
                module.load(code)
                function = module.get_function(kernel.__name__)
                attribute = self._cupy.cuda.driver.funcGetAttribute
                self._kernels[key] = Launch(
                    kernel.__name__,
                    function,
                    int(attribute(_REGISTERS, function.ptr)),
                    int(attribute(_LOCAL_BYTES, function.ptr)),
                )
        return self._kernels[key]

    def launches(self) -> tuple[Launch, ...]:
        """Every kernel started so far."""
        return tuple(self._kernels.values())

    def occupancy_frac(self, launch: Launch) -> float:
        """Threads that run side by side over those a processor could hold: registers are what binds."""
        per_warp = -(-launch.registers * 32 // 256) * 256
        n_warps = self.registers_per_processor // per_warp
        blocks = n_warps // (BLOCK_THREADS // 32)
        return min(blocks * BLOCK_THREADS, self.threads_per_processor) / self.threads_per_processor

    def _mark(self) -> Any:
        with self._device:
            event = self._cupy.cuda.Event()
            event.record(self._stream)
        return event

    def _since(self, started: Any) -> float:
        done = self._mark()
        done.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(started, done)) / 1000.0


#: Numbers of CUDA's function attributes (cuda.h): registers of a thread, its stack.
_REGISTERS, _LOCAL_BYTES = 4, 3


def fault_of_card(number: int = 0, has_module: Callable[[str], bool] | None = None) -> str | None:
    """Why no sweep can run on card `number`, with what to do about it; None when one can.

    has_module: whether a module is installed (for what a machine lacks).
    """
    has = has_module or _is_installed
    missing = [package for package, module in _PACKAGES.items() if not has(module)]
    if missing:
        return _fault(f"package {missing[0]} is not installed", f"{_INSTALL}, or --device cpu")
    import cupy

    try:
        n_devices = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return _fault_of_driver(str(error))
    if number >= n_devices:
        return _fault(
            f"the driver knows {n_devices} device(s)", "check nvidia-smi, or --device cpu"
        )
    properties = cupy.cuda.runtime.getDeviceProperties(number)
    capability = (properties["major"], properties["minor"])
    if capability < _OLDEST:
        return _fault(
            f"{properties['name'].decode()} has compute capability {capability[0]}.{capability[1]}",
            f"use a card of {_OLDEST[0]}.{_OLDEST[1]} or newer, or --device cpu",
        )
    return None


def _fault_of_driver(error: str) -> str:
    if "NoDevice" in error:
        return _fault("the driver finds no device", "check nvidia-smi, or --device cpu")
    if "InsufficientDriver" in error:
        return _fault(
            "no NVIDIA driver, or one older than CUDA 12, is installed",
            "install a driver of version 525 or newer, or --device cpu",
        )
    return _fault(f"CUDA says {error}", "check nvidia-smi, or --device cpu")


def _fault(found: str, remedy: str) -> str:
    return f"a sweep on the GPU needs an NVIDIA card that CUDA can use, {found}: {remedy}"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
