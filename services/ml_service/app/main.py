"""ml_service: trains regime models on registered candles, gates them, and serves filtered regimes.

`uvicorn --factory services.ml_service.app.main:create_app --port 8003`, or `python -m services.ml_service.app.main`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from fastapi import FastAPI

import mei
from mei.learning.features import (
    FEATURE_NAMES,
    PREDICT_WARM_UP_BARS,
    regime_features,
    volatility_z,
)
from mei.learning.regime_filter import filtered_probabilities, sequence_scores
from mei.learning.regime_model import RegimeModel
from mei.ledger.database import Ledger
from mei.model.bars import empty_bars
from mei.web.app import create_app as create_web_app
from mei.web.fault_plan import install_fault_plan
from services.ml_service.app.routes import routers
from services.ml_service.app.service import MlService
from services.ml_service.app.settings import Settings

DEFAULT_PORT = 8003


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def create_app(settings: Settings | None = None, *, now_ms: Callable[[], int] = _now_ms) -> FastAPI:
    """The app, ready to answer. `settings` None = from the environment. Raises ConfigError, LedgerError."""
    if settings is None:
        # A process of its own: only there may a test ask for an end at a fault point.
        install_fault_plan()
        settings = Settings.load()
        settings.check_window()
    settings.check()
    auth = settings.auth()
    ledger = Ledger.open(settings.ledger_db)
    service = MlService(settings, ledger, now_ms)

    def on_startup() -> None:
        service.recover()
        warm_up()

    def on_shutdown() -> None:
        service.close()
        ledger.close()

    app = create_web_app(
        "ml_service",
        version=mei.__version__,
        readiness=service.readiness,
        routers=routers(service),
        auth=auth,
        on_startup=on_startup,
        on_shutdown=on_shutdown,
    )
    app.state.instance = service.instance
    return app


def warm_up() -> None:
    """Compile the kernels now and not in the first request."""
    bars = empty_bars(PREDICT_WARM_UP_BARS + 1)
    bars["timestamp"] = np.arange(bars.size)
    for name in ("open", "high", "low", "close"):
        bars[name] = 1.0
    opens = np.ascontiguousarray(bars["timestamp"])
    n_features = len(FEATURE_NAMES)
    model = RegimeModel(
        startprob=np.full(2, 0.5),
        transmat=np.full((2, 2), 0.5),
        means=np.zeros((2, n_features)),
        variances=np.ones((2, n_features)),
        trained_through_ms=0,
        version=0,
    )
    features = regime_features(bars, 1)
    volatility_z(bars)
    last = bars.size - 1
    filtered_probabilities(model, features, opens, np.array([last], dtype=np.int64), 1)
    sequence_scores(model, features, opens, last, 1)


def main() -> int:
    """Serve on a socket; the exit code."""
    from mei.web.serve import serve_command

    return serve_command("ml_service", __doc__, DEFAULT_PORT, create_app)


if __name__ == "__main__":
    raise SystemExit(main())
