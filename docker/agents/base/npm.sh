#!/bin/sh
# Gets npm into the fetch stage of a CLI's image. Every such stage begins with the same line, so that the engine runs it
# once for all of them.
#
#   npm.sh MIRROR REGISTRY     MIRROR: as in install.sh. REGISTRY: another npm registry, or ''
set -eu

apt_mirror=$1
registry=$2
here=/usr/local/lib/cloud-code

# Asked before npm brings a Node of its own, which the finished image will not have.
if node=$(sh "$here/node.sh" own); then echo "$node" >"$here/own-node"; fi
command -v npm >/dev/null 2>&1 || sh "$here/install.sh" "$apt_mirror" npm
if [ -n "$registry" ]; then npm config set registry "$registry"; fi
npm --version
