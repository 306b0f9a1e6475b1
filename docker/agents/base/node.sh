#!/bin/sh
# Node for the CLIs that are made with it. It stands in a place of its own and not on PATH: what a project's commands
# call `node` stays the project's, or stays missing.
#
#   node.sh own                        prints the image's own Node if it will do, else fails
#   node.sh fetch DIR VERSION          in a fetch stage, after npm.sh: puts Node into DIR, unless the image's will do
#   node.sh launcher MIRROR NAME ARG…  in the image: makes /usr/local/bin/NAME, which runs Node with ARG…
set -eu

here=/usr/local/lib/cloud-code
private=/usr/local/lib/node
# The oldest that all CLIs here start on.
oldest=22

# C library of the image; npm has Node for glibc only.
is_musl() { ls /lib/ld-musl-* >/dev/null 2>&1; }

will_do() {
    major=$("$1" --version 2>/dev/null) || return 1
    major=${major#v}
    [ "${major%%.*}" -ge "$oldest" ] 2>/dev/null
}

own() {
    node=$(command -v node) || return 1
    node=$(readlink -f "$node")
    will_do "$node" || return 1
    # The CLI runs as nobody in particular: a Node in somebody's home may be out of its reach.
    folder=$(dirname "$node")
    while [ "$folder" != / ]; do
        [ -n "$(find "$folder" -prune -perm -001)" ] || return 1
        folder=$(dirname "$folder")
    done
    echo "$node"
}

fetch() {
    target=$1
    version=$2
    mkdir -p "$target"
    if [ -f "$here/own-node" ]; then
        echo "the image's own Node will do: $(cat "$here/own-node")"
        return
    fi
    if is_musl; then
        echo "npm has no Node for musl: the image gets the distribution's"
        return
    fi
    case $(uname -m) in
    x86_64) platform=x64 ;;
    aarch64) platform=arm64 ;;
    *) echo "cloud-code: no Node for $(uname -m) in npm: use an image with Node $oldest or newer" >&2; exit 1 ;;
    esac
    npm install --prefix /fetch/node --ignore-scripts --no-audit --no-fund --no-save "node-linux-$platform@$version"
    mkdir -p "$target/bin"
    mv "/fetch/node/node_modules/node-linux-$platform/bin/node" "$target/bin/node"
    mv "/fetch/node/node_modules/node-linux-$platform/LICENSE" "$target/LICENSE"
}

launcher() {
    apt_mirror=$1
    name=$2
    shift 2
    if [ -x "$private/bin/node" ]; then
        node=$private/bin/node
    elif ! node=$(own); then
        sh "$here/install.sh" "$apt_mirror" nodejs
        node=$(own) || { echo "cloud-code: $name needs Node $oldest or newer, this image's packages have $(node --version)" >&2; exit 1; }
    fi
    # exec: a signal for the CLI must reach Node itself.
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$node" "$*" >"/usr/local/bin/$name"
    chmod 755 "/usr/local/bin/$name"
}

action=$1
shift
"$action" "$@"
