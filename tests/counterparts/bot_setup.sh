#!/bin/sh
# Installs Microsoft's own bot library and an independent issuer of tokens below target/ and prints the folder, to be put into
# GREFFIER_BOT_MODULES.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
into="$here/target/counterparts/bot"
wanted='botbuilder@4.23.3 botframework-connector@4.23.3 oauth2-mock-server@8.2.3'
if [ "$(cat "$into/installed" 2>/dev/null)" != "$wanted" ]; then
    mkdir -p "$into"
    echo '{"private": true}' > "$into/package.json"
    # shellcheck disable=SC2086
    (cd "$into" && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error $wanted >&2)
    echo "$wanted" > "$into/installed"
fi
echo "$into/node_modules"
