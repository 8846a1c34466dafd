"""Tells what lists of symbols contributed to a replay.

The same as `mei-backtester validate cross-universe`: its flags, its exit codes.
"""

from __future__ import annotations

import sys

from mei.cli.main import run


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return run(["validate", "cross-universe", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
