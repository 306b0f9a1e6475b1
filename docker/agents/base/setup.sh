#!/bin/sh
# Makes an image fit for a coding CLI: git, certificates, and the extra authorities of the build context.
# A script and not a RUN line, because a quoted loop in a Dockerfile is hard to read and harder to test.
#
#   setup.sh MIRROR        as in apt-install.sh
set -eu

apt_mirror=$1
here=/usr/local/lib/cloud-code
extra=$here/extra-ca.crt
store=/etc/ssl/certs/ca-certificates.crt

missing=
command -v git >/dev/null 2>&1 || missing="$missing git"
command -v update-ca-certificates >/dev/null 2>&1 || missing="$missing ca-certificates"
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # the names are one word each
    sh "$here/apt-install.sh" "$apt_mirror" $missing
fi

# The store's tool wants one certificate a file.
if [ -s "$extra" ]; then
    target=/usr/local/share/ca-certificates/cloud-code
    rm -rf "$target"
    mkdir -p "$target"
    awk -v dir="$target" '
        /-----BEGIN CERTIFICATE-----/ { count++; inside = 1; file = sprintf("%s/extra-%04d.crt", dir, count) }
        inside { print > file }
        /-----END CERTIFICATE-----/ { inside = 0; close(file) }
        END { if (count == 0) { print "cloud-code: extra-ca.crt holds no PEM certificate" > "/dev/stderr"; exit 1 } }
    ' "$extra"
    log=$(mktemp)
    # A bundle repeats authorities that the store has: a warning line for each, of interest only when it fails.
    update-ca-certificates >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    rm -f "$log"
fi

# An image may come with a store that was never filled.
[ -s "$store" ] || update-ca-certificates
git --version
