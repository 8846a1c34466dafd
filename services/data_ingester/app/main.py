"""data_ingester: closed candles from an exchange into candle databases and into chunks of the live stream.

`uvicorn --factory services.data_ingester.app.main:create_app --port 8001`, or
`python -m services.data_ingester.app.main`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import FastAPI

import mei
from mei.ledger.database import Ledger
from mei.web.app import create_app as create_web_app
from mei.web.fault_plan import install_fault_plan
from services.data_ingester.app.routes import routers
from services.data_ingester.app.service import IngestService
from services.data_ingester.app.settings import Settings

DEFAULT_PORT = 8001


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def create_app(settings: Settings | None = None, *, now_ms: Callable[[], int] = _now_ms) -> FastAPI:
    """The app, ready to answer. `settings` None = from the environment. Raises ConfigError, LedgerError."""
    if settings is None:
        # A process of its own: only there may a test ask for an end at a fault point.
        install_fault_plan()
        settings = Settings.load()
    settings.check()
    auth = settings.auth()
    ledger = Ledger.open(settings.ledger_db)
    service = IngestService(settings, ledger, now_ms)

    def on_shutdown() -> None:
        service.close()
        ledger.close()

    app = create_web_app(
        "data_ingester",
        version=mei.__version__,
        readiness=service.readiness,
        routers=routers(service),
        auth=auth,
        on_startup=service.start,
        on_shutdown=on_shutdown,
    )
    app.state.close = on_shutdown
    return app


def main() -> int:
    """Serve on a socket; the exit code."""
    from mei.web.serve import serve_command

    return serve_command("data_ingester", __doc__, DEFAULT_PORT, create_app)


if __name__ == "__main__":
    raise SystemExit(main())
