"""Plays scenarios at the real binary from a deployment of its own and checks the archive against the public contract.

Usage: deployment_check.py [--binary PATH] [--jobs N] [--list] [SCENARIO ...]      (or the environment's GREFFIER)
Exit status 0: everything as the contract says; 1: deviations, one per line.
"""

import sys

import deployment_chats
import deployment_faults
import deployment_meetings
import deployment_moments
import deployment_odd
import deployment_sign_in
from deployment_run import Run
from scenario_play import command_line, play

MODULES = (deployment_faults, deployment_moments, deployment_odd, deployment_meetings, deployment_chats, deployment_sign_in)


def main():
    options = command_line(__doc__, jobs=8).parse_args()
    return play(Run, {f.__name__: f for m in MODULES for f in m.SCENARIOS}, options)


if __name__ == "__main__":
    sys.exit(main())
