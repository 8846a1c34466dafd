"""A service on a socket, ended by SIGTERM within ten seconds and with exit code 0."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from fastapi import FastAPI

#: Requests under way get this long after SIGTERM; Docker and systemd kill after ten seconds or more.
SHUTDOWN_LIMIT_S = 5


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C; the app's `on_shutdown` runs before this returns or exits."""
    import uvicorn

    # uvicorn shuts down gracefully and then raises the signal again, to whoever handled it before.
    signal.signal(signal.SIGTERM, _leave)
    uvicorn.run(
        app, host=host, port=port, log_config=None, timeout_graceful_shutdown=SHUTDOWN_LIMIT_S
    )


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
