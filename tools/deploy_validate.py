"""Says whether a strategy file may be deployed: `[ok]` and exit code 0, or `[invalid]` for each rule broken and 1."""

from __future__ import annotations

import argparse
import sys

from mei.workflows.deploy.deploy_validate import validate_deployable_file


def main(arguments: list[str]) -> int:
    """Check the file; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, metavar="YAML", help="the strategy file")
    faults = validate_deployable_file(parser.parse_args(arguments).config)
    for fault in faults:
        print(f"[invalid] {fault}")
    if not faults:
        print("[ok] config validation passed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
