"""Plays scenarios at the real binary, several at a time and each in a run of its own, and says what deviates.

The checks of the deployment and of the tenant differ in their scenarios and in some options, not in how a scenario is judged.
"""

import argparse
import os
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from recorder_run import HERE


def command_line(usage, jobs):
    """The options of every check; a check adds those that it alone has."""
    parser = argparse.ArgumentParser(description=usage)
    parser.add_argument("--binary", default=os.environ.get("GREFFIER", os.path.join(HERE, "../../target/debug/greffier")))
    parser.add_argument("--jobs", type=int, default=jobs)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--log", action="store_true", help="print the recorder's log of a failed scenario")
    parser.add_argument("--events", action="store_true", help="print the archive of a failed scenario")
    parser.add_argument("scenario", nargs="*")
    return parser


def play(run_class, known, options, asked=lambda run: ""):
    """The exit status. `known` are the scenarios by name; `asked` is what is printed of a failed one between its log and its archive."""
    if options.list:
        print("\n".join(known))
        return 0
    chosen = options.scenario or list(known)

    def one(name):
        scenario = known[name]
        run = run_class(os.path.abspath(options.binary), **getattr(scenario, "settings", {}))
        begun = time.monotonic()
        extra = ""
        try:
            scenario(run)
        except Exception:
            run.found.append(traceback.format_exc(limit=-5).replace("\n", "\n    "))
        finally:
            if run.found and options.log:
                extra += run.log()
            if run.found:
                extra += asked(run)
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
        deviations = sum(pool.map(one, chosen))
    print(f"{len(chosen)} scenarios, {deviations} deviations")
    return 1 if deviations else 0
