#!/bin/sh
# Puts the image that everything is built upon into the engine: pulled where a registry answers, else made here from
# Debian's packages.
#
#   base-image.sh [NAME]        NAME: debian:bookworm-slim when left out
#
# An image that the engine already has is left as it is. What is made here is a bare Debian of the release in NAME
# (debian:<release> or debian:<release>-slim); any other name cannot be made, only pulled. Making one needs root and
# debootstrap. DEBIAN_MIRROR names another archive, DOCKER another client (podman).
set -eu

name=${1:-debian:bookworm-slim}
docker=${DOCKER:-docker}

say() { echo "base-image: $*" >&2; }
fail() { say "$*"; exit 1; }

command -v "$docker" >/dev/null 2>&1 || fail "$docker is not installed: apt-get install docker.io"
"$docker" info >/dev/null 2>&1 || fail "the engine does not answer: start it, and make sure that this user may use it"

if "$docker" image inspect "$name" >/dev/null 2>&1; then
    say "$name is here already"
    exit 0
fi

say "pulling $name"
if "$docker" pull "$name" >&2; then
    exit 0
fi

case $name in
debian:*) release=${name#debian:}; release=${release%-slim} ;;
*) fail "$name cannot be pulled, and only debian:<release> can be made here: load it with \`$docker load\`, or choose another base" ;;
esac
case $release in
'' | *[!a-z]*) fail "$name cannot be pulled, and \`$release\` is no release's name: use one such as debian:bookworm-slim" ;;
esac

say "$name cannot be pulled: making it from Debian's packages"
if ! command -v debootstrap >/dev/null 2>&1; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        fail "debootstrap is not installed: apt-get install debootstrap"
    fi
    say "installing debootstrap"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi
[ "$(id -u)" -eq 0 ] || fail "making an image needs root: run this with sudo, or load $name into the engine yourself"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# debootstrap's own messages are hundreds of lines, of interest only when it fails.
if ! debootstrap --variant=minbase "$release" "$root/tree" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$root/log" 2>&1; then
    tail -n 20 "$root/log" >&2
    fail "debootstrap failed: the lines above say why"
fi
# Package lists and downloads would only grow old in the image.
rm -rf "$root/tree/var/cache/apt/archives" "$root/tree/var/lib/apt/lists"
mkdir -p "$root/tree/var/cache/apt/archives/partial" "$root/tree/var/lib/apt/lists/partial"
# The machine's own name is no business of the image.
rm -f "$root/tree/etc/hostname" "$root/tree/etc/resolv.conf"
# Through a file: in a pipe a tar that fails half-way would leave half an image behind.
tar --create --file="$root/tree.tar" --directory="$root/tree" --numeric-owner --one-file-system .
"$docker" import --change 'CMD ["bash"]' --change 'LABEL cloud-code.made-by=debootstrap' \
    --message "debootstrap --variant=minbase $release" "$root/tree.tar" "$name" >/dev/null
say "made $name: a bare Debian $release by debootstrap, not the image of that name in a registry"
