"""Prove promises about the loop on your own candles and settings."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(add_completion=False, help="Prove promises about the loop on your own candles.")


@app.callback()
def _verify() -> None:
    """Keep the group: each promise is a subcommand."""


@app.command("prefix-invariance")
def prefix_invariance(
    cuts: Annotated[int, typer.Option(min=1, help="How many random bars to cut at.")] = 20,
    seed: Annotated[
        int, typer.Option(help="Of the choice of bars and of the scrambled future.")
    ] = 1,
    end_ts: Annotated[
        str | None, typer.Option("--end-ts", help="Shorten the run (env END_TS).")
    ] = None,
) -> None:
    """Cut and scramble the future at random bars; every earlier row of every output must be identical.

    Candles and settings come from the environment, as for `loop`.
    """
    from services.backtest_runner.app.settings import Settings
    from services.backtest_runner.app.verify import verify_prefix_invariance

    settings = Settings.load(end_ts=end_ts)
    for line in verify_prefix_invariance(settings, n_cuts=cuts, seed=seed):
        typer.echo(line)
