"""Plays scenarios at the real binary from a Microsoft tenant of its own and checks the archive against the public contract.

Usage: tenant_check.py [--binary PATH] [--jobs N] [--group NAME] [--list] [SCENARIO ...]      (or the environment's GREFFIER)
Exit status 0: everything as the contract says; 1: deviations, one per line.
"""

import importlib
import sys

from scenario_play import command_line, play
from tenant_run import Run

GROUPS = ("answer", "calls", "roster", "tokens", "subscriptions", "messages", "backfill", "bot", "faults", "reading", "odd", "links", "disk", "secrets", "oracle")


def scenarios(group):
    return {f.__name__: f for f in importlib.import_module("tenant_" + group).SCENARIOS}


def main():
    parser = command_line(__doc__, jobs=4)
    parser.add_argument("--group", action="append", choices=GROUPS)
    parser.add_argument("--requests", action="store_true", help="print what the tenant was asked in a failed scenario")
    options = parser.parse_args()
    known = {}
    for group in options.group or GROUPS:
        for name, scenario in scenarios(group).items():
            assert name not in known, f"two scenarios are called {name}"
            known[name] = scenario
    return play(Run, known, options, lambda run: "\n".join(str(s) for s in run.tenant.seen) + "\n" if options.requests else "")


if __name__ == "__main__":
    sys.exit(main())
