"""Programs of tools/ that are one function each: flags by Typer, errors in one line, JSON on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from mei.cli.main import describe
from mei.model.errors import ConfigError, MeiError, StoppedError


def run_tool(name: str, command: Callable[..., None] | typer.Typer, arguments: list[str]) -> int:
    """Run `command` as the program `name` with a command line; the exit code.

    The command raises typer.Exit for a code other than 0. Errors are told on standard error as `describe` words them.
    """
    app = command
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(command)
    try:
        program = typer.main.get_command(app)
        with program.make_context(name, list(arguments)) as context:
            program.invoke(context)
        return 0
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        tell("interrupted: what was done is kept, the same command goes on")
        return 130
    except Exception as error:
        line, exit_code = describe(error)
        tell(line)
        return _code_of_tool(error, exit_code)


def _code_of_tool(error: Exception, exit_code: int) -> int:
    """2 for wrong settings and flags, 1 for everything else, unless the error was given a code of its own."""
    is_own = isinstance(error, (ConfigError, StoppedError)) or "exit_code" in vars(error)
    return exit_code if is_own or not isinstance(error, MeiError) else 1


def tell(line: str) -> None:
    """One line for people."""
    print(line, file=sys.stderr, flush=True)


def print_json(report: dict[str, Any], indent: int | None = 2) -> None:
    """Sorted JSON on standard output; indent None or 0 = one line."""
    import json

    separators = None if indent else (",", ":")
    text = json.dumps(
        report,
        sort_keys=True,
        indent=indent or None,
        separators=separators,
        ensure_ascii=False,
        allow_nan=False,
    )
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def names_in(text: str | None) -> tuple[str, ...]:
    """The names of a list with commas, each once; none of None."""
    parts = (part.strip() for part in (text or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def clock_ms() -> int:
    """Now, epoch ms UTC."""
    import time

    return time.time_ns() // 1_000_000
