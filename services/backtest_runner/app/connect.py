"""Clients of the two services: by URL, or of the real apps mounted in this process (no sockets)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from mei.web.client import RetryPolicy, ServiceClient
from services.backtest_runner.app.settings import Settings


@dataclass(frozen=True, slots=True)
class Clients:
    """The loop's two services."""

    ml_service: ServiceClient
    param_controller: ServiceClient


async def connect(
    settings: Settings, on_wait: Callable[[str], None], stack: AsyncExitStack
) -> Clients:
    """Clients as the settings say; an empty URL means embedded. What they hold is released with `stack`."""
    ml_target: Any = settings.ml_service or _embedded_ml_service(settings)
    params_target: Any = settings.param_controller or _embedded_param_controller(settings)
    for target in (ml_target, params_target):
        if not isinstance(target, str):
            # ASGITransport runs no lifespan: an embedded app's ledger is closed by this one.
            await stack.enter_async_context(target.router.lifespan_context(target))
    clients = Clients(
        _client(ml_target, "ml_service", settings, on_wait),
        _client(params_target, "param_controller", settings, on_wait),
    )
    stack.push_async_callback(clients.ml_service.aclose)
    stack.push_async_callback(clients.param_controller.aclose)
    return clients


def _client(
    target: str | Any, name: str, settings: Settings, on_wait: Callable[[str], None]
) -> ServiceClient:
    return ServiceClient(
        target,
        name=name,
        retry=RetryPolicy(limit_s=settings.service_timeout_seconds),
        on_wait=on_wait,
        token=settings.service_token or None,
    )


def _embedded_ml_service(settings: Settings) -> Any:
    from services.ml_service.app.main import create_app
    from services.ml_service.app.settings import Settings as MlSettings

    return create_app(
        MlSettings(
            ledger_db=settings.ledger_db,
            data_incoming=settings.data_incoming,
            models_dir=settings.models_dir,
            symbols=settings.symbols,
            timeframe=settings.timeframe,
            require_auth=False,
            auth_token_file=None,
            jwt_secret_file=None,
        )
    )


def _embedded_param_controller(settings: Settings) -> Any:
    from services.param_controller.app.main import create_app
    from services.param_controller.app.settings import Settings as PolicySettings

    return create_app(
        PolicySettings(
            ledger_db=settings.ledger_db,
            config_dir=settings.config_dir,
            policy=settings.policy,
            seed=settings.seed,
            strategies="",
            symbols=settings.symbols,
            require_auth=False,
            auth_token_file=None,
            jwt_secret_file=None,
        )
    )
