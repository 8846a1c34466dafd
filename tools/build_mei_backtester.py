"""Builds mei-backtester for this machine: installs it, compiles its kernels ahead, stamps what was built.

Run as `python tools/build_mei_backtester.py [--gpu] [--out-dir DIR]` with the Python of the virtual environment. Prints
what was built as JSON, the content of DIR/build_info.json; DIR/mei-backtester-cpu (or -gpu) starts the program. The
stamp is what `mei-backtester --version` shows until a source changes. GITHUB_SHA and SOURCE_DATE_EPOCH are used if set.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "mei-backtester"
INFO_VERSION = "mei_backtester_build_v1"


class BuildError(Exception):
    """A step failed; the message is its log."""


def main(arguments: list[str]) -> int:
    """Build; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpu", action="store_true", help="for a CUDA device as well")
    parser.add_argument("--out-dir", type=Path, default=ROOT / "dist")
    options = parser.parse_args(arguments)
    try:
        install(options.gpu)
        compile_kernels()
        info = finish(options.gpu, options.out_dir)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(info, indent=2, sort_keys=True))
    return 0


def install(gpu: bool) -> None:
    """Install the checkout into the environment of this Python, editable."""
    what = f"{ROOT}[cuda]" if gpu else str(ROOT)
    run(sys.executable, "-m", "pip", "install", "--quiet", "--editable", what)
    if gpu and importlib.util.find_spec("numba_cuda") is None:
        raise BuildError("error: --gpu needs the package numba-cuda, which could not be installed")


def compile_kernels() -> None:
    """Compile every kernel into the cache, in a process of its own that sees what was installed."""
    run(sys.executable, "-c", "from mei.engines.warm import warm_up; warm_up()")


def finish(gpu: bool, out_dir: Path) -> dict[str, Any]:
    """Write the stamp, the program's copy and build_info.json; the content of the latter."""
    from mei.cli.versions import checkout_revision, stamp_path
    from mei.jit import sources_hash

    now_ms = time.time_ns() // 1_000_000
    revision = os.environ.get("GITHUB_SHA", "")[:12] or checkout_revision()
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    build_s = int(epoch) if epoch.isdecimal() else now_ms // 1000
    stamp = stamp_path(sources_hash())
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(json.dumps({"git": revision, "build_s": build_s, "gpu": gpu}))
    kind = "gpu" if gpu else "cpu"
    out_dir.mkdir(parents=True, exist_ok=True)
    program = out_dir / f"{PROGRAM}-{kind}"
    shutil.copyfile(Path(sys.executable).parent / PROGRAM, program)
    program.chmod(0o755)
    artefact = {
        "kind": kind,
        "path": str(program),
        "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
        "version": run(str(program), "--version").strip(),
    }
    info = {
        "version": INFO_VERSION,
        "generated_at_ms": now_ms,
        "git_head": revision,
        "artefacts": [artefact],
    }
    (out_dir / "build_info.json").write_text(json.dumps(info, indent=2, sort_keys=True) + "\n")
    return info


def run(*command: str) -> str:
    """Standard output of a command; BuildError with all it said when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()
        raise BuildError(f"{said}\nerror: {' '.join(command)} failed ({done.returncode})")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
