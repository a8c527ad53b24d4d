#!/bin/sh
# Builds a virtual environment with clients of Graph and of the login service that others wrote, and with what validates and
# decrypts notifications, and prints the python to put into GREFFIER_GRAPH_PYTHON.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
venv="$here/target/counterparts/graph"
if ! "$venv/bin/python" -c 'import msgraph, msal, jwt, cryptography' >/dev/null 2>&1; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check msgraph-sdk==1.65.0 msal==1.34.0 \
        'pyjwt[crypto]==2.10.1' >&2
fi
echo "$venv/bin/python"
