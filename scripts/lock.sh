#!/bin/sh
# Resolve requirements.lock and requirements-dev.lock anew from pyproject.toml: one resolution for every platform and
# for Python 3.11 up, each file with its hash.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
if command -v uv >/dev/null; then
    uv=uv
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT INT TERM
    "$python" -m venv "$scratch"
    "$scratch/bin/python" -m pip --disable-pip-version-check install --quiet --only-binary :all: uv
    uv=$scratch/bin/uv
fi

# A malicious release is usually found out within days, so only what has stood for a week is taken. EXCLUDE_NEWER moves
# the line, for a security fix that cannot wait.
week_ago=$("$python" -c 'import time; print(time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 7 * 86400)))')

compile() {
    output=$1
    shift
    {
        echo "# Made by 'make lock'; install with: pip install --no-deps --require-hashes --only-binary :all: -r $output"
        "$uv" pip compile --quiet --universal --python-version 3.11 --exclude-newer "${EXCLUDE_NEWER:-$week_ago}" \
            --generate-hashes --no-header --no-annotate "$@" pyproject.toml
    } >"$output.new"
    mv "$output.new" "$output"
}
compile requirements.lock --group build
compile requirements-dev.lock --group build --group dev --extra export --constraints requirements.lock
