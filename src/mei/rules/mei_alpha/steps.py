"""The timeline: which step of it a main bar belongs to, and candidates in its order."""

from typing import Any

from mei.model.bars import IntArray
from mei.rules.mei_alpha.snapshot import Bars


def fill_steps(bars: Bars, n_symbols: int, step_ms: IntArray, step_of_row: IntArray) -> None:
    """Step of each main bar; both the bars of a symbol and the steps ascend in time."""
    for symbol in range(n_symbols):
        step = 0
        for row in range(bars.first[symbol], bars.end[symbol]):
            while step_ms[step] < bars.known_ms[row]:
                step += 1
            step_of_row[row] = step


def sort_by_step(
    found: Any, n_found: int, step_of_found: IntArray, first: IntArray, ordered: Any
) -> None:
    """Candidates in the order of their steps, stable; first[i] to first[i + 1] - 1 are those of step i.

    first: zeroed, shape (n_steps + 2,); its last element is scratch.
    """
    n_steps = len(first) - 2
    for i in range(n_found):
        first[step_of_found[i] + 2] += 1
    for step in range(n_steps):
        first[step + 2] += first[step + 1]
    for i in range(n_found):
        place = first[step_of_found[i] + 1]
        ordered[place] = found[i]
        first[step_of_found[i] + 1] = place + 1
