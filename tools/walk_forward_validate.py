"""Replays a strategy file over stretches that follow each other's training.

The same as `mei-backtester validate walk-forward`: its flags, its exit codes.
"""

from __future__ import annotations

import sys

from mei.cli.main import run


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return run(["validate", "walk-forward", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
