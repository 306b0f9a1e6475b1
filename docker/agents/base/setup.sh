#!/bin/sh
# Makes an image fit for a coding CLI: git, bash, certificates, and the extra authorities of the build context.
# A script and not a RUN line, because a quoted loop in a Dockerfile is hard to read and harder to test.
#
#   setup.sh MIRROR        as in install.sh
set -eu

apt_mirror=$1
here=/usr/local/lib/cloud-code
extra=$here/extra-ca.crt
# Where Debian has it, and where this leaves it on every other distribution.
store=/etc/ssl/certs/ca-certificates.crt

has() { command -v "$1" >/dev/null 2>&1; }

# The smallest images leave out what every CLI counts on: a place for temporary files, and a list of users for the agent
# to add its own to (Node and ssh ask for the user's name).
[ -d /tmp ] || mkdir -m 1777 /tmp
[ -e /etc/passwd ] || echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd

missing=
has git || missing="$missing git"
# Several CLIs run every command in it, and fall silent without it.
has bash || missing="$missing bash"
has update-ca-certificates || has update-ca-trust || missing="$missing ca-certificates"
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # the names are one word each
    sh "$here/install.sh" "$apt_mirror" $missing
fi

# The distribution's folder for authorities of one's own, and the tool that takes them over.
if [ -d /etc/pki/trust/anchors ]; then
    anchors=/etc/pki/trust/anchors
    tool="update-ca-certificates"
elif has update-ca-trust; then
    anchors=/etc/pki/ca-trust/source/anchors
    tool="update-ca-trust"
else
    anchors=/usr/local/share/ca-certificates
    tool="update-ca-certificates"
fi

# The tools want one certificate a file.
if [ -s "$extra" ]; then
    rm -f "$anchors"/cloud-code-*.crt
    mkdir -p "$anchors"
    awk -v dir="$anchors" '
        /-----BEGIN CERTIFICATE-----/ { count++; inside = 1; file = sprintf("%s/cloud-code-%04d.crt", dir, count) }
        inside { print > file }
        /-----END CERTIFICATE-----/ { inside = 0; close(file) }
        END { if (count == 0) { print "cloud-code: extra-ca.crt holds no PEM certificate" > "/dev/stderr"; exit 1 } }
    ' "$extra"
    log=$(mktemp)
    # A bundle repeats authorities that the store has: a warning line for each, of interest only when it fails.
    "$tool" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    rm -f "$log"
fi

# An image may come with a store that was never filled.
if [ ! -s "$store" ]; then
    "$tool"
    for bundle in /etc/pki/tls/certs/ca-bundle.crt /var/lib/ca-certificates/ca-bundle.pem; do
        if [ ! -e "$store" ] && [ -s "$bundle" ]; then
            mkdir -p "$(dirname "$store")"
            ln -s "$bundle" "$store"
        fi
    done
fi
[ -s "$store" ] || { echo "cloud-code: $tool left no certificate store at $store" >&2; exit 1; }
git --version
