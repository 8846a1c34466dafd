"""Settings of param_controller, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mei.model.bars import symbol_name
from mei.model.errors import ConfigError
from mei.model.http import MAX_SEED
from mei.policy.schemas import StrategySchema, load_schemas
from mei.web.auth import AuthSettings, auth_from
from mei.web.settings import load_settings

_DEFAULT_CONFIG_DIR = Path("config")


class Settings(BaseSettings):
    """One field an environment variable (upper case); the descriptions are the documentation."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    ledger_db: str = Field("shared/manifest.sqlite", description="manifest: file or database URL")
    config_dir: Path = Field(_DEFAULT_CONFIG_DIR, description="folder of strategy_schemas/*.yaml")
    policy: str = Field("thompson", description="thompson, round_robin or fixed:<preset>")
    seed: int = Field(42, ge=0, le=MAX_SEED, description="of the policy's draws")
    strategies: str = Field("", description="served, comma-separated; empty = all with a schema")
    symbols: str = Field("BTC/USDT", description="instruments, comma-separated")
    require_auth: bool = Field(False, description="refuse to start without a token or secret")
    auth_token_file: Path | None = Field(None, description="file of the bearer token")
    jwt_secret_file: Path | None = Field(None, description="file of the HS256 secret of JWTs")

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """From the environment, `given` over it. Raises ConfigError, one line."""
        return load_settings(cls, **given)

    @property
    def instruments(self) -> tuple[str, ...]:
        """SYMBOLS as `BASE/QUOTE`, in the order given. Raises ConfigError."""
        names = tuple(symbol_name(name) for name in _names(self.symbols))
        if not names:
            raise ConfigError(
                f"SYMBOLS must name an instrument as BTC/USDT, found {self.symbols!r}"
            )
        return names

    def schemas(self) -> dict[str, StrategySchema]:
        """The schemas of the strategies served. Raises ConfigError.

        A strategy given as `path/to/file.py:Class` is known here by the name of its schema only, so
        with one of those every schema is served.
        """
        schemas = load_schemas(self._schemas_dir())
        wanted = _names(self.strategies)
        named = [name for name in wanted if ":" not in name]
        unknown = [name for name in named if name not in schemas]
        if unknown:
            raise ConfigError(
                f"STRATEGIES: no schema of {unknown[0]!r} in {self.config_dir}/strategy_schemas; "
                f"there are {', '.join(schemas)}"
            )
        if not wanted or len(named) < len(wanted):
            return schemas
        return {name: schemas[name] for name in named}

    def auth(self) -> AuthSettings | None:
        """Who may call; None = everybody. Raises ConfigError."""
        return auth_from(
            require_auth=self.require_auth,
            token_file=self.auth_token_file,
            secret_file=self.jwt_secret_file,
        )

    def _schemas_dir(self) -> Path | None:
        """The folder of schemas; None = the packaged ones, where there is no folder of one's own."""
        folder = self.config_dir / "strategy_schemas"
        if folder.is_dir():
            return folder
        if self.config_dir.is_dir() or self.config_dir == _DEFAULT_CONFIG_DIR:
            return None
        raise ConfigError(
            f"CONFIG_DIR must be a folder with strategy_schemas/, found {self.config_dir}"
        )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
