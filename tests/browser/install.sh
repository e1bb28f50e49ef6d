#!/bin/sh
# Installs what the browser tests need: Debian's Chromium, if it is missing and this runs as root, and Playwright's test
# runner with axe by npm. Playwright's own browsers are not fetched.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
if ! command -v "${CHROMIUM:-chromium}" >/dev/null; then
    [ "$(id -u)" = 0 ] || { echo "please install chromium"; exit 1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium
fi
PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error
