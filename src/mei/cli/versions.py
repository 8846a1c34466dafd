"""What `--version` says: version, git revision, build time, GPU, and the hash of the sources kernels are built from.

A build (tools/build_mei_backtester.py) leaves a stamp for exactly these sources; without one the build time is unknown.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import typer

PROGRAM = "mei-backtester"
_ROOT = Path(__file__).parents[3]


def print_version(wanted: bool) -> None:
    """Callback of an eager `--version`: print and leave."""
    if wanted:
        typer.echo(version_line())
        raise typer.Exit


def version_line() -> str:
    """One line: `mei-backtester 0.1.0 git:<sha12> build:<epoch s> gpu:<0|1> kernels:<hash>`."""
    from mei import __version__
    from mei.jit import sources_hash

    kernels = sources_hash()
    stamp = _read_stamp(kernels)
    git = _revision(stamp)
    build = stamp.get("build_s", "unstamped")
    gpu = stamp.get("gpu", importlib.util.find_spec("numba_cuda") is not None)
    return f"{PROGRAM} {__version__} git:{git} build:{build} gpu:{int(gpu)} kernels:{kernels}"


def revision() -> str:
    """First 12 digits of the commit this was built from, or of the checkout, or `unknown`."""
    from mei.jit import sources_hash

    return _revision(_read_stamp(sources_hash()))


def _revision(stamp: dict[str, Any]) -> str:
    return str(stamp.get("git") or checkout_revision())


def stamp_path(kernels: str) -> Path:
    """Where the stamp of a build of these sources lies."""
    return Path.home() / ".cache" / "mei" / "builds" / f"{kernels}.json"


def checkout_revision() -> str:
    """First 12 digits of the commit of the checkout that this package lies in, or `unknown`."""
    if not (_ROOT / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = done.stdout.strip()
    return found if re.fullmatch(r"[0-9a-f]{12,}", found) else "unknown"


def _read_stamp(kernels: str) -> dict[str, Any]:
    try:
        content = json.loads(stamp_path(kernels).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
