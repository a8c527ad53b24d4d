"""Plays scenarios at the real binary from a Microsoft tenant of its own and checks the archive against the public contract.

Usage: tenant_check.py [--binary PATH] [--jobs N] [--group NAME] [--list] [SCENARIO ...]      (or the environment's GREFFIER)
Exit status 0: everything as the contract says; 1: deviations, one per line.
"""

import argparse
import importlib
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from tenant_run import HERE, Run

GROUPS = ("answer", "calls", "roster", "tokens", "subscriptions", "messages", "backfill", "bot", "faults", "reading", "odd", "links", "disk", "secrets", "oracle")


def scenarios(group):
    return {f.__name__: f for f in importlib.import_module("tenant_" + group).SCENARIOS}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=os.environ.get("GREFFIER", os.path.join(HERE, "../../target/debug/greffier")))
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--group", action="append", choices=GROUPS)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--log", action="store_true", help="print the recorder's log of a failed scenario")
    parser.add_argument("--events", action="store_true", help="print the archive of a failed scenario")
    parser.add_argument("--requests", action="store_true", help="print what the tenant was asked in a failed scenario")
    parser.add_argument("scenario", nargs="*")
    options = parser.parse_args()
    known = {}
    for group in options.group or GROUPS:
        for name, scenario in scenarios(group).items():
            assert name not in known, f"two scenarios are called {name}"
            known[name] = scenario
    if options.list:
        print("\n".join(known))
        return 0

    def play(name):
        scenario = known[name]
        run = Run(os.path.abspath(options.binary), **getattr(scenario, "settings", {}))
        begun = time.monotonic()
        extra = ""
        try:
            scenario(run)
        except Exception:
            run.found.append(traceback.format_exc(limit=-4).replace("\n", "\n    "))
        finally:
            if run.found and options.log:
                extra += run.log()
            if run.found and options.requests:
                extra += "\n".join(str(s) for s in run.tenant.seen) + "\n"
            if run.found and options.events:
                try:
                    extra += run.cli("export", "--since", "1970-01-01T00:00:00Z", "--format", "jsonl", "--output", "-")[1]
                except Exception as e:
                    extra += str(e)
            run.close()
        took = time.monotonic() - begun
        lines = [f"{'ok  ' if not run.found else 'FAIL'} {name} ({took:.1f} s)"] + [f"  - {f}" for f in run.found]
        print("\n".join(lines) + (f"\n{extra}" if extra else ""), flush=True)
        return len(run.found)

    with ThreadPoolExecutor(options.jobs) as pool:
        deviations = sum(pool.map(play, options.scenario or list(known)))
    print(f"{len(options.scenario or known)} scenarios, {deviations} deviations")
    return 1 if deviations else 0


if __name__ == "__main__":
    sys.exit(main())
