"""Settings of a service: the environment read by pydantic-settings, its faults in one line."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from mei.model.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseSettings)


def load_settings(kind: type[Settings], **given: Any) -> Settings:
    """Settings from the environment, `given` over it. ConfigError names variable, value, what is right."""
    try:
        return kind(**given)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        variable = ".".join(str(part) for part in fault["loc"]).upper() or "the environment"
        must = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise ConfigError(f"{variable} must be {must}, found {fault['input']!r}") from None
