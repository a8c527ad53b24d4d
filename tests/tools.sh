#!/bin/sh
# Installs the foreign programs that judge what we make: a browser and its fonts, readers of PDF and XML, a checker of HTML.
# On Debian as root it installs what is missing; elsewhere it says what to install. Prints nothing on standard output.
set -eu
missing=''
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need chromium chromium
need xmllint libxml2-utils
need pdftotext poppler-utils
need qpdf qpdf
need java default-jre-headless
font() { [ -e "/usr/share/fonts/$1" ] || missing="$missing $2"; }
font truetype/dejavu fonts-dejavu-core
font truetype/noto fonts-noto-core
font opentype/noto fonts-noto-cjk
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing" >&2
    # shellcheck disable=SC2086 # a list of packages
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing; } >/dev/null 2>&1 ||
        echo "could not install$missing; tests that need them are skipped" >&2
else
    echo "not installed, tests that need them are skipped (on Debian: apt install$missing)" >&2
fi
