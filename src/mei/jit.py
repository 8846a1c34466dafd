"""Compilation to machine code with a disk cache that cannot be stale.

Numba's own cache does not notice a changed callee in another file. The cache folder is therefore named by a hash of
every source file of the package and the versions of numba and llvmlite (design: one cache root, many builds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent


@cache
def sources_hash() -> str:
    """First 16 hex digits of SHA-256 over every `.py` of the package (path and content, in path order)."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def cache_dir() -> Path:
    """Folder of compiled code for exactly these sources and compilers."""
    compilers = f"{sources_hash()}-{version('numba')}-{version('llvmlite')}"
    name = hashlib.sha256(compilers.encode()).hexdigest()[:16]
    return Path.home() / ".cache" / "mei" / "numba" / name


def compiled(function: F, folder: str = "") -> F:
    """Compile a plain function for the CPU: no fastmath, no division errors, GIL released, cached on disk.

    folder: below the cache folder; functions that share a source line but call different things must not share it.

    `error_model="numpy"` makes x/0 an infinity instead of an exception, as on the GPU; rules guard every division.
    """
    import numba

    setattr(numba.config, "CACHE_DIR", str(cache_dir() / folder))  # noqa: B010 — its stub lacks the name
    jitted: F = numba.njit(function, cache=True, nogil=True, error_model="numpy", fastmath=False)
    return jitted
