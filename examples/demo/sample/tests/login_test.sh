#!/bin/sh
# Runs every case and counts those that fail.
set -u

login=$(dirname "$0")/../src/login.sh
failed=0

report() {
    if [ "$2" = "$3" ]; then
        echo "ok      $1"
    else
        echo "FAILED  $1: exit $3, expected $2"
        failed=$((failed + 1))
    fi
}

accepts() { sh "$login" "$2" "$3" >/dev/null 2>&1; report "accepts $1" 0 $?; }
refuses() { sh "$login" "$2" "$3" >/dev/null 2>&1; report "refuses $1" 1 $?; }

accepts "the right password" alice "correct horse"
refuses "a wrong password" alice "battery staple"
refuses "an unknown user" mallory "correct horse"
# more cases above this line

[ "$failed" -eq 0 ] || { echo "$failed failed"; exit 1; }
echo "all passed"
