#!/bin/sh
# Make .venv match a lock file: `venv.sh run` (requirements.lock) or `venv.sh dev` (requirements-dev.lock).
#
# The dev lock holds everything of the run lock in the same versions, so a dev environment also serves `run` and is never
# taken down to it. A match is recognised by a stamp, without starting pip: the second call costs a few milliseconds.
set -eu
cd "$(dirname "$0")/.."

want=${1:?usage: venv.sh run|dev}
venv=.venv
stamp=$venv/.stamp

# An environment holds absolute paths, so a moved checkout needs a new one.
run_key="$PWD $(cksum <requirements.lock)"
dev_key="$PWD $(cksum <requirements-dev.lock)"
have_run='' have_dev=''
if [ -f "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    { IFS= read -r have_run; IFS= read -r have_dev; } <"$stamp" || true
fi

if [ "$have_run" = "$run_key" ]; then
    [ "$want" = run ] && exit 0
    [ "$have_dev" = "$dev_key" ] && exit 0
elif [ -n "$have_dev" ]; then
    want=dev
fi
case $want in
    run) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "venv.sh: run or dev, not '$want'" >&2; exit 2 ;;
esac

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        if usable "$python"; then echo "$python"; return; fi
    done
    python=${PYTHON:-python3}
    if ! "$python" -c '' >/dev/null 2>&1; then
        echo "Python 3.11 or newer is needed, and '$python' does not run. Install it, or name one: make PYTHON=/path/to/python3.12" >&2
    elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "Python 3.11 or newer is needed; '$python' is $("$python" -V 2>&1). Name a newer one: make PYTHON=/path/to/python3.12" >&2
    else
        echo "'$python' cannot create virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2
    fi
    return 1
}

# Adding the tools to an environment that matches its run lock needs no rebuild; anything else starts empty, so that
# nothing of an older lock stays behind.
if [ "$have_run" != "$run_key" ]; then
    python=$(find_python)
    echo "Creating $venv from $lock with $("$python" -V 2>&1): downloads 100 to 150 MB, once."
    rm -rf "$venv"
    "$python" -m venv "$venv"
else
    echo "Adding the development tools of $lock to $venv."
    rm -f "$stamp"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps "$@"; }
# --no-deps: the lock is complete; see [tool.uv] in pyproject.toml.
pip --require-hashes --only-binary :all: --requirement "$lock"
pip --no-build-isolation --editable .

# Written last: an interrupted installation leaves no stamp and is begun again.
echo "$run_key" >"$stamp"
if [ "$want" = dev ]; then echo "$dev_key" >>"$stamp"; fi
