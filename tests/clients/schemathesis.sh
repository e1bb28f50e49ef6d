#!/bin/sh
# Sends generated requests, good and bad, to every operation of a running server, and holds what comes back
# against the document that the server describes itself with.
#
#     tests/clients/schemathesis.sh http://127.0.0.1:8080 KEY [EXAMPLES [SEED]]
#
# The key needs every scope and is the only one; the file of the server says api_requests_per_second = 0 and
# wrong_keys_per_minute = 0, or most of it would be told to come later.
# Few examples take a minute or two; 100 and another seed are for an evening.
# Never against a server whose people or account matter: it sends, erases and changes whatever it can name.
set -eu
base=$1
key=$2
examples=${3:-2}
seed=${4:-1}
scripts=$(cd "$(dirname "$0")" && pwd)
tools=${TWILIO_CLIENTS_DIR:-$scripts}/.venv/bin
"$tools/python" "$scripts/schemathesis_things.py" "$base" "$key"
# What it remembers of a run stays out of the tree.
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
# The stream of events has no end to wait for.
SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=$scripts "$tools/schemathesis" --config-file "$scripts/schemathesis.toml" run "$base/api/v1/openapi.json" \
    --header "Authorization: Bearer $key" \
    --exclude-operation-id stream_events \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,ignored_auth \
    --phases examples,coverage,fuzzing --mode all \
    --max-examples "$examples" --seed "$seed" --generation-database none \
    --request-timeout 20 --continue-on-failure --no-color
