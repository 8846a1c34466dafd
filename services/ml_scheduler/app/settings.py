"""Settings of ml_scheduler, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mei.model.errors import ConfigError
from mei.web.auth import AuthSettings, auth_from
from mei.web.settings import load_settings
from services.ml_scheduler.app.cron import Cron

_USUAL_URL = "http://127.0.0.1:8003"


class Settings(BaseSettings):
    """One field an environment variable (upper case); the descriptions are the documentation."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    ml_service: str = Field(
        "", description="URL of ml_service; empty = on this machine, at its usual port"
    )
    retrain_cron: str = Field(
        "0 */6 * * *", description="minute hour day month weekday, in UTC: when to train"
    )
    train_timeout_seconds: float = Field(
        900.0, gt=0, le=86_400, allow_inf_nan=False, description="how long one training may take"
    )
    service_timeout_seconds: float = Field(
        300.0,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="how long an unreachable ml_service is asked again before that is told",
    )
    service_token: str = Field("", description="bearer token for ml_service, if it asks for one")
    require_auth: bool = Field(False, description="refuse to start without a token or secret")
    auth_token_file: Path | None = Field(None, description="file of the bearer token")
    jwt_secret_file: Path | None = Field(None, description="file of the HS256 secret of JWTs")

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """From the environment, `given` over it. Raises ConfigError, one line."""
        return load_settings(cls, **given)

    def check(self) -> None:
        """Raise ConfigError unless RETRAIN_CRON and ML_SERVICE can be meant."""
        self.cron()
        if not self.ml_service_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"ML_SERVICE must be a URL such as http://ml_service:8003, was {self.ml_service!r}"
            )

    @property
    def ml_service_url(self) -> str:
        """ML_SERVICE, or where it usually is."""
        return self.ml_service or _USUAL_URL

    def cron(self) -> Cron:
        """RETRAIN_CRON, parsed. Raises ConfigError."""
        return Cron.parse(self.retrain_cron)

    def auth(self) -> AuthSettings | None:
        """Who may call; None = everybody. Raises ConfigError."""
        return auth_from(
            require_auth=self.require_auth,
            token_file=self.auth_token_file,
            secret_file=self.jwt_secret_file,
        )
