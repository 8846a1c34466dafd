"""Compares CPU and GPU sweeps in two lanes and writes a report: rows, differences, rankings, assertions.

Lane A: both swept the same symbols (`--parity-mode identical-symbol-universe`); lane B: as in production. Exit code 0;
1 with --fail-on-assert when an assertion of a lane fails; 2 for input that is wrong.
"""

from __future__ import annotations

import argparse
import math
import sys

from mei.model.errors import MeiError
from mei.report.sweep_parity import BASELINE_METRICS, Limits, summary_lines
from mei.workflows.compare_sweeps import ComparisonRequest, compare_sweeps


def main(arguments: list[str]) -> int:
    """Compare; the exit code."""
    options = _parser().parse_args(arguments)
    limits = Limits(
        pnl_abs_tol=options.pnl_abs_tol,
        trade_abs_tol=options.trade_abs_tol,
        top_ks=options.top_k,
        min_spearman=options.min_spearman,
        min_top3_overlap=options.min_top3_overlap,
        require_top1_match=options.require_top1_match,
    )
    given = {name: getattr(options, f"baseline_{name}") for name in BASELINE_METRICS}
    request = ComparisonRequest(
        lane_a=(options.lane_a_cpu, options.lane_a_gpu),
        lane_b=(options.lane_b_cpu, options.lane_b_gpu),
        output=options.output,
        limits=limits,
        baselines={name: value for name, value in given.items() if value is not None},
        synthetic=options.synthetic_ranking_json,
    )
    try:
        report = compare_sweeps(request)
    except MeiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.print_summary:
        print("\n".join(summary_lines(report)))
    is_right = report["ranking_parity_assertions"]["smoke"]["all_pass"]
    return 1 if options.fail_on_assert and not is_right else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for lane in ("a", "b"):
        for kind in ("cpu", "gpu"):
            parser.add_argument(f"--lane-{lane}-{kind}", required=True, metavar="JSONL")
    parser.add_argument("--output", required=True, metavar="JSON", help="where the report goes")
    tolerances = {"type": _not_negative, "default": 0.0, "metavar": "X"}
    parser.add_argument("--pnl-abs-tol", help="USD, default 0", **tolerances)
    parser.add_argument("--trade-abs-tol", help="trades, default 0", **tolerances)
    parser.add_argument("--top-k", type=_counts, default=(1, 3, 5, 10), metavar="K,K")
    parser.add_argument("--min-spearman", type=_number, default=0.9, metavar="RHO")
    parser.add_argument("--min-top3-overlap", type=int, default=2, metavar="N")
    parser.add_argument("--require-top1-match", action="store_true")
    parser.add_argument("--synthetic-ranking-json", metavar="JSON", help="goes into the report")
    for name in BASELINE_METRICS:
        flag = f"--baseline-{name.replace('_', '-')}"
        parser.add_argument(flag, type=_not_negative, metavar="X", help="of lane A")
    parser.add_argument("--print-summary", action="store_true")
    parser.add_argument(
        "--fail-on-assert", action="store_true", help="exit code 1 if a lane's assertion fails"
    )
    return parser


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, was {text}")
    return value


def _not_negative(text: str) -> float:
    value = _number(text)
    if value < 0.0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, was {text}")
    return int(value) if value.is_integer() else value


def _counts(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"must be whole numbers from 1 on with commas, was {text!r}"
        )
    return tuple(dict.fromkeys(map(int, parts)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
