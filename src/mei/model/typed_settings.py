"""Settings given over defaults: every key must be known, every value of the type of its default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from mei.model.errors import ConfigError


def merged_over(
    defaults: Mapping[str, Any], given: Mapping[str, Any], *, owner: str, source: str = ""
) -> dict[str, Any]:
    """`defaults` with `given` over them. Raises ConfigError for unknown keys and wrong types.

    owner: whose settings these are (a strategy's name); source: the file they stand in, if any. Both enter messages.
    """
    where = f"{source}: {owner}" if source else owner
    for key, value in given.items():
        if key not in defaults:
            close = get_close_matches(str(key), list(defaults), n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"{where} must be given settings it knows ({', '.join(sorted(defaults)) or 'none'}), "
                f"found {key!r}{hint}"
            )
        must = wrong_type(defaults[key], value)
        if must is not None:
            raise ConfigError(f"{where}.{key} must be {must}, was {value!r}")
    return {**defaults, **given}


def wrong_type(default: Any, value: Any) -> str | None:
    """What `value` must be to replace `default`, in words; None if it is that."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        is_right = isinstance(value, int) and not isinstance(value, bool)
        return None if is_right else "a whole number"
    if isinstance(default, float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if is_number and math.isfinite(value) else "a finite number"
    if isinstance(default, str):
        return None if isinstance(value, str) else "text"
    if isinstance(default, list | tuple):
        return None if isinstance(value, list | tuple) else "a list"
    return None
