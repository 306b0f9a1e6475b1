# Tests of the login check: sh tests/login_test.sh
. "$(dirname "$0")/../src/login.sh"

failed=0

accepts() {
    if login "$2" "$3" 2>/dev/null; then echo "ok: accepts $1"; else echo "FAILED: accepts $1"; failed=1; fi
}

refuses() {
    if login "$2" "$3" 2>/dev/null; then echo "FAILED: refuses $1"; failed=1; else echo "ok: refuses $1"; fi
}

accepts "the right password" alice "correct horse"
refuses "a wrong password" alice "battery staple"
refuses "an unknown user" mallory "anything"
# more cases above this line

exit $failed
