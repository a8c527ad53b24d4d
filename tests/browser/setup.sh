#!/bin/sh
# Installs what drives the browser below target/ and prints its folder, to be put into GREFFIER_BROWSER_MODULES.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into="$here/../../target/browser"
mkdir -p "$into"
into=$(cd "$into" && pwd)
if ! cmp -s "$here/package-lock.json" "$into/installed.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$into/"
    (cd "$into" && npm ci --ignore-scripts --no-audit --no-fund >&2)
    cp "$here/package-lock.json" "$into/installed.json"
fi
echo "$into/node_modules"
