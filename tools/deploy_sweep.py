"""Puts a row of a sweep into the strategy file of a trader: shown and confirmed first, then all of it or nothing.

Exit code 0 when it is done, shown or not wanted; 1 when it cannot be, and then nothing has changed (but for closed
positions, which are told); 2 for wrong flags; 3 when it is done but a service was not restarted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from mei.cli.paper_db import paper_db
from mei.workflows.deploy.closing import LiveCloser, PaperCloser
from mei.workflows.deploy.demands import Demands
from mei.workflows.deploy.deploy_sweep import DeployRequest, Hands, deploy_sweep
from mei.workflows.deploy.yaml_deploy import to_stderr
from mei.workflows.sweep.trials import ledger_location


def main(arguments: list[str]) -> int:
    """Deploy; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        request = DeployRequest(
            sweep_results=options.sweep_results,
            rank=options.rank,
            config=options.config,
            changelog=options.changelog,
            version=options.version,
            dry_run=options.dry_run,
            is_confirmed=options.yes,
            restart=options.restart,
            ledger=ledger_location(options.ledger),
            demands=Demands(options.min_trades, options.require_profit),
        )
        return deploy_sweep(request, _hands(options))
    except KeyboardInterrupt:
        to_stderr("interrupted")
        return 130
    except Exception as error:
        from mei.cli.main import describe

        to_stderr(describe(error)[0])
        return 1


def _hands(options: argparse.Namespace) -> Hands:
    return Hands(
        tell=to_stderr,
        ask=_ask,
        now_ms=_now_ms,
        environment=os.environ,
        close_live=_live_closer(options) if options.close_live and not options.dry_run else None,
        close_paper=_paper_closer(options) if options.close_paper else None,
    )


def _live_closer(options: argparse.Namespace) -> LiveCloser:
    from mei.workflows.account.open_account import account_door

    door = account_door(options.exchange, options.secrets, environment=os.environ)
    return LiveCloser(lambda: door.open(now_ms=_now_ms), to_stderr, time.sleep)


def _paper_closer(options: argparse.Namespace) -> PaperCloser:
    db = paper_db(options.paper_db or None)
    return PaperCloser(db.path, _now_ms, is_named=db.is_named)


def _count(text: str) -> int:
    """A whole number from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, was {value}")
    return value


def _ask(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sweep-results", required=True, metavar="PATH", help="rows of a sweep, JSONL or Parquet")
    add("--rank", type=int, default=1, metavar="N", help="by profit, 1 is the best (1)")
    trades = "refuse a row with fewer trades; 0: any (only tells of fewer than 30)"
    add("--min-trades", type=_count, metavar="N", help=trades)
    add("--require-profit", action="store_true", help="refuse a row without a profit (only told)")
    add("--dry-run", action="store_true", help="say what would change, and change nothing")
    add("--yes", action="store_true", help="do not ask")
    add("--close-live", action="store_true", help="close every position of the account first")
    add("--close-paper", action="store_true", help="close every paper position first")
    add("--restart", action="store_true", help="restart the traders at the end")
    add("--version", metavar="TAG", help="default: one more than that of the changelog")
    add("--config", default="config/strategy_overrides.yaml", metavar="YAML", help="%(default)s")
    add("--changelog", default="strategy_changelog.json", metavar="JSON", help="%(default)s")
    add("--paper-db", metavar="DB", help="AI_QUANT_PAPER_DB_PATH, else trading_engine.db")
    add("--exchange", metavar="NAME", help="of --close-live: mainnet, testnet or a URL")
    add("--secrets", metavar="JSON", help="its key: AI_QUANT_SECRETS_PATH, else secrets.json")
    add("--ledger", metavar="WHERE", help="count of trials: LEDGER_DB, else shared/manifest.sqlite")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
