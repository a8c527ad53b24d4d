#!/bin/sh
# Builds a virtual environment with what the independent tenant is written with (PyJWT, cryptography) and with Microsoft's
# own clients (msal, msgraph-sdk), and prints the python to put into GREFFIER_GRAPH_PYTHON.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
venv="$here/target/counterparts/graph"
if ! "$venv/bin/python" -c 'import jwt, cryptography, msal, msgraph' >/dev/null 2>&1; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet PyJWT==2.15.1 cryptography==48.0.1 msal==1.34.0 msgraph-sdk==1.65.0 >&2
fi
echo "$venv/bin/python"
