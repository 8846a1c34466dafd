"""Replays a strategy file with one setting moved at a time.

The same as `mei-backtester validate sensitivity`: its flags, its exit codes.
"""

from __future__ import annotations

import sys

from mei.cli.main import run


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return run(["validate", "sensitivity", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
