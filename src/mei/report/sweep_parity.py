"""The report on how well CPU and GPU sweeps agree, as JSON and as lines (specification part 3, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mei.metrics.sweep_parity import Key, Parity, Ranking, key_text

SCHEMA: Final = "gpu_smoke_parity_lane_report_v1"
LANE_A: Final = "lane_a_identical_symbol_universe"
LANE_B: Final = "lane_b_production_truncation"
#: The overlap of the best three is always asserted.
ASSERTED_TOP: Final = 3
#: Numbers of a lane's parity that a baseline can be given for.
BASELINE_METRICS: Final = (
    "any_mismatch_count",
    "max_abs_total_pnl_diff",
    "mean_abs_total_pnl_diff",
    "trade_count_mismatch_count",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as agreement. pnl_abs_tol in USD, trade_abs_tol in closes; the top_ks are reported."""

    pnl_abs_tol: float = 0.0
    trade_abs_tol: float = 0.0
    top_ks: tuple[int, ...] = (1, 3, 5, 10)
    min_spearman: float = 0.9
    min_top3_overlap: int = 2
    require_top1_match: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """One pair of sweeps, compared. cpu, gpu: the files."""

    name: str
    cpu: str
    gpu: str
    parity: Parity
    ranking: Ranking


def lane_object(lane: Lane, limits: Limits) -> dict[str, Any]:
    """A lane as the report has it."""
    parity = lane.parity
    assertions = _assertions(lane, limits)
    return {
        "lane": lane.name,
        "inputs": {
            "cpu": lane.cpu,
            "gpu": lane.gpu,
            "pnl_abs_tol": limits.pnl_abs_tol,
            "trade_abs_tol": limits.trade_abs_tol,
        },
        "rows": {
            "cpu": parity.n_matched + parity.n_missing_in_gpu,
            "gpu": parity.n_matched + parity.n_missing_in_cpu,
            "matched": parity.n_matched,
            "missing_in_gpu": parity.n_missing_in_gpu,
            "missing_in_cpu": parity.n_missing_in_cpu,
        },
        "parity": {
            "any_mismatch_count": parity.total_pnl.n_beyond,
            "max_abs_total_pnl_diff": parity.total_pnl.largest,
            "mean_abs_total_pnl_diff": parity.total_pnl.mean,
            "trade_count_mismatch_count": parity.total_trades.n_beyond,
            "max_abs_total_trades_diff": parity.total_trades.largest,
            "mean_abs_total_trades_diff": parity.total_trades.mean,
            "missing_in_gpu_count": parity.n_missing_in_gpu,
            "missing_in_cpu_count": parity.n_missing_in_cpu,
        },
        "ranking": {
            "top_k_overlap": {
                str(k): {
                    "overlap": lane.ranking.overlaps[k].overlap,
                    "effective_k": lane.ranking.overlaps[k].effective_k,
                }
                for k in limits.top_ks
            },
            "top1_cpu": _text(lane.ranking.best_cpu),
            "top1_gpu": _text(lane.ranking.best_gpu),
            "spearman_rho": lane.ranking.spearman_rho,
            "assertions": assertions,
            "all_pass": all(one["pass"] for one in assertions.values()),
        },
    }


def parity_report(
    lanes: Sequence[Mapping[str, Any]],
    *,
    generated_at_utc: str,
    baselines: Mapping[str, float],
    synthetic: Any = None,
) -> dict[str, Any]:
    """The whole report of lanes (`lane_object`), keys in their order.

    baselines: of the first lane, by BASELINE_METRICS, where given. synthetic: the ranking report of another data set,
    taken over as it is.
    """
    smoke: dict[str, Any] = {
        lane["lane"]: {name: lane["ranking"][name] for name in ("assertions", "all_pass")}
        for lane in lanes
    }
    smoke["all_pass"] = all(lane["ranking"]["all_pass"] for lane in lanes)
    return {
        "schema": SCHEMA,
        "generated_at_utc": generated_at_utc,
        "lanes": {lane["lane"]: lane for lane in lanes},
        "ranking_parity_assertions": {
            "synthetic": {"status": "not_provided"} if synthetic is None else synthetic,
            "smoke": smoke,
        },
        "baseline_comparison": {"lane_a": _baseline_object(lanes[0]["parity"], baselines)},
    }


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """The report in a few lines for people."""
    lines = []
    for name, lane in report["lanes"].items():
        rows, parity, ranking = lane["rows"], lane["parity"], lane["ranking"]
        lines += [
            f"[{name}] rows: {rows['cpu']} cpu, {rows['gpu']} gpu, {rows['matched']} matched "
            f"(missing: {rows['missing_in_gpu']} in gpu, {rows['missing_in_cpu']} in cpu)",
            f"  total_pnl: {parity['any_mismatch_count']} mismatches, largest difference "
            f"{parity['max_abs_total_pnl_diff']:.6g}, mean {parity['mean_abs_total_pnl_diff']:.6g}; "
            f"total_trades: {parity['trade_count_mismatch_count']} mismatches",
            f"  ranking: Spearman {ranking['spearman_rho']:.4f}, overlap "
            + ", ".join(
                f"top {k} {one['overlap']}/{one['effective_k']}"
                for k, one in ranking["top_k_overlap"].items()
            ),
            f"  best: cpu {ranking['top1_cpu']} | gpu {ranking['top1_gpu']}",
        ]
        failed = [key for key, one in ranking["assertions"].items() if not one["pass"]]
        lines.append(f"  assertions: {'FAIL ' + ', '.join(failed) if failed else 'pass'}")
    compared = report["baseline_comparison"]["lane_a"]
    if compared["status"] == "compared":
        better = "yes" if compared["all_improved_or_equal"] else "NO"
        lines.append(f"[baseline] lane_a improved or equal: {better}")
    return lines


def _assertions(lane: Lane, limits: Limits) -> dict[str, dict[str, Any]]:
    ranking, n_matched = lane.ranking, lane.parity.n_matched
    top = ranking.overlaps[ASSERTED_TOP]
    needed = min(limits.min_top3_overlap, top.effective_k)
    is_match = ranking.best_cpu == ranking.best_gpu
    return {
        # Sweeps without a row in common agree on nothing.
        "rows_in_common": {"required": 1, "value": n_matched, "pass": n_matched >= 1},
        "top1_match": {
            "required": limits.require_top1_match,
            "value": is_match,
            "pass": is_match or not limits.require_top1_match,
        },
        "top3_overlap": {
            "required": needed,
            "value": top.overlap,
            "pass": top.overlap >= needed,
        },
        "spearman_rho": {
            "required": limits.min_spearman,
            "value": ranking.spearman_rho,
            "pass": ranking.spearman_rho >= limits.min_spearman,
        },
    }


def _baseline_object(parity: Mapping[str, Any], baselines: Mapping[str, float]) -> dict[str, Any]:
    checks = {
        name: {
            "baseline": baselines[name],
            "current": parity[name],
            "improved_or_equal": parity[name] <= baselines[name],
        }
        for name in BASELINE_METRICS
        if name in baselines
    }
    if not checks:
        return {"status": "not_provided"}
    return {
        "status": "compared",
        "checks": checks,
        "all_improved_or_equal": all(check["improved_or_equal"] for check in checks.values()),
    }


def _text(key: Key | None) -> str | None:
    return None if key is None else key_text(key)
