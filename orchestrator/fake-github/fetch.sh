#!/bin/sh
# Brings GitHub's own descriptions of its API and webhooks, pinned and checked, to target/third-party. They are npm
# packages (MIT), too large to commit. Does nothing when they are there.
#
#     orchestrator/fake-github/fetch.sh [FOLDER]
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
into=${1:-${CLOUD_CODE_THIRD_PARTY:-$here/../../target/third-party}}
mkdir -p "$into"
into=$(CDPATH='' cd -- "$into" && pwd)

# name, version, sha512 (base64, as the registry states it), file in the package, name here
list='
openapi 23.0.2 pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg== generated/api.github.com.json openapi-23.0.2.json
webhooks-examples 7.6.1 De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ== api.github.com/index.json webhooks-examples-7.6.1.json
webhooks-schemas 7.6.1 qW0Bwtb76r4m2WzVhKDyfEeEnt1GEQoRjkCqmq2ZeB0nNVDJ+Z2LBDS9FDPyduuMXf/ZTWiCJp9PFFHgRfBe3A== schema.json webhooks-schemas-7.6.1.json
'

sha512_base64() {
    if command -v openssl >/dev/null 2>&1; then
        openssl dgst -sha512 -binary "$1" | openssl base64 -A
    else
        sha512sum "$1" | cut -d' ' -f1 | python3 -c 'import base64,sys; print(base64.b64encode(bytes.fromhex(sys.stdin.read().strip())).decode())'
    fi
}

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT INT TERM

printf '%s\n' "$list" | while read -r name version sum inside outside; do
    [ -n "$name" ] || continue
    [ ! -s "$into/$outside" ] || continue
    work=$(mktemp -d)
    tarball=octokit-$name-$version.tgz
    if command -v npm >/dev/null 2>&1; then
        (cd "$work" && npm pack --silent "@octokit/$name@$version" >/dev/null)
    else
        curl -fsSL -o "$work/$tarball" "https://registry.npmjs.org/@octokit/$name/-/$name-$version.tgz"
    fi
    got=$(sha512_base64 "$work/$tarball")
    if [ "$got" != "$sum" ]; then
        echo "fetch.sh: @octokit/$name@$version has the sha512 $got, expected $sum: not used" >&2
        rm -rf "$work"
        exit 1
    fi
    tar -xzf "$work/$tarball" -C "$work" "package/$inside"
    # Into place in one step: another run may read while this one writes.
    mv "$work/package/$inside" "$into/.$outside.$$"
    mv "$into/.$outside.$$" "$into/$outside"
    rm -rf "$work"
    work=
done
