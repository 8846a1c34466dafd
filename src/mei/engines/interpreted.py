"""Rules as the plain Python they are: another executor for the same functions on the same records.

No compiler and no disk cache, hundreds of times slower: what a compiled rule answers can be reproduced, stepped
through in a debugger, and tried with a changed line. `bind_python(rule)` takes the place of `bind_cpu(rule)`.
"""

from __future__ import annotations

from functools import cache, wraps
from operator import itemgetter
from typing import Any

import numpy as np

from mei.engines.bind import Rule


def bind_python(rule: Rule) -> Rule:
    """The rule as it stands, called with records whose fields are attributes and write through to the caller's.

    x/0 is an infinity or NaN where an operand comes from an array, as in compiled code; two Python numbers raise.
    """

    @wraps(rule)
    def interpreted(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return rule(*(with_attributes(argument) for argument in arguments))

    return interpreted


def with_attributes(argument: Any) -> Any:
    """The same memory with fields as attributes: a record, an array of records, a named tuple of such; else as is."""
    if isinstance(argument, np.ndarray | np.void) and argument.dtype.names:
        return argument.view(_with_rows(argument.dtype))
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return type(argument)(*(with_attributes(value) for value in argument))
    return argument


@cache
def _with_rows(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # Properties of its own class: no field hides behind an attribute of numpy's (`size`), no other name can be set.
    fields: dict[str, Any] = {name: property(itemgetter(name)) for name in dtype.names or ()}
    row = type("Row", (np.void,), {**fields, "__setattr__": np.void.__setitem__})
    return np.dtype((row, dtype))
