"""Compilation to machine code with a disk cache that cannot be stale.

Numba's own cache does not notice a changed callee in another file. The cache folder is therefore named by a hash of
every source file compiled code can come from, and the versions of numba and llvmlite (design: one cache root, many
builds). Imports point down only, so that is the function's own part of the package and what lies below it.
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


#: What every compiled function may reach: constants, rules, and how they are compiled.
_BELOW = ("model", "rules", "metrics", "jit.py", "engines/bind.py")


@cache
def sources_hash() -> str:
    """First 16 hex digits of SHA-256 over every `.py` of the package (path and content, in path order)."""
    return _hash_of(sorted(_PACKAGE.rglob("*.py")))


@cache
def kernels_hash(part: str = "") -> str:
    """First 16 hex digits of SHA-256 over the sources compiled code of `part` of the package can come from."""
    paths: set[Path] = set()
    for name in (*_BELOW, part) if part else _BELOW:
        path = _PACKAGE / name
        paths |= {path} if path.is_file() else set(path.rglob("*.py"))
    return _hash_of(sorted(paths))


def _hash_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(_PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def cache_dir(part: str = "") -> Path:
    """Folder of compiled code of a part of the package, for exactly these sources and compilers."""
    compilers = f"{kernels_hash(part)}-{version('numba')}-{version('llvmlite')}"
    name = hashlib.sha256(compilers.encode()).hexdigest()[:16]
    return Path.home() / ".cache" / "mei" / "numba" / name


def is_cold(kernel: str) -> bool:
    """No `kernel` (`<module>.<function>`) of these sources has been compiled on this machine yet."""
    return next(cache_dir().rglob(f"{kernel}-*.nbi"), None) is None


def compiled(
    function: F, folder: str = "", *, is_kept: bool = True, is_part: bool | None = None
) -> F:
    """Compile a plain function for the CPU: no fastmath, no division errors, GIL released, cached on disk.

    folder: below the cache folder; functions that share a source line but call different things must not share it.
    is_kept: false for what only other compiled functions call. is_part: make it part of each caller's code (True), with
    what it calls, or leave that to the compiler (False); None = as in its caller.
    `error_model="numpy"` makes x/0 an infinity instead of an exception, as on the GPU; rules guard every division.
    """
    import numba

    part = "" if function.__module__.startswith("mei.rules.") else _part_of(function.__module__)
    setattr(numba.config, "CACHE_DIR", str(cache_dir(part) / folder))  # noqa: B010 — its stub lacks the name
    # Rules allocate nothing, so their arrays need no reference counts.
    options: dict[str, Any] = (
        {"_nrt": False} if function.__module__.startswith("mei.rules.") else {}
    )
    if is_part is not None:
        options["forceinline"] = is_part
    jitted: F = numba.njit(
        function, cache=is_kept, nogil=True, error_model="numpy", fastmath=False, **options
    )
    return jitted


def _part_of(module: str) -> str:
    """`learning` of `mei.learning.features`; the whole package for code from elsewhere."""
    names = module.split(".")
    return names[1] if len(names) > 2 and names[0] == "mei" else "."
