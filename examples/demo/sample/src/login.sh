# Checks a user's password. Source it, then call: login USER PASSWORD

# The stored password of a user; fails for a user nobody knows.
password_of() {
    case "$1" in
        alice) echo "correct horse" ;;
        bob) echo "" ;; # bob has not chosen one yet
        *) return 1 ;;
    esac
}

login() {
    user=$1
    given=$2
    stored=$(password_of "$user") || return 1
    [ "$given" = "$stored" ]
}
