"""Draws the trades of a replay again and again.

The same as `mei-backtester validate monte-carlo`: its flags, its exit codes.
"""

from __future__ import annotations

import sys

from mei.cli.main import run


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return run(["validate", "monte-carlo", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
