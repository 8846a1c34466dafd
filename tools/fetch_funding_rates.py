"""Brings the funding history of Hyperliquid into a funding database, from where it ends there.

Symbols: AI_QUANT_SYMBOLS, else AI_QUANT_SIDECAR_SYMBOLS in the file --universe-env, else BTC,ETH,SOL. A symbol that
fails is a warning; exit code 1 when every one did or the database cannot be written.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

from mei.model.errors import ConfigError, MeiError
from mei.workflows.download.funding_history import (
    fetch_funding_history,
    listed_symbols,
    symbols_of_file,
)
from mei.workflows.download.hyperliquid_info import BASE_URL, HyperliquidInfo
from mei.workflows.download.patience import Patience

_DEFAULT = ["BTC", "ETH", "SOL"]
_MOST_DAYS = 36_500.0
_ATTEMPTS = 4


def main(arguments: list[str]) -> int:
    """Bring the rates; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if not 0 < options.days <= _MOST_DAYS:
            raise ConfigError(
                f"--days must be above 0 and at most {_MOST_DAYS:g}, was {options.days}"
            )
        symbols = _symbols(options.universe_env)
        info = HyperliquidInfo(options.base_url, options.timeout_s)
        failed = fetch_funding_history(
            symbols,
            options.db,
            days=options.days,
            info=info,
            patience=Patience(time.sleep, _warn, _ATTEMPTS),
            now_ms=options.now_ms if options.now_ms > 0 else time.time_ns() // 1_000_000,
            tell=print,
            warn=_warn,
        )
    except MeiError as error:
        _warn(f"error: {error}")
        return 2 if isinstance(error, ConfigError) else 1
    if failed:
        _warn(f"{len(failed)} of {len(symbols)} symbols failed: {', '.join(failed)}; run it again")
    return 1 if len(failed) == len(symbols) else 0


def _symbols(universe_env: Path | None) -> list[str]:
    symbols = listed_symbols(os.environ.get("AI_QUANT_SYMBOLS", ""))
    if not symbols and universe_env is not None:
        symbols = symbols_of_file(universe_env)
    if not symbols:
        _warn(f"no symbols named: {','.join(_DEFAULT)} are taken (AI_QUANT_SYMBOLS names others)")
    return symbols or _DEFAULT


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, was {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--days", type=_finite, default=30.0, metavar="N", help="of a symbol that is new (30)"
    )
    parser.add_argument(
        "--db", type=Path, default=Path("candles_dbs/funding_rates.db"), metavar="FILE"
    )
    named = os.environ.get("AI_QUANT_UNIVERSE_ENV")
    parser.add_argument(
        "--universe-env",
        type=Path,
        default=Path(named) if named else None,
        metavar="FILE",
        help="NAME=value lines; default: AI_QUANT_UNIVERSE_ENV",
    )
    parser.add_argument("--now-ms", type=int, default=0, metavar="MS", help="up to when; 0: now")
    parser.add_argument("--timeout-s", type=_finite, default=10.0, metavar="S")
    parser.add_argument(
        "--base-url",
        default=os.environ.get("AI_QUANT_HL_BASE_URL") or BASE_URL,
        metavar="URL",
        help="of the exchange; default: AI_QUANT_HL_BASE_URL or its own",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
