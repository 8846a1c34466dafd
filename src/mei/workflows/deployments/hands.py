"""What a deployment reaches out with: clock, sleep, services, and whom it tells."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mei.workflows.deploy.restart import Run, run_command


@dataclass(frozen=True, slots=True)
class Hands:
    """tell: a line to the user; now_ms: epoch ms UTC; sleep: in seconds; user, hostname: who deploys, as recorded."""

    tell: Callable[[str], None]
    now_ms: Callable[[], int]
    sleep: Callable[[float], None]
    environment: Mapping[str, str]
    user: str
    hostname: str
    run: Run = run_command


def real_hands(now_ms: Callable[[], int] | None = None) -> Hands:
    """Those of this process: standard error, the clock, its environment, its user."""
    return Hands(
        tell=lambda line: print(line, file=sys.stderr, flush=True),
        now_ms=now_ms or (lambda: time.time_ns() // 1_000_000),
        sleep=time.sleep,
        environment=os.environ,
        user=_user(),
        hostname=socket.gethostname(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
