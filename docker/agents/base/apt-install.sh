#!/bin/sh
# Installs packages, in this image and in the fetch stages of the CLIs above it.
#
#   apt-install.sh MIRROR PACKAGE…        MIRROR: a package archive instead of the image's own sources, or ''
set -eu

apt_mirror=$1
shift
here=/usr/local/lib/cloud-code
store=/etc/ssl/certs/ca-certificates.crt

if ! command -v apt-get >/dev/null 2>&1; then
    echo "cloud-code: this base image lacks $* and has no apt-get: install them in the image, or use a Debian or Ubuntu one" >&2
    exit 1
fi

# Archives over https must be reachable before the store holds the extra authorities.
work=$(mktemp -d)
# apt reads it as its own unprivileged user.
chmod 755 "$work"
cat "$here/extra-ca.crt" >"$work/bundle"
if [ -f "$store" ]; then cat "$store" >>"$work/bundle"; fi

packages=$*
set --
if [ -s "$work/bundle" ]; then set -- -o "Acquire::https::CAInfo=$work/bundle"; fi
if [ -n "$apt_mirror" ]; then
    # shellcheck source=/dev/null
    . /etc/os-release
    mkdir "$work/none"
    echo "deb $apt_mirror $VERSION_CODENAME main" >"$work/mirror.list"
    set -- "$@" -o "Dir::Etc::SourceList=$work/mirror.list" -o "Dir::Etc::SourceParts=$work/none"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get "$@" update
# shellcheck disable=SC2086 # the names are one word each
apt-get "$@" install --yes --no-install-recommends $packages
apt-get clean
rm -rf /var/lib/apt/lists/* "$work"
