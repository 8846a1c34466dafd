"""What a kernel is called with: arrays in a card's memory, numbers, and named tuples of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from mei.model.errors import StrategyError

#: Alignment of whatever starts in a card's memory, bytes.
ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """An array in a card's memory, in C order. owner: what keeps the memory, None when it is empty."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pointer: int
    owner: Any = None

    @property
    def nbytes(self) -> int:
        """Its size."""
        return prod(self.shape) * self.dtype.itemsize


def aligned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Records with every field where a card can read it at once (a packed one is read byte by byte)."""
    if dtype.names is None:
        return dtype
    return np.dtype([(name, dtype[name]) for name in dtype.names], align=True)


def signature_of(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The numba types a kernel is compiled for."""
    return tuple(_type_of(argument) for argument in arguments)


def _type_of(argument: Any) -> Any:
    numba: Any = import_module("numba")
    types = numba.types
    if isinstance(argument, DeviceArray):
        return types.Array(numba.from_dtype(argument.dtype), len(argument.shape), "C")
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return types.NamedTuple([_type_of(value) for value in argument], type(argument))
    if isinstance(argument, int) and not isinstance(argument, bool):
        return types.int64
    if isinstance(argument, float):
        return types.float64
    raise StrategyError(f"a kernel takes arrays, int, float and named tuples, found {argument!r}")


def parameters_of(arguments: tuple[Any, ...]) -> list[np.generic]:
    """The parameters of a kernel's machine code, one after another, as numba-cuda lays its arguments out.

    An array is two pointers of numba's own (null here), its length, its item's size, its address, its shape and its
    strides in bytes.
    """
    return [parameter for argument in arguments for parameter in _parameters(argument)]


def _parameters(argument: Any) -> Iterator[np.generic]:
    if isinstance(argument, DeviceArray):
        itemsize = argument.dtype.itemsize
        yield from (np.uint64(0), np.uint64(0))
        yield from (np.int64(prod(argument.shape)), np.int64(itemsize))
        yield np.uint64(argument.pointer)
        yield from map(np.int64, argument.shape)
        for axis in range(len(argument.shape)):
            yield np.int64(itemsize * prod(argument.shape[axis + 1 :]))
    elif isinstance(argument, tuple):
        for value in argument:
            yield from _parameters(value)
    elif isinstance(argument, float):
        yield np.float64(argument)
    else:
        yield np.int64(argument)
