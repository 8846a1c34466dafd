"""Conditions between the axes of a sweep, such as `indicators.ema_fast_window < indicators.ema_slow_window`.

Comparisons (chained, too) of axes and numbers, with `+ - *` and brackets, joined by `and`, `or` and `not`. They see the
values as the spec gives them, before any is cut to whole.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mei.model.bars import FloatArray
from mei.model.errors import ConfigError, DataError

Columns = Mapping[str, FloatArray]
_Truth = npt.NDArray[np.bool_]
_Rule = Callable[[Columns], Any]

_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_MUST: Final = "must compare axes and numbers by < <= > >= == !=, with + - * and and, or, not"
_MOST_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition: its text, the axes it speaks of, and the same as a function of columns."""

    text: str
    paths: frozenset[str]
    _rule: _Rule = field(compare=False, repr=False)

    def holds(self, columns: Columns) -> _Truth:
        """Where it holds; columns: path -> values, all of shape (n,), as is the result."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(self._rule(columns), next(iter(columns.values())).shape)


def parse_constraint(text: Any, paths: Collection[str], where: str) -> Constraint:
    """Read one condition between axes of `paths`.

    `where` stands before messages. DataError for what is no such condition, ConfigError for a path that is no axis.
    """
    if not isinstance(text, str) or len(text) > _MOST_CHARACTERS:
        raise DataError(f"{where} of a sweep spec {_MUST}, was {text!r:.80}")
    reader = _Reader(text, paths, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            rule = reader.condition(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        raise DataError(f"{where} of a sweep spec {_MUST}, was {text!r:.80}") from None
    if not reader.found:
        raise DataError(f"{where} of a sweep spec must speak of an axis, was {text!r:.80}")
    return Constraint(text, frozenset(reader.found), rule)


class _Reader:
    """Turns the parts of one condition into functions."""

    def __init__(self, text: str, paths: Collection[str], where: str) -> None:
        self._text = text
        self._paths = paths
        self._where = where
        self.found: set[str] = set()

    def condition(self, node: ast.expr) -> _Rule:
        """A part that is true or false."""
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(part) for part in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return lambda columns: join.reduce(
                np.broadcast_arrays(*(one(columns) for one in parts))
            )
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.condition(node.operand)
            return lambda columns: np.logical_not(inner(columns))
        raise self._fault(node)

    def _comparison(self, node: ast.Compare) -> _Rule:
        operands = [self._number(part) for part in (node.left, *node.comparators)]
        compare = [_COMPARISONS.get(type(op)) for op in node.ops]

        def rule(columns: Columns) -> Any:
            values = [operand(columns) for operand in operands]
            truth: Any = True
            for one, left, right in zip(compare, values, values[1:], strict=False):
                assert one is not None
                truth = np.logical_and(truth, one(left, right))
            return truth

        if None in compare:
            raise self._fault(node)
        return rule

    def _number(self, node: ast.expr) -> _Rule:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            value = float(node.value)  # type: ignore[arg-type]
            return lambda _columns: value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._number(node.operand)
            return lambda columns: -inner(columns)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            apply = _ARITHMETIC[type(node.op)]
            left, right = self._number(node.left), self._number(node.right)
            return lambda columns: apply(left(columns), right(columns))
        if isinstance(node, (ast.Name, ast.Attribute)):
            path = self._path(node)
            return lambda columns: columns[path]
        raise self._fault(node)

    def _path(self, node: ast.Name | ast.Attribute) -> str:
        path = ast.unparse(node)
        if path in self._paths:
            self.found.add(path)
            return path
        close = get_close_matches(path, self._paths, n=1)
        hint = f"did you mean {close[0]}?" if close else "make it an axis or write its number"
        raise ConfigError(
            f"{self._where} of a sweep spec must speak of axes, {path} is none: {hint}"
        )

    def _fault(self, node: ast.expr) -> DataError:
        part = ast.get_source_segment(self._text.strip(), node) or self._text
        return DataError(f"{self._where} of a sweep spec {_MUST}, was {part!r:.80}")
