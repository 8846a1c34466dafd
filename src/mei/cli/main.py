"""`mei-backtester`: the program, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from mei.cli.contributed import ContributedGroup
from mei.cli.versions import PROGRAM, print_version
from mei.model.errors import MeiError

_TRACEBACK_FLAG = "--traceback"
_EXIT_INTERRUPTED = 130
#: Typer exports only subclasses of the usage error it raises.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name=PROGRAM,
    cls=ContributedGroup,
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing rich for it costs a fifth of the half second
    help="Replay a live learning loop: train, gate, promote, serve and trade, bar by bar.",
)


@app.callback(invoke_without_command=True)
def _options(
    ctx: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=print_version, is_eager=True, help="Show the version."
        ),
    ] = False,
    _traceback: Annotated[
        bool, typer.Option(_TRACEBACK_FLAG, help="Show where an error came from.")
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


@app.command(short_help="Write the deterministic sample: 1m candles, three regimes, two gaps.")
def sample(
    research_dir: Annotated[
        Path, typer.Option(envvar="RESEARCH_DIR", help="Where the candles go.")
    ] = Path("research"),
    symbols: Annotated[
        str, typer.Option(envvar="SYMBOLS", help="Comma separated.")
    ] = "BTC/USDT,ETH/USDT",
    days: Annotated[int, typer.Option(min=1, help="Days of 1m candles.")] = 30,
    seed: Annotated[int, typer.Option(envvar="SEED", help="Same seed, same bytes.")] = 42,
) -> None:
    """Write the deterministic sample: 1m candles with three regimes and two gaps."""
    from mei.data.sample import write_sample

    names = tuple(name.strip() for name in symbols.split(",") if name.strip())
    write_sample(research_dir, symbols=names, days=days, seed=seed)


@app.command("smoke-data", short_help="Write the smoke set: 1h and 3m candles of 60 symbols.")
def smoke_data(
    out: Annotated[Path, typer.Option(help="Folder of the databases.")] = Path("candles_dbs"),
    symbols: Annotated[int, typer.Option(min=1, max=999, help="How many.")] = 60,
    days: Annotated[int, typer.Option(min=1, help="Days of candles.")] = 19,
    seed: Annotated[int, typer.Option(envvar="SEED", help="Same seed, same candles.")] = 42,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take new values for bars that are there already.")
    ] = False,
) -> None:
    """Write the smoke set, a made-up market in 1h and 3m candles, into databases for sweeps."""
    from mei.data.smoke_market import write_smoke_market

    write_smoke_market(
        out, n_symbols=symbols, days=days, seed=seed, replace=replace, tell=typer.echo
    )


def main() -> None:
    """Run the program on `sys.argv` and exit with its code (see `mei.model.errors`)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code. Errors are told in one line on stderr."""
    wants_traceback = _TRACEBACK_FLAG in arguments
    arguments = [argument for argument in arguments if argument != _TRACEBACK_FLAG]
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    try:
        command = typer.main.get_command(app)
        with command.make_context(PROGRAM, arguments) as context:
            command.invoke(context)
        return 0
    except typer.Exit as stop:
        return int(stop.exit_code)
    except BrokenPipeError:
        return _silence_stdout()
    except (KeyboardInterrupt, typer.Abort):
        _tell("interrupted: start the same command again, an unfinished run is resumed")
        return _EXIT_INTERRUPTED
    except Exception as error:
        if wants_traceback:
            traceback.print_exc()
        line, exit_code = describe(error)
        _tell(line)
        return exit_code


def describe(error: Exception) -> tuple[str, int]:
    """The one line a user reads about `error`, and the exit code."""
    if isinstance(error, MeiError):
        return f"error: {_one_line(str(error))}", error.exit_code
    if isinstance(error, _UsageError):
        return f"error: {_one_line(_usage_message(error))}", 2
    what = _one_line(f"{type(error).__name__}: {error}")
    return f"error: unexpected {what} (a defect; add {_TRACEBACK_FLAG} to see where)", 1


def _usage_message(error: Exception) -> str:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    return f"{message.rstrip('.')}; see {path} --help"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _silence_stdout() -> int:
    """The reader of our output went away (`| head`): leave without a second error at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    main()
