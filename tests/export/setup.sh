#!/bin/sh
# Builds a virtual environment with a validator of JSON schemas, and prints the python to put into GREFFIER_EXPORT_PYTHON.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
venv="$here/target/counterparts/export"
if ! "$venv/bin/python" -c 'import jsonschema, rfc3339_validator, tzdata' >/dev/null 2>&1; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet 'jsonschema[format-nongpl]==4.25.1' tzdata >&2
fi
echo "$venv/bin/python"
