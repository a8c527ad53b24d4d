#!/bin/sh
# Builds a virtual environment with the independent client and the independent NTLM acceptor, and prints the python to
# put into GREFFIER_UCWA_PYTHON.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
venv="$here/target/counterparts/ucwa"
if ! "$venv/bin/python" -c 'import spnego, ucwa.actions' >/dev/null 2>&1; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet ucwa==0.3.0 future requests pyyaml pyspnego==0.12.4 >&2
fi
echo "$venv/bin/python"
