"""Plays scenarios at the real binary from a deployment of its own and checks the archive against the public contract.

Usage: deployment_check.py [--binary PATH] [--jobs N] [--list] [SCENARIO ...]      (or the environment's GREFFIER)
Exit status 0: everything as the contract says; 1: deviations, one per line.
"""

import argparse
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import deployment_chats
import deployment_faults
import deployment_meetings
import deployment_moments
import deployment_odd
import deployment_sign_in
from deployment_run import Run

MODULES = (deployment_faults, deployment_moments, deployment_odd, deployment_meetings, deployment_chats, deployment_sign_in)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=os.environ.get("GREFFIER", os.path.join(here, "../../target/debug/greffier")))
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--log", action="store_true", help="print the recorder's log of a failed scenario")
    parser.add_argument("--events", action="store_true", help="print the archive of a failed scenario")
    parser.add_argument("scenario", nargs="*")
    options = parser.parse_args()
    known = {f.__name__: f for m in MODULES for f in m.SCENARIOS}
    if options.list:
        print("\n".join(known))
        return 0
    chosen = options.scenario or list(known)

    def play(name):
        scenario = known[name]
        run = Run(os.path.abspath(options.binary), **getattr(scenario, "settings", {}))
        begun = time.monotonic()
        extra = ""
        try:
            scenario(run)
        except Exception:
            run.found.append(traceback.format_exc(limit=-3).replace("\n", "\n    "))
        finally:
            if run.found and options.log:
                extra += run.log()
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
        deviations = sum(pool.map(play, chosen))
    print(f"{len(chosen)} scenarios, {deviations} deviations")
    return 1 if deviations else 0


if __name__ == "__main__":
    sys.exit(main())
