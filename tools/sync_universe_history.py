"""Notes which perpetuals Hyperliquid lists now, so that backtests can leave out what was not listed then.

Tables universe_snapshots(ts_ms, symbol) and universe_listings(symbol, first_seen_ms, last_seen_ms); run it daily.
Exit code 2 when the database cannot be there, 3 when the exchange does not answer, 4 when it lists nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from mei.data.place import require_place
from mei.model.errors import ConfigError, MeiError, OutputError
from mei.workflows.download.hyperliquid_info import BASE_URL, HyperliquidInfo
from mei.workflows.download.patience import Patience
from mei.workflows.download.universe import EmptyUniverseError, sync_universe

_SHORTEST_S, _LONGEST_S = 0.5, 30.0
_ATTEMPTS = 3


def main(arguments: list[str]) -> int:
    """Note the universe; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        require_place(options.db)
        timeout_s = min(max(options.timeout_s, _SHORTEST_S), _LONGEST_S)
        at_ms = options.ts_ms if options.ts_ms > 0 else time.time_ns() // 1_000_000
        patience = Patience(time.sleep, _warn, _ATTEMPTS)
        info = HyperliquidInfo(options.base_url, timeout_s)
        synced = sync_universe(options.db, at_ms=at_ms, info=info, patience=patience)
    except MeiError as error:
        print(f"error: {error}", file=sys.stderr)
        return _exit_code(error)
    print(
        f"{synced.path}: {len(synced.symbols)} symbols listed at ts_ms={synced.at_ms}, {synced.n_new} of them new"
    )
    return 0


def _exit_code(error: MeiError) -> int:
    if isinstance(error, (OutputError, ConfigError)):
        return 2
    return 4 if isinstance(error, EmptyUniverseError) else 3


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = Path(os.environ.get("AI_QUANT_CANDLES_DB_DIR") or "candles_dbs")
    parser.add_argument(
        "--db",
        type=Path,
        default=folder / "universe_history.db",
        metavar="FILE",
        help="default: universe_history.db in AI_QUANT_CANDLES_DB_DIR or candles_dbs",
    )
    parser.add_argument(
        "--ts-ms", type=int, default=0, metavar="MS", help="time of the snapshot; 0: now"
    )
    parser.add_argument(
        "--timeout-s",
        type=float,
        # A text: argparse converts it as it would a flag, with the same message.
        default=os.environ.get("AI_QUANT_HL_TIMEOUT_S") or "10",
        metavar="S",
        help=f"{_SHORTEST_S} to {_LONGEST_S}; default: AI_QUANT_HL_TIMEOUT_S or 10",
    )
    parser.add_argument(
        "--base-url",
        default=os.environ.get("AI_QUANT_HL_BASE_URL") or BASE_URL,
        metavar="URL",
        help="of the exchange; default: AI_QUANT_HL_BASE_URL or its own",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
