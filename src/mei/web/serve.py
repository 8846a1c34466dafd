"""A service on a socket: its command line, and its end by SIGTERM within ten seconds and with exit code 0."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from fastapi import FastAPI

from mei.model.errors import MeiError
from mei.web.logs import configure_logs

#: Requests under way get this long after SIGTERM; Docker and systemd kill after ten seconds or more.
SHUTDOWN_LIMIT_S = 5


def serve_command(
    name: str, description: str | None, default_port: int, create_app: Callable[[], FastAPI]
) -> int:
    """The `main` of a service: read --host, --port and --log-level, make the app, serve it; the exit code.

    What `create_app` refuses (a MeiError) is told in one line on stderr.
    """
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=default_port)
    parser.add_argument("--log-level", default="info")
    args = parser.parse_args()
    configure_logs(name, args.log_level)
    try:
        app = create_app()
    except MeiError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    serve(app, args.host, args.port)
    return 0


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
