"""Commands contributed by entry points of group `mei.commands`, imported only when they are used.

An entry point `name = "module:object"` contributes a plain function with Typer annotations, or a
Typer app. Its line in `mei-backtester --help` is read from the source, not from the import.
"""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from mei.model.errors import ConfigError

GROUP = "mei.commands"


class ContributedGroup(TyperGroup):
    """A Typer group whose contributed commands are loaded when one of them is invoked."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.contributed = _unique(entry_points(group=GROUP), taken=set(self.commands))
        for name, entry in sorted(self.contributed.items()):
            line = one_line_help(entry)
            self.add_command(TyperCommand(name, short_help=line, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command to run; this is where a contributed one is imported."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in self.contributed:
            command = load(self.contributed[name])
        return name, command, rest


def load(entry: EntryPoint) -> Any:
    """The click command of a contributed function or Typer app.

    Raises ConfigError when it cannot be imported.
    """
    try:
        contributed = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"command {entry.name!r} must be importable as {entry.value}, was not ({error}): "
            "install the package that contributes it again (make setup)"
        ) from error
    if isinstance(contributed, typer.Typer):
        return typer.main.get_command(contributed)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(entry.name)(contributed)
    return typer.main.get_command(app)


def one_line_help(entry: EntryPoint) -> str:
    """First docstring line of a contributed function (for an app: of its module), not imported."""
    try:
        spec = importlib.util.find_spec(entry.module)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        return f"(cannot be loaded: there is no module {entry.module})"
    return _first_docstring_line(Path(spec.origin), entry.attr)


def _first_docstring_line(source: Path, function_name: str) -> str:
    module = ast.parse(source.read_bytes())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in module.body:
        if isinstance(node, functions) and node.name == function_name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return (ast.get_docstring(module) or "").partition("\n")[0]


def _unique(entries: Any, taken: set[str]) -> dict[str, EntryPoint]:
    unique: dict[str, EntryPoint] = {}
    for entry in entries:
        known = unique.setdefault(entry.name, entry)
        if entry.name in taken or known.value != entry.value:
            raise ConfigError(
                f"command names must be unique, {entry.name!r} is contributed by {entry.value} "
                f"and {'the program itself' if entry.name in taken else known.value}: "
                "uninstall one of the two packages"
            )
    return unique
