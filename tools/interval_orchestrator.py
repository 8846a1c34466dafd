"""Restarts a trader and what feeds it, paused meanwhile if asked to, and looks whether both run.

Prints `[OK|FAIL] service (exit_code=n)` for each; exit code 1 when one failed, and the pause stays.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time

from mei.model.errors import MeiError
from mei.workflows.deploy.restart import PAUSE_MODES, IntervalChange, orchestrate
from mei.workflows.deploy.yaml_deploy import to_stderr


def main(arguments: list[str]) -> int:
    """Restart; the exit code."""
    options = _parser().parse_args(arguments)
    change = IntervalChange(
        trader_service=options.trader_service,
        ws_service=options.ws_service,
        pause_file=options.pause_file,
        pause_mode=options.pause_mode,
        resume_on_success=options.resume_on_success,
        verify_sleep_s=options.verify_sleep_s,
    )
    try:
        results = orchestrate(change, os.environ, sleep=time.sleep, tell=to_stderr)
    except MeiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for one in results:
        print(one.line())
    return 0 if all(one.ok for one in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ws-service", metavar="UNIT", help="what feeds the trader, restarted first"
    )
    parser.add_argument("--trader-service", required=True, metavar="UNIT")
    parser.add_argument("--pause-file", metavar="PATH", help="default: the trader is not paused")
    parser.add_argument("--pause-mode", choices=PAUSE_MODES, default=PAUSE_MODES[0])
    parser.add_argument(
        "--resume-on-success", action="store_true", help="take the pause away when all went well"
    )
    parser.add_argument(
        "--verify-sleep-s", type=_seconds, default=2.0, metavar="S", help="before looking (2)"
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0.0):
        raise argparse.ArgumentTypeError(f"must be seconds, 0 or more, was {text}")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
