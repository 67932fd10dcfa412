#!/usr/bin/env bash
# Install the gateways to compare with, beside each other under PEERS (default: ~/.cache/gateway-peers), and write the
# GATEWAYS.json for compare.py that holds them and ours. Prints that file's path; all else goes to stderr.
#
# LiteLLM's proxy alone, unless PEERS_ALL=1: then TensorZero and Portkey too (Portkey needs node and npm).
# What is installed already, in the version named here, is left alone. PYTHON makes the environments (default: python3).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
peers=${PEERS:-$HOME/.cache/gateway-peers}
python=${PYTHON:-python3}
all=${PEERS_ALL:-0}

# Pinned, so that a comparison can be repeated. Never 1.82.7 or 1.82.8: those releases were malicious.
litellm=1.106.2
tensorzero=2026.6.0
portkey=1.15.2

say() { printf '%s\n' "$*" >&2; }

# has NAME PACKAGE VERSION: the environment holds this version of the package.
has() {
    local held
    held=$("$peers/$1/bin/python" -c "import importlib.metadata as m; print(m.version('$2'))" 2>/dev/null) || return 1
    [ "$held" = "$3" ]
}

# environment NAME REQUIREMENT...: a virtual environment, made anew.
environment() {
    local name=$1
    shift
    say "installing $* into $peers/$name (once)"
    rm -rf "${peers:?}/$name"
    "$python" -m venv "$peers/$name"
    "$peers/$name/bin/python" -m pip --disable-pip-version-check install --quiet "$@" >&2
}

mkdir -p "$peers"
has litellm litellm "$litellm" || environment litellm "litellm[proxy]==$litellm"
if [ "$all" = 1 ]; then
    has tensorzero tensorzero "$tensorzero" || environment tensorzero "tensorzero==$tensorzero" openai
    if ! command -v npm >/dev/null; then
        say "Portkey is left out: it needs node and npm"
    elif [ ! -d "$peers/portkey/node_modules/@portkey-ai/gateway" ]; then
        say "installing @portkey-ai/gateway $portkey into $peers/portkey (once)"
        mkdir -p "$peers/portkey"
        npm install --silent --prefix "$peers/portkey" "@portkey-ai/gateway@$portkey" >/dev/null
    fi
fi

"$python" - "$peers" "$here" "$all" <<'PYTHON'
import json
import os
import sys
from pathlib import Path

peers, here, every = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "1"
portkey = peers / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
local = "http://127.0.0.1:{}/v1/chat/completions"
found = json.loads((here / "gateway.json").read_text())
# One worker, as ours; no database and no Redis, whatever the environment names: the lightest LiteLLM there is.
found["litellm"] = {
    "start": f"env -u DATABASE_URL -u REDIS_URL '{peers}/litellm/bin/litellm' --config '{here}/litellm.yaml'"
    " --host 127.0.0.1 --port 9911 --num_workers 1",
    "url": local.format(9911),
    "model": "gpt-4o-mini",
    "headers": {"authorization": "Bearer sk-test"},
    "env": {
        "BENCH_UPSTREAM": "{UPSTREAM}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "PATH": f"{peers}/litellm/bin:{os.environ['PATH']}",
    },
    "ready_s": 120,
}
if every:
    found["tensorzero"] = {
        "start": f"'{peers}/tensorzero/bin/python' '{here}/tensorzero_server.py' {{UPSTREAM}}",
        "url": "log:BASE",
        "model": "tensorzero::model_name::m",
    }
if every and portkey.exists():
    found["portkey"] = {
        "start": f"node '{portkey}' --headless --port=9912",
        "url": local.format(9912),
        "model": "gpt-4o-mini",
        "headers": {
            "authorization": "Bearer x",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": "{UPSTREAM}",
        },
    }
(peers / "gateways.json").write_text(json.dumps(found, indent=1) + "\n")
PYTHON
echo "$peers/gateways.json"
