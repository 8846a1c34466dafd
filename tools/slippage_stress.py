"""Replays a strategy file at rising slippage.

The same as `mei-backtester validate slippage-stress`: its flags, its exit codes.
"""

from __future__ import annotations

import sys

from mei.cli.main import run


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    return run(["validate", "slippage-stress", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
