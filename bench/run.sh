#!/usr/bin/env bash
# The benchmarks: gateways side by side, then the steps of one request by themselves.
#
#   bench/run.sh          ours and LiteLLM's proxy (PEERS_ALL=1: TensorZero and Portkey too), 3 rounds of 4 s, about
#                         6 minutes at most; installs the others first, once. Rows go to bench/results/latest.json.
#                         Then answers from the cache, 2 minutes
#   bench/run.sh --quick  ours alone, 3 rounds of 2 s: does it still do what it must?
#
# Exits with 1 when our gateway misses what it must reach (see bench/README.md).
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
    "" | --quick) ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) echo "usage: bench/run.sh [--quick]" >&2; exit 2 ;;
esac
if ! command -v wrk >/dev/null; then
    echo "The load comes from wrk, which is not installed. On Debian and Ubuntu: apt-get install wrk" >&2
    exit 1
fi
export PYTHON=$PWD/.venv/bin/python
if [ ! -x "$PYTHON" ]; then
    echo "There is no .venv yet: make bench makes it and comes back here" >&2
    exit 1
fi

status=0
if [ "${1:-}" = --quick ]; then
    "$PYTHON" bench/compare.py bench/gateway.json --rounds 3 --seconds 2 --check || status=$?
    repeats=3
else
    gateways=$(bench/peers.sh)
    "$PYTHON" bench/compare.py "$gateways" --rounds 3 --seconds 4 --within 360 --json bench/results/latest.json \
        --check || status=$?
    repeats=9
fi
if [ "${1:-}" != --quick ]; then
    echo
    PYTHONPATH=$PWD "$PYTHON" bench/cache.py || status=$?
fi
echo
"$PYTHON" bench/micro.py --repeats "$repeats"
exit "$status"
