"""Writes docs/reference/configuration.md from the table of Mei Alpha's settings.

Run as `python tools/configuration_reference.py`; `--check` writes nothing and exits 1 if the file is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mei.data.strategy_faults import LIVE_ENGINE_KEYS, written
from mei.rules.mei_alpha.keys import KEYS, WORDS, Key
from mei.rules.mei_alpha.ranges import RANGES, relation_words

TARGET = Path(__file__).parents[1] / "docs" / "reference" / "configuration.md"

_HEAD = """\
# Configuration of Mei Alpha

Made by `python tools/configuration_reference.py` from `mei.rules.mei_alpha.keys`; a test keeps it true.

```yaml
global:            # applies to everything
  trade: {leverage: 2, sl_atr_mult: 1.5}
  thresholds:
    entry: {min_adx: 25}
symbols:           # the same sections, for one symbol
  BTC: {trade: {allocation_pct: 0.05}}
live:              # the same sections, merged last with --live
  trade: {entry_min_confidence: high}
```

Order, later wins: defaults, `global`, `symbols.<SYM>`, `live`. A symbol's section is looked up by its exact name,
then in upper case; a run tells which sections belong to none of its symbols. `engine` and `trade.max_open_positions`,
`trade.max_total_margin_pct` and `trade.max_entry_orders_per_loop` are read once for all symbols; in strict they may not
stand under one. Mappings are merged key by key; anything else replaces what was there; a null or an empty section
changes nothing.

Values have the types of YAML 1.2: `true` and `false` are the only booleans (`yes` and `on` are text), `010` and `1_000`
are text, a quoted value is always text, `1e-3` is a number, `<<` is a key like any other, and a key that is there twice
is an error. Whole numbers are taken where a float is asked for, but `5.0` is no uint. The words of an enumeration are
read in any case.

With `--semantics strict` a missing file, an unknown key, a wrong type, an unknown word and a value out of bounds are
errors (exit code 2), all of a file in one message. With `--semantics reference` a wrong type or bad YAML drops the
whole file with a `[config]` line, a missing file and unknown keys are passed over, any other word means `high` or
`accel`, and no bounds are checked. The bounds below are those of strict.

A sweep may set every key but those of `engine`, by number: a boolean is false for 0 and true otherwise, a uint is cut
to whole (less than 0 is 0), the words of an enumeration count from 0 in the order given, and larger numbers are the
last. Strict takes 0 and 1, whole numbers and the numbers of words only.
Either of `indicators.ave_avg_atr_window` and `thresholds.entry.ave_avg_atr_window` sets both.

The column "used by": S gates and signals, F entry filters, Z sizing, X exits, L the loop, C the command line,
— nothing (accepted, without effect).
"""


def reference_text() -> str:
    """The whole document."""
    parts = [_HEAD]
    for section in dict.fromkeys(key.path.split(".")[0] for key in KEYS):
        keys = [key for key in KEYS if key.path.startswith(f"{section}.")]
        parts.append(f"\n## {section} ({len(keys)})\n")
        parts.append("| key | type | default | bounds | unit | used by | meaning |")
        parts.append("|---|---|---:|---|---|:-:|---|")
        parts.extend(_line(key) for key in keys)
    parts.append("\n## Together\n")
    parts.extend(f"- {words}" for words in relation_words())
    parts.append("\n## Of the live engine\n")
    parts.append(
        "Keys that the backtester passes over, in strict with a line about it: the root key `modes`, and "
        + ", ".join(f"`{path}`" for path in sorted(LIVE_ENGINE_KEYS))
        + ". The root key `version` may stand there too."
    )
    return "\n".join(parts) + "\n"


def _line(key: Key) -> str:
    kind = ", ".join(f"`{word}`" for word in WORDS[key.kind]) if key.kind in WORDS else key.kind
    bounds = RANGES[key.path].words() if key.path in RANGES else ""
    if key.kind == "string":
        bounds = "such as `1m`, `4h`, or empty"
    cells = (f"`{key.path}`", kind, _default(key), bounds, key.unit, key.use, key.meaning)
    return f"| {' | '.join(cells)} |"


def _default(key: Key) -> str:
    value = written(key.kind, key.default)
    if isinstance(value, bool):
        value = "true" if value else "false"
    return "empty" if value == "" else f"`{value}`"


def main(arguments: list[str]) -> int:
    """Write the document, or compare it; the exit code."""
    text = reference_text()
    if arguments != ["--check"]:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_text(text, "utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text("utf-8") == text:
        return 0
    print(
        f"error: {TARGET} must be as the settings say, is not: run python tools/configuration_reference.py",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
