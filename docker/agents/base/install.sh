#!/bin/sh
# Installs packages with the package manager that the image has, in this image and in the fetch stages of the CLIs
# above it.
#
#   install.sh MIRROR PACKAGE…
#
#   MIRROR     an apt archive instead of the image's own sources, or ''; other package managers keep their own
#   PACKAGE    by Debian's name; the few that are called otherwise elsewhere are translated here
set -eu

apt_mirror=$1
shift
here=/usr/local/lib/cloud-code

# Archives over https must be reachable before the store holds the extra authorities.
work=$(mktemp -d)
# apt reads it as its own unprivileged user.
chmod 755 "$work"
cat "$here/extra-ca.crt" >"$work/bundle"
for store in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do
    if [ -f "$store" ]; then
        cat "$store" >>"$work/bundle"
        break
    fi
done
[ -s "$work/bundle" ] || rm "$work/bundle"

has() { command -v "$1" >/dev/null 2>&1; }

with_apt() {
    packages=$*
    set --
    if [ -f "$work/bundle" ]; then set -- -o "Acquire::https::CAInfo=$work/bundle"; fi
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
    rm -rf /var/lib/apt/lists/*
}

with_apk() {
    if [ -f "$work/bundle" ]; then export SSL_CERT_FILE="$work/bundle"; fi
    apk add --no-cache "$@"
}

# dnf, its small sister and its forerunner take the same words.
with_dnf() {
    program=$1
    shift
    packages=$*
    set --
    if [ -f "$work/bundle" ]; then set -- "--setopt=sslcacert=$work/bundle"; fi
    # shellcheck disable=SC2086 # the names are one word each
    "$program" "$@" --setopt=install_weak_deps=0 --nodocs --assumeyes install $packages
    "$program" clean all
}

with_zypper() {
    if [ -f "$work/bundle" ]; then export SSL_CERT_FILE="$work/bundle" CURL_CA_BUNDLE="$work/bundle"; fi
    zypper --non-interactive install --no-recommends "$@"
    zypper clean --all
}

# Debian's name, then the name elsewhere; one that is not listed is the same everywhere.
names() {
    table=$1
    shift
    for package in "$@"; do
        for pair in $table; do
            [ "${pair%%=*}" = "$package" ] && package=${pair#*=}
        done
        # What another package brings along has an empty name.
        [ -z "$package" ] || echo "$package"
    done
}

# shellcheck disable=SC2046 # the names are one word each
if has apt-get; then
    with_apt "$@"
elif has apk; then
    with_apk $(names "python3-venv=py3-pip libstdc++6=libstdc++ libgomp1=libgomp" "$@")
elif has dnf; then
    with_dnf dnf $(names "npm=nodejs-npm python3-venv=python3-pip libstdc++6=libstdc++ libgomp1=libgomp" "$@")
elif has microdnf; then
    with_dnf microdnf $(names "npm=nodejs-npm python3-venv=python3-pip libstdc++6=libstdc++ libgomp1=libgomp" "$@")
elif has zypper; then
    with_zypper $(names "npm=npm-default nodejs=nodejs-default python3-venv=python3-pip" "$@")
else
    echo "cloud-code: this image lacks $*, and has no package manager known here (apt-get, apk, dnf, microdnf, zypper): install them in the image" >&2
    exit 1
fi
rm -rf "$work"
