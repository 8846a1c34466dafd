"""sweep_worker: sweeps asked for over HTTP, kept in the ledger, run one after another.

`uvicorn --factory services.sweep_worker.app.main:create_app --port 8004`, or
`python -m services.sweep_worker.app.main`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from fastapi import FastAPI

import mei
from mei.ledger.database import Ledger
from mei.web.app import create_app as create_web_app
from mei.web.fault_plan import install_fault_plan
from services.sweep_worker.app.asked import sweeps_folder
from services.sweep_worker.app.routes import routers
from services.sweep_worker.app.service import SweepService
from services.sweep_worker.app.settings import Settings
from services.sweep_worker.app.worker import Worker

DEFAULT_PORT = 8004


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _random_id() -> str:
    return uuid.uuid4().hex


def create_app(
    settings: Settings | None = None,
    *,
    now_ms: Callable[[], int] = _now_ms,
    new_id: Callable[[], str] = _random_id,
) -> FastAPI:
    """The app, ready to answer, and its worker. `settings` None = from the environment.

    new_id: of the worker and of its claims, never the same twice. Raises ConfigError, LedgerError, OutputError.
    """
    if settings is None:
        # A process of its own: only there may a test ask for an end at a fault point.
        install_fault_plan()
        settings = Settings.load()
    settings.check()
    auth = settings.auth()
    folder = sweeps_folder(settings)
    ledger = Ledger.open(settings.ledger_db)
    owner = f"sweep_worker@{new_id()}"
    worker = Worker(ledger, settings, folder, owner, now_ms=now_ms, new_token=new_id)
    service = SweepService(ledger, settings, folder, worker, now_ms)

    def on_shutdown() -> None:
        worker.close()
        ledger.close()

    app = create_web_app(
        "sweep_worker",
        version=mei.__version__,
        readiness=service.readiness,
        routers=routers(service),
        auth=auth,
        on_startup=worker.start,
        on_shutdown=on_shutdown,
    )
    app.state.close = on_shutdown
    return app


def main() -> int:
    """Serve on a socket; the exit code."""
    from mei.web.serve import serve_command

    return serve_command("sweep_worker", __doc__, DEFAULT_PORT, create_app)


if __name__ == "__main__":
    raise SystemExit(main())
