"""Where a sweep walks, and whether a card's rows are those of the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mei.engines.same_rows import Compared, compare_rows, sample_of
from mei.engines.select import CPU, GPU, Device, select_device
from mei.jit import cache_dir
from mei.model.errors import ConfigError, VerificationError
from mei.workflows.strategy import MEI_ALPHA, Tell
from mei.workflows.sweep.merge import Ranking
from mei.workflows.sweep.plan import SweepPlan, market_of
from mei.workflows.sweep.request import SweepRequest

#: Rows of a card that the CPU runs again: at least so many of the best, and others at random.
_N_BEST, _N_RANDOM = 8, 56


def choose_device(request: SweepRequest, select: Callable[[str], Device] = select_device) -> Device:
    """What the request's device is on this machine. Raises ConfigError for a card that cannot be used."""
    if request.scheduler is not None:
        if request.device == GPU:
            raise ConfigError(
                "--scheduler and --device gpu must not be given together, both were: workers use their CPUs"
            )
        return Device(None, "CPU: workers of a cluster use theirs")
    return select(request.device)


def tell_compiling(plan: SweepPlan, device: Device, tell: Tell) -> None:
    """Say so when the card's kernel of this sweep has to be compiled first: it takes up to a minute in silence."""
    if device.card is None:
        return
    is_one = len(market_of(plan.inputs).symbols) == 1
    leaps = "leaps_kernel" if is_one else "portfolios_kernel"
    kernel = "walk_kernel" if plan.facts.strategy == MEI_ALPHA else leaps
    if next(cache_dir("engines").glob(f"*/{kernel}-*"), None) is None:
        tell("[sweep] The first run on a card compiles for it, too, up to a minute")


def verify_on_cpu(plan: SweepPlan, ranking: Ranking, n_best: int, n_threads: int) -> Compared:
    """Run the best rows of a card and a random sample again on the CPU.

    Raises VerificationError when any bit of a row differs.
    """
    best = range(min(max(n_best, _N_BEST), len(ranking)))
    ranks = sample_of(len(ranking), best, _N_RANDOM, seed=len(ranking))
    rows = [ranking.row(int(rank)) for rank in ranks]
    columns = {
        path: np.array([row.overrides[path] for row in rows])
        for path in ranking.paths
        if path not in plan.unknown
    }
    engine = plan.strategy.sweep(plan.inputs, n_threads)
    found = np.zeros(len(rows), dtype=engine.row_dtype)
    for number, row in enumerate(rows):
        found[number] = row.record
    compared = compare_rows(found, engine.run(columns, len(rows)))
    if compared.n_different:
        raise VerificationError(
            f"rows of a card must be those of the CPU, {compared.n_different} of {compared.n_rows} are not, the "
            f"largest difference is {compared.largest_difference:g} in {compared.where or 'the sign of a zero'}: do "
            f"not trust this sweep, run it with --device {CPU}, and please report it"
        )
    return compared
