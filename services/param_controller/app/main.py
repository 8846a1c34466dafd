"""param_controller: parameters for every bar, chosen by a policy that learns from outcomes.

`uvicorn --factory services.param_controller.app.main:create_app`, or `python -m services.param_controller.app.main`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

import mei
from mei.ledger.database import Ledger
from mei.ledger.outcomes import count_outcomes
from mei.model.http import ParamsRequest
from mei.policy.decide import Policy
from mei.web.app import create_app as create_web_app
from mei.web.fault_plan import install_fault_plan
from services.param_controller.app.routes import routers
from services.param_controller.app.service import ParamService
from services.param_controller.app.settings import Settings

DEFAULT_PORT = 8002


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def create_app(settings: Settings | None = None, *, now_ms: Callable[[], int] = _now_ms) -> FastAPI:
    """The app, ready to answer. `settings` None = from the environment. Raises ConfigError, LedgerError."""
    if settings is None:
        # A process of its own: only there may a test ask for an end at a fault point.
        install_fault_plan()
        settings = Settings.load()
    schemas, instruments, auth = settings.schemas(), settings.instruments, settings.auth()
    policy = Policy.parse(settings.policy)
    ledger = Ledger.open(settings.ledger_db)
    service = ParamService(ledger, schemas, instruments, policy, settings.seed, now_ms)

    def readiness() -> dict[str, Any]:
        with ledger.reader() as connection:
            count_outcomes(connection, "live", next(iter(schemas)), instruments[0])
        return {
            "ledger_id": ledger.ledger_id,
            "strategies": list(schemas),
            "instruments": list(instruments),
        }

    def warm_up() -> None:
        """Compile the kernels now and not in the first request."""
        strategy = next(iter(schemas))
        asked = ParamsRequest(as_of_ms=[0], policy="thompson")
        for symbol in instruments:
            if schemas[strategy].instruments is None or symbol in (
                schemas[strategy].instruments or ()
            ):
                service.params(strategy, symbol, asked)
                return

    return create_web_app(
        "param_controller",
        version=mei.__version__,
        readiness=readiness,
        routers=routers(service),
        auth=auth,
        on_startup=warm_up,
        on_shutdown=ledger.close,
    )


def main() -> int:
    """Serve on a socket; the exit code."""
    from mei.web.serve import serve_command

    return serve_command("param_controller", __doc__, DEFAULT_PORT, create_app)


if __name__ == "__main__":
    raise SystemExit(main())
