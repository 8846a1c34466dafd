"""Settings of sweep_worker, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mei.model.errors import ConfigError
from mei.web.auth import AuthSettings, auth_from
from mei.web.settings import load_settings

_MOST_THREADS = 1024


class Settings(BaseSettings):
    """One field an environment variable (upper case); the descriptions are the documentation."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    ledger_db: str = Field("shared/manifest.sqlite", description="manifest: file or database URL")
    results_dir: Path = Field(Path("results"), description="sweeps go to sweeps/<id> in it")
    sweep_dirs: str = Field(
        "config,candles_dbs", description="folders a request may name files in, comma-separated"
    )
    sweep_threads: int = Field(
        0, ge=0, le=_MOST_THREADS, description="threads of a sweep; 0 = one per CPU"
    )
    sweep_scheduler: str = Field(
        "", description="Dask scheduler of requests with on_cluster: tcp://host:8786"
    )
    sweep_lease_seconds: float = Field(
        20.0,
        ge=1.0,
        le=3600.0,
        allow_inf_nan=False,
        description="a sweep whose worker is silent for so long goes to another",
    )
    require_auth: bool = Field(False, description="refuse to start without a token or secret")
    auth_token_file: Path | None = Field(None, description="file of the bearer token")
    jwt_secret_file: Path | None = Field(None, description="file of the HS256 secret of JWTs")

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """From the environment, `given` over it. Raises ConfigError, one line."""
        return load_settings(cls, **given)

    def check(self) -> None:
        """Raise ConfigError unless SWEEP_DIRS and SWEEP_SCHEDULER can be meant."""
        if not self.input_dirs:
            raise ConfigError(
                f"SWEEP_DIRS must name a folder such as candles_dbs, was {self.sweep_dirs!r}"
            )
        if self.sweep_scheduler and "://" not in self.sweep_scheduler:
            raise ConfigError(
                f"SWEEP_SCHEDULER must be an address such as tcp://dask_scheduler:8786, was {self.sweep_scheduler!r}"
            )

    @property
    def input_dirs(self) -> tuple[Path, ...]:
        """SWEEP_DIRS as paths, relative ones from the working directory."""
        names = (name.strip() for name in self.sweep_dirs.split(","))
        return tuple(Path(name) for name in names if name)

    @property
    def lease_ms(self) -> int:
        """How long a worker holds a sweep without a sign of life."""
        return round(self.sweep_lease_seconds * 1000)

    def auth(self) -> AuthSettings | None:
        """Who may call; None = everybody. Raises ConfigError."""
        return auth_from(
            require_auth=self.require_auth,
            token_file=self.auth_token_file,
            secret_file=self.jwt_secret_file,
        )
