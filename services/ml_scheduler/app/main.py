"""ml_scheduler: asks ml_service to train the live stream at the moments of RETRAIN_CRON.

`uvicorn --factory services.ml_scheduler.app.main:create_app --port 8006`, or
`python -m services.ml_scheduler.app.main`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

import mei
from mei.web.app import create_app as create_web_app
from mei.web.bodies import json_reply
from mei.web.client import RetryPolicy, ServiceClient
from services.ml_scheduler.app.scheduler import Scheduler
from services.ml_scheduler.app.settings import Settings

DEFAULT_PORT = 8006
STREAM = "live"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def create_app(
    settings: Settings | None = None,
    *,
    now_ms: Callable[[], int] = _now_ms,
    ask: Callable[[int], dict[str, Any]] | None = None,
) -> FastAPI:
    """The app and its thread. `settings` None = from the environment; `ask` None = over HTTP. Raises ConfigError."""
    settings = Settings.load() if settings is None else settings
    settings.check()
    scheduler = Scheduler(settings.cron(), ask or _asks(settings), now_ms)
    app = create_web_app(
        "ml_scheduler",
        version=mei.__version__,
        readiness=lambda: _readiness(scheduler),
        routers=[_router(scheduler)],
        auth=settings.auth(),
        on_startup=scheduler.start,
        on_shutdown=scheduler.close,
    )
    app.state.scheduler = scheduler
    return app


def _asks(settings: Settings) -> Callable[[int], dict[str, Any]]:
    async def train(as_of_ms: int) -> dict[str, Any]:
        async with ServiceClient(
            settings.ml_service_url,
            name="ml_service",
            timeout_s=settings.train_timeout_seconds,
            retry=RetryPolicy(limit_s=settings.service_timeout_seconds),
            token=settings.service_token or None,
        ) as client:
            answer = await client.post_json("/train", {"stream": STREAM, "as_of_ms": as_of_ms})
        return dict(answer)

    return lambda as_of_ms: asyncio.run(train(as_of_ms))


def _readiness(scheduler: Scheduler) -> dict[str, Any]:
    """Not ready while the newest moment has no answer for a reason, or nobody asks."""
    reasons = [] if scheduler.is_alive else ["the thread that asks has ended, see the log"]
    if scheduler.schedule.fault is not None:
        reasons.append(scheduler.schedule.fault)
    return {"next_ms": scheduler.next_ms(), "reasons": reasons}


def _router(scheduler: Scheduler) -> APIRouter:
    router = APIRouter(tags=["schedule"])

    @router.get("/schedule", summary="When was asked, what was answered, when is next")
    async def schedule() -> Response:
        found = scheduler.schedule
        return json_reply(
            {
                "cron": scheduler.cron.line,
                "last_ms": found.asked_ms,
                "next_ms": scheduler.next_ms(),
                "answer": found.answer,
                "fault": found.fault,
                "answered": found.n_answered,
                "refused": found.n_refused,
            }
        )

    return router


def main() -> int:
    """Serve on a socket; the exit code."""
    from mei.web.serve import serve_command

    return serve_command("ml_scheduler", __doc__, DEFAULT_PORT, create_app)


if __name__ == "__main__":
    raise SystemExit(main())
