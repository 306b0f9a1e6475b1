#!/bin/sh
# The Python that aider runs with: the image's own when its version will do, else the distribution's.
#
#   python.sh MIRROR          makes sure that it is there, and prints its path
#   python.sh MIRROR venv     the same, and makes the virtual environment /opt/aider with it
set -eu

apt_mirror=$1
here=/usr/local/lib/cloud-code

# What the package asks for: 3.10, 3.11 or 3.12.
will_do() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

# The CLI runs as nobody in particular: a Python in somebody's home may be out of its reach.
in_reach() {
    folder=$(dirname "$1")
    while [ "$folder" != / ]; do
        [ -n "$(find "$folder" -prune -perm -001)" ] || return 1
        folder=$(dirname "$folder")
    done
}

find_python() {
    for name in python3 /usr/bin/python3 python3.12 python3.11 python3.10; do
        path=$(command -v "$name") || continue
        path=$(readlink -f "$path")
        if will_do "$path" && in_reach "$path"; then
            echo "$path"
            return
        fi
    done
    return 1
}

if ! python=$(find_python); then
    sh "$here/install.sh" "$apt_mirror" python3
    python=$(find_python) || {
        echo "cloud-code: aider needs Python 3.10, 3.11 or 3.12, and this image and its packages have none: take another base image" >&2
        exit 1
    }
fi

if [ "${2:-}" = venv ]; then
    # Debian splits this part of Python off.
    "$python" -c 'import ensurepip' 2>/dev/null || sh "$here/install.sh" "$apt_mirror" python3-venv
    "$python" -m venv /opt/aider
fi
echo "$python"
