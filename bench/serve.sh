#!/usr/bin/env bash
# The gateway under load: bench/routes.yaml on port 9910, its data in a fresh directory that goes when it ends.
#
# OPENAI_BASE_URL names the upstream. Nothing else of the caller's environment reaches the gateway, and no .env is read
# (it works in the data directory), so a key or a REDIS_URL that happens to be set changes nothing.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
upstream=${OPENAI_BASE_URL:?set it to the base URL of the upstream}

python=$root/.venv/bin/python
if [ ! -x "$python" ]; then
    python=$(command -v python3)
    "$python" -c 'import gateway' 2>/dev/null || { echo "no .venv in the project: run 'make venv' first" >&2; exit 1; }
fi

data=$(mktemp -d "${TMPDIR:-/tmp}/gateway-bench.XXXXXX") || exit 1
gateway=
# The gateway drains when it is told to stop; this shell has to outlive it, to remove what it leaves.
trap '[ -n "$gateway" ] && kill -TERM "$gateway" 2>/dev/null' TERM INT HUP
trap 'rm -rf "$data"' EXIT
cd "$data" || exit 1

env -i PATH="$PATH" HOME="${HOME:-/}" TMPDIR="${TMPDIR:-/tmp}" ${LD_LIBRARY_PATH:+LD_LIBRARY_PATH="$LD_LIBRARY_PATH"} \
    PYTHONPATH="$root" OPENAI_BASE_URL="$upstream" OPENAI_API_KEY=sk-upstream \
    "$python" -m gateway serve --routes "$root/bench/routes.yaml" --host 127.0.0.1 --port 9910 --data-dir "$data" &
gateway=$!

wait "$gateway"
code=$?
while kill -0 "$gateway" 2>/dev/null; do  # a signal ended the wait, not the gateway
    wait "$gateway"
    code=$?
done
exit "$code"
