#!/bin/sh
# See to the programs that some tests start: Prometheus and PostgreSQL.
#
# Absent ones are installed where that is possible (root and apt-get). Elsewhere one line says which tests will be
# skipped; with --require that is a failure. Further arguments are more programs to install (their Debian names).
set -eu
require=no
if [ "${1:-}" = --require ]; then require=yes; shift; fi

present() {
    case $1 in
        # Debian keeps the server's programs off the PATH.
        postgresql) command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
        prometheus) command -v prometheus >/dev/null && command -v promtool >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

absent() { for program in "$@"; do present "$program" || printf '%s ' "$program"; done; }

install_packages() {
    # The packages would start their daemons on the default ports; the tests start their own, on ports of their choice.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o Acquire::Retries=3 update && apt-get -q -o Acquire::Retries=3 -y --no-install-recommends install "$@"
}

set -- prometheus postgresql "$@"
missing=$(absent "$@")
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing for the tests: $missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    install_packages $missing >"$log" 2>&1 || { echo "apt-get failed:"; tail -n 15 "$log"; }
    rm -f "$log"
    missing=$(absent "$@")
    [ -n "$missing" ] || exit 0
fi
if [ "$require" = yes ]; then
    echo "Not found and not installable here: $missing" >&2
    exit 1
fi
echo "Not found: $missing- the tests that need it are skipped (as root on Debian or Ubuntu: apt-get install $missing)"
