#!/bin/sh
# Builds a virtual environment with the independent client, the independent NTLM acceptor and the independent validator of
# the JSON interface's description, and prints the python to put into GREFFIER_UCWA_PYTHON.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
venv="$here/target/counterparts/ucwa"
if ! "$venv/bin/python" -c 'import spnego, ucwa.actions, openapi_spec_validator, rfc3339_validator' >/dev/null 2>&1; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet ucwa==0.3.0 future requests pyyaml pyspnego==0.12.4 \
        openapi-spec-validator==0.7.2 'jsonschema[format-nongpl]==4.25.1' >&2
fi
echo "$venv/bin/python"
