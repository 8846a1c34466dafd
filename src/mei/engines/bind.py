"""Rules compiled for a target machine: the same functions, another executor.

Rules are plain Python and call each other through the globals of their modules. `bind_cpu` compiles a rule together
with every rule it reaches: each gets a copy of its globals in which the rules it calls are compiled ones.
`replaced` puts other functions in place of named ones (a generic walk bound to one strategy's rules, say); such a
binding has a cache folder of its own, named by what those functions are made of, since numba tells compiled functions
apart by source file, line and argument types alone. Only what is called from outside is kept on disk; the rules it
calls are in its code.
"""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from mei.jit import compiled
from mei.model.errors import StrategyError

Rule = Callable[..., Any]

_RULES = "mei.rules"
_bound: dict[tuple[Rule, str, bool], Rule] = {}


def bind_cpu(rule: Rule, replaced: Mapping[str, Rule] | None = None) -> Rule:
    """The rule and all rules it calls as machine code, cached on disk by the hash of all sources.

    replaced: name of a called function, as the caller spells it -> the function to call instead.
    Raises StrategyError when a rule reaches another through its module (`exits.f`), which cannot be compiled.
    """
    replacements = dict(replaced or {})
    return _bind(rule, replacements, _folder_of(replacements), True)


def _bind(rule: Rule, replacements: Mapping[str, Rule], folder: str, is_entry: bool) -> Rule:
    key = (rule, folder, is_entry)
    if key not in _bound:
        copy = with_bound_callees(
            rule, replacements, lambda called: _bind(called, replacements, folder, False)
        )
        is_part = None if is_entry else _is_part(rule)
        _bound[key] = compiled(copy, folder, is_kept=is_entry, is_part=is_part)
    return _bound[key]


def _is_part(rule: Rule) -> bool | None:
    """Whether the rule becomes part of its caller; None = as the caller.

    A World is some 120 words at every call, more work than most rules do. Only what a module names in its `SELDOM` is
    called, to keep the code, and the time it takes to compile, small.
    """
    code = rule.__code__
    if "world" not in code.co_varnames[: code.co_argcount]:
        return None
    return rule.__name__ not in rule.__globals__.get("SELDOM", ())


def with_bound_callees(
    rule: Rule, replacements: Mapping[str, Rule], bind: Callable[[Rule], Rule]
) -> Rule:
    """A copy of the rule in whose globals each rule it calls is what `bind` makes of it.

    Raises StrategyError for what is no plain function and for a rule reached through its module.
    """
    if not isinstance(rule, FunctionType):
        raise StrategyError(f"a rule must be a plain function, {rule!r} is not")
    callees = {}
    for name in _names(rule.__code__):
        target = replacements.get(name, rule.__globals__.get(name))
        if isinstance(target, FunctionType) and (
            name in replacements or target.__module__.startswith(_RULES)
        ):
            callees[name] = bind(target)
        elif isinstance(target, ModuleType) and target.__name__.startswith(_RULES):
            raise StrategyError(
                f"{rule.__module__}.{rule.__name__} must import the rules it calls by name, "
                f"it imports the module {target.__name__}"
            )
    if not callees:
        return rule
    copy = FunctionType(
        rule.__code__, {**rule.__globals__, **callees}, rule.__name__, rule.__defaults__
    )
    copy.__module__, copy.__qualname__ = rule.__module__, rule.__qualname__
    copy.__kwdefaults__ = rule.__kwdefaults__
    return copy


def _names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _folder_of(replacements: Mapping[str, Rule]) -> str:
    if not replacements:
        return ""
    digest = hashlib.sha256()
    for name, rule in sorted(replacements.items()):
        digest.update(name.encode())
        for part in _content_of(rule, set()):
            digest.update(f";{part}".encode())
    return digest.hexdigest()[:16]


def _content_of(rule: Rule, seen: set[Rule]) -> Iterator[str]:
    """What a function and the functions it calls are made of: two strategies may give their rules the same names."""
    seen.add(rule)
    yield f"{rule.__module__}.{rule.__qualname__}"
    yield from _content_of_code(rule.__code__)
    values = [rule.__globals__.get(name) for name in _names(rule.__code__)]
    values += [cell.cell_contents for cell in rule.__closure__ or ()]
    for value in (*values, rule.__defaults__, rule.__kwdefaults__):
        if isinstance(value, FunctionType):
            if value not in seen:
                yield from _content_of(value, seen)
        elif isinstance(value, np.ndarray):
            yield f"{value.dtype}{value.shape}{value.tobytes().hex()}"
        else:
            yield repr(value)


def _content_of_code(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()}{code.co_names}{code.co_varnames}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _content_of_code(constant)
        else:
            yield repr(constant)
