#!/bin/sh
# Installs the official Twilio libraries that the simulator is checked with, and Schemathesis for our own API, here or in
# TWILIO_CLIENTS_DIR. Needs python3 with venv, and npm.
set -eu
scripts=$(cd "$(dirname "$0")" && pwd)
target=${TWILIO_CLIENTS_DIR:-$scripts}
mkdir -p "$target"
[ -x "$target/.venv/bin/python" ] || python3 -m venv "$target/.venv"
"$target/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$scripts/requirements.txt"
if [ "$target" != "$scripts" ]; then
    cp "$scripts/package.json" "$scripts/package-lock.json" "$target/"
fi
npm ci --prefix "$target" --no-audit --no-fund --loglevel=error
