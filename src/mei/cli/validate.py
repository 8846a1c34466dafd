"""Test a result: other times, costs and settings, other orders of trades, what it hangs on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mei.cli import backtest_options as options
from mei.cli.backtest_options import finite, one_exit_code, print_banner, tell
from mei.model.errors import ConfigError, MeiError

if TYPE_CHECKING:
    from mei.workflows.validate.terms import RunTerms

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)

_ConfigFlag = Annotated[str, typer.Option("--config", help="Strategy file, YAML.")]
_CandlesFlag = Annotated[
    str | None,
    typer.Option(
        "--candles-db",
        help="Candle databases, also of exits and entries where the file has intervals for them.  "
        "[default: candles_dbs/candles_<interval>.db]",
    ),
]
_OutputFlag = Annotated[
    str | None,
    typer.Option("--output", help="Summary, JSON.  [default: summary.json in --out-dir]"),
]
_TextFlag = Annotated[
    str | None, typer.Option("--output", help="Summary, JSON.  [default: standard output]")
]
_ReportFlag = Annotated[
    str, typer.Option("--replay-report", help="Report of a replay (its --output).")
]


@app.command("walk-forward", short_help="Replay stretches that follow each other's training.")
def walk_forward(
    config: _ConfigFlag,
    interval: options.IntervalFlag = None,
    candles_db: _CandlesFlag = None,
    funding_db: options.FundingFlag = None,
    start_ts: Annotated[
        str | None, typer.Option("--start-ts", metavar="TIME", help="Where the first split starts.")
    ] = None,
    end_ts: Annotated[
        str | None, typer.Option("--end-ts", metavar="TIME", help="Where the last one ends.")
    ] = None,
    no_scope_entry_exit: Annotated[
        bool,
        typer.Option(
            "--no-scope-entry-exit",
            help="The range is that of the main candles, not of finer ones.",
        ),
    ] = False,
    splits_json: Annotated[
        str | None,
        typer.Option(
            "--splits-json", help="A list of {name, train_days, test_days, offset_days}, JSON."
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            metavar="[NAME:]TRAIN,TEST,OFFSET",
            help="Days, may be repeated.  [default: 12,7,0 12,4,3 9,10,0]",
        ),
    ] = None,
    min_test_days: Annotated[
        float, typer.Option("--min-test-days", min=0.0, help="Shorter tests are skipped.")
    ] = 1.0,
    out_dir: Annotated[
        str, typer.Option("--out-dir", help="Folder of reports and summary.")
    ] = "walk_forward",
    output: _OutputFlag = None,
    strategy: options.StrategyFlag = "mei_alpha",
    semantics: options.SemanticsFlag = "strict",
) -> None:
    """Replay the file over the test part of each split; nothing is trained."""
    from mei.workflows.validate.splits import parse_splits
    from mei.workflows.validate.walk_forward import WalkForwardRequest, run_walk_forward

    terms = _terms(config, interval, candles_db, funding_db, strategy, semantics)
    if not terms.is_strict and terms.interval is None:
        terms = replace(terms, interval="1h")
    request = WalkForwardRequest(
        terms=terms,
        splits=parse_splits(split or (), splits_json),
        start_ms=_time("--start-ts", start_ts),
        end_ms=_time("--end-ts", end_ts),
        scoped=not no_scope_entry_exit,
        splits_json=splits_json,
        min_test_days=finite("--min-test-days", min_test_days),
        out_dir=out_dir,
        output=output,
    )
    print_banner()
    with one_exit_code():
        run_walk_forward(request, tell)


@app.command("slippage-stress", short_help="Replay at rising slippage.")
def slippage_stress(
    config: _ConfigFlag,
    interval: options.IntervalFlag = None,
    candles_db: _CandlesFlag = None,
    funding_db: options.FundingFlag = None,
    slippage_bps: Annotated[
        str,
        typer.Option("--slippage-bps", help="Levels above 0; the first is what to compare with."),
    ] = "10,20,30",
    reject_flip_bps: Annotated[
        float,
        typer.Option(
            "--reject-flip-bps", help="The level at which a profit must not have become a loss."
        ),
    ] = 20.0,
    out_dir: Annotated[
        str, typer.Option("--out-dir", help="Folder of reports and summary.")
    ] = "slippage_stress",
    output: _OutputFlag = None,
    strategy: options.StrategyFlag = "mei_alpha",
    semantics: options.SemanticsFlag = "strict",
) -> None:
    """Replay the file at each level of slippage."""
    from mei.workflows.validate.slippage import SlippageRequest, run_slippage_stress

    request = SlippageRequest(
        terms=_terms(config, interval, candles_db, funding_db, strategy, semantics),
        levels_bps=levels_of(slippage_bps),
        reject_bps=finite("--reject-flip-bps", reject_flip_bps),
        out_dir=out_dir,
        output=output,
    )
    print_banner()
    with one_exit_code():
        run_slippage_stress(request, tell)


@app.command("sensitivity", short_help="Replay with one setting moved at a time.")
def sensitivity(
    config: _ConfigFlag,
    out_dir: Annotated[str, typer.Option("--out-dir", help="Folder of files, reports and logs.")],
    output: Annotated[str, typer.Option("--output", help="Summary, JSON.")],
    interval: options.IntervalFlag = None,
    candles_db: _CandlesFlag = None,
    funding_db: options.FundingFlag = None,
    baseline_replay_report: Annotated[
        str | None,
        typer.Option(
            "--baseline-replay-report",
            help="Report of the file as it is.  [default: made in strict, none in reference]",
        ),
    ] = None,
    perturb: Annotated[
        list[str] | None,
        typer.Option(
            "--perturb",
            metavar="PATH:DELTA,DELTA",
            help="May be repeated.  [default: 1 up and down of windows and min_adx, 0.1 of SL and TP]",
        ),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.0, help="Of one replay; 0 = none.")
    ] = 0.0,
    strategy: options.StrategyFlag = "mei_alpha",
    semantics: options.SemanticsFlag = "strict",
) -> None:
    """Replay the file with one setting a little larger or smaller at a time."""
    from mei.workflows.validate.sensitivity import SensitivityRequest, run_sensitivity_check

    request = SensitivityRequest(
        terms=_terms(config, interval, candles_db, funding_db, strategy, semantics),
        out_dir=out_dir,
        output=output,
        perturbs=perturb or (),
        baseline=baseline_replay_report,
        timeout_s=finite("--timeout-s", timeout_s),
    )
    print_banner()
    with one_exit_code():
        run_sensitivity_check(request, tell)


@app.command("monte-carlo", short_help="Draw the trades of a replay again and again.")
def monte_carlo(
    trades_csv: Annotated[
        str, typer.Option("--trades-csv", help="Trades of a replay (its --export-trades).")
    ],
    initial_balance: Annotated[
        float, typer.Option("--initial-balance", help="USD the replay started with.")
    ],
    iters: Annotated[int, typer.Option("--iters", min=1, help="Paths a method.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same paths.")] = 42,
    methods: Annotated[
        str, typer.Option("--methods", help="bootstrap, shuffle or both, with a comma.")
    ] = "bootstrap",
    output: _TextFlag = None,
) -> None:
    """Draw the trades of a replay again: with replacement (bootstrap), or in another order (shuffle)."""
    from mei.workflows.validate.monte_carlo import MonteCarloRequest, run_monte_carlo

    request = MonteCarloRequest(
        trades_csv=trades_csv,
        initial_balance_usd=finite("--initial-balance", initial_balance),
        n_paths=iters,
        seed=seed,
        methods=tuple(part.strip() for part in methods.split(",") if part.strip()),
        output=output,
    )
    _print(lambda: run_monte_carlo(request, tell))


@app.command("concentration", short_help="Whether a profit hangs on few symbols.")
def concentration(
    replay_report: _ReportFlag,
    output: _TextFlag = None,
    max_top1_pnl_pct: Annotated[
        float,
        typer.Option("--max-top1-pnl-pct", help="Of the best symbol, a fraction; 0 = any share."),
    ] = 0.65,
    max_top5_pnl_pct: Annotated[
        float,
        typer.Option("--max-top5-pnl-pct", help="Of the best five, a fraction; 0 = any share."),
    ] = 0.90,
    min_symbols_traded: Annotated[
        int, typer.Option("--min-symbols-traded", help="0 = any number.")
    ] = 5,
) -> None:
    """Shares of the best symbols in the profit; exit code 0 whether rejected or not."""
    from mei.workflows.validate.concentration import ConcentrationRequest, run_concentration_checks

    request = ConcentrationRequest(
        replay_report=replay_report,
        max_top1_frac=finite("--max-top1-pnl-pct", max_top1_pnl_pct),
        max_top5_frac=finite("--max-top5-pnl-pct", max_top5_pnl_pct),
        min_symbols=min_symbols_traded,
        output=output,
    )
    _print(lambda: run_concentration_checks(request, tell))


@app.command("cross-universe", short_help="What lists of symbols contributed.")
def cross_universe(
    replay_report: _ReportFlag,
    symbol_set: Annotated[
        list[str],
        typer.Option(
            "--symbol-set",
            metavar="NAME=PATH",
            help="A list of symbols, .json or one a line; may be repeated.",
        ),
    ],
    output: _TextFlag = None,
) -> None:
    """Sums over the symbols of each list, and over all others."""
    from mei.workflows.validate.cross_universe import CrossUniverseRequest, run_cross_universe

    request = CrossUniverseRequest(replay_report, tuple(symbol_set), output)
    _print(lambda: run_cross_universe(request, tell))


def _terms(
    config: str,
    interval: str | None,
    candles_db: str | None,
    funding_db: str | None,
    strategy: str,
    semantics: str,
) -> RunTerms:
    from mei.cli.versions import revision
    from mei.model.semantics import parse_semantics
    from mei.workflows.validate.terms import RunTerms

    return RunTerms(
        config=config,
        interval=interval,
        candles_db=candles_db,
        funding_db=funding_db,
        strategy=strategy,
        semantics=parse_semantics(semantics),
        revision=revision(),
    )


def _time(flag: str, text: str | None) -> int | None:
    """As a replay reads it, and ISO 8601 without an offset, which is UTC."""
    from mei.workflows.window import parse_timestamp

    if text is None:
        return None
    for spelling in (text, f"{text.strip()}Z", f"{text.strip()}:00Z"):
        try:
            return parse_timestamp(spelling)
        except ValueError:
            continue
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise typer.BadParameter(f"{flag}: {error}") from None


def levels_of(text: str) -> tuple[float, ...]:
    """Levels of slippage, basis points. BadParameter for what is no number above 0."""
    levels = []
    for part in text.split(","):
        try:
            level = finite("--slippage-bps", float(part))
        except ValueError:
            level = 0.0
        if not level > 0.0:
            raise typer.BadParameter(
                f"--slippage-bps must be numbers above 0 with commas, was {text!r}"
            )
        levels.append(level)
    return tuple(levels)


def _print(run: Callable[[], str | None]) -> None:
    with _bad_input_is_2():
        text = run()
    if text is not None:
        sys.stdout.write(text)


@contextmanager
def _bad_input_is_2() -> Iterator[None]:
    """Of kinds that read files of a replay: whatever goes wrong is a wrong file or flag."""
    try:
        yield
    except MeiError as error:
        error.exit_code = ConfigError.exit_code
        raise
