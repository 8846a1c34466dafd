"""paper_trader: Mei Alpha on paper, over candles as they appear in candle databases.

`uvicorn --factory services.paper_trader.app.main:create_app --port 8005`, or
`python -m services.paper_trader.app.main`.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

import mei
from mei.web.app import create_app as create_web_app
from mei.web.fault_plan import install_fault_plan
from services.paper_trader.app.routes import routers
from services.paper_trader.app.service import PaperService
from services.paper_trader.app.settings import Settings

DEFAULT_PORT = 8005


def create_app(
    settings: Settings | None = None,
    *,
    now_ms: Callable[[], int] | None = None,
    loops: bool = True,
) -> FastAPI:
    """The app, looking for bars. Settings from the environment unless given, the clock as they say.

    loops: False = steps are taken by `app.state.advance(now_ms)` alone. ConfigError for settings that cannot be used.
    """
    if settings is None:
        # A process of its own: only there may a test ask for an end at a fault point.
        install_fault_plan()
        settings = Settings.load()
    settings.check()
    auth = settings.auth()
    service = PaperService(settings, now_ms or settings.clock())
    app = create_web_app(
        "paper_trader",
        version=mei.__version__,
        readiness=service.readiness,
        routers=routers(service),
        auth=auth,
        on_startup=service.start if loops else None,
        on_shutdown=service.close,
    )
    app.state.close = service.close
    app.state.advance = service.advance
    return app


def main() -> int:
    """Serve on a socket; the exit code."""
    from mei.web.serve import serve_command

    return serve_command("paper_trader", __doc__, DEFAULT_PORT, create_app)


if __name__ == "__main__":
    raise SystemExit(main())
