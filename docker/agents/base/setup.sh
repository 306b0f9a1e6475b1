#!/bin/sh
# Makes an image fit for a coding CLI: git, certificates, and the extra authorities of the build context.
# A script and not a RUN line, because a quoted loop in a Dockerfile is hard to read and harder to test.
set -eu

apt_mirror=$1
here=/usr/local/lib/cloud-code
extra=$here/extra-ca.crt
store=/etc/ssl/certs/ca-certificates.crt

missing=
command -v git >/dev/null 2>&1 || missing="$missing git"
command -v update-ca-certificates >/dev/null 2>&1 || missing="$missing ca-certificates"

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "cloud-code: this base image lacks$missing and has no apt-get: install them in the image, or use a Debian or Ubuntu one" >&2
        exit 1
    fi
    # Archives over https must be reachable before the store below exists.
    bundle=$(mktemp)
    # apt reads it as its own unprivileged user.
    chmod 644 "$bundle"
    cat "$store" "$extra" >"$bundle" 2>/dev/null || cat "$extra" >"$bundle"
    sources=$(mktemp -d)
    chmod 755 "$sources"
    set --
    if [ -s "$bundle" ]; then set -- -o "Acquire::https::CAInfo=$bundle"; fi
    if [ -n "$apt_mirror" ]; then
        # shellcheck disable=SC1091
        . /etc/os-release
        echo "deb $apt_mirror $VERSION_CODENAME main" >"$sources/mirror.list"
        set -- "$@" -o "Dir::Etc::SourceList=$sources/mirror.list" -o "Dir::Etc::SourceParts=$sources"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get "$@" update
    # shellcheck disable=SC2086
    apt-get "$@" install --yes --no-install-recommends $missing
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin "$bundle" "$sources"
    apt-get clean
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
    # A bundle repeats authorities the store has: one warning line each, of interest only when it fails.
    update-ca-certificates >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    rm -f "$log"
fi

# An image may come with a store that was never filled.
[ -s "$store" ] || update-ca-certificates
git --version
