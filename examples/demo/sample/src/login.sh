#!/bin/sh
# Says whether a user may come in.
set -u

accounts=$(dirname "$0")/../data/accounts

# The stored password of a user; fails when there is no such user.
password_of() {
    line=$(grep "^$1:" "$accounts") || return 1
    echo "${line#*:}"
}

check() {
    user=$1
    given=$2
    stored=$(password_of "$user") || return 1
    [ "$given" = "$stored" ]
}

if check "${1:-}" "${2:-}"; then
    echo "welcome, $1"
else
    echo "login: refused" >&2
    exit 1
fi
