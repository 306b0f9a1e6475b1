#!/usr/bin/env bash
# Makes sure that what building and running need is there: installs it where it may (root on Debian or Ubuntu),
# else says the command. `ensure-tools.sh build` is for compiling, `ensure-tools.sh engine` for Docker,
# `ensure-tools.sh database` for the tests that start a PostgreSQL server of their own.
set -euo pipefail

# Seconds an engine may take to answer. A cold start on a small machine takes 3 to 10.
ENGINE_PATIENCE=60
ENGINE_LOG=/var/log/cloud-code-dockerd.log
SOCKET=${DOCKER_HOST:-unix:///var/run/docker.sock}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install_packages() {
    local why=$1
    shift
    if ! may_install; then
        echo "error: $why" >&2
        echo "  hint: on Debian or Ubuntu: sudo apt-get install $*" >&2
        exit 1
    fi
    echo "$why; installing $*" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

build() {
    command -v cargo >/dev/null || {
        echo "error: Rust is not installed" >&2
        echo "  hint: install it from https://rustup.rs" >&2
        exit 1
    }
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v git >/dev/null || missing+=(git)
    command -v make >/dev/null || missing+=(make)
    [ ${#missing[@]} = 0 ] || install_packages "tools for building are missing" "${missing[@]}"
}

engine() {
    if answers; then return; fi
    if [ "$SOCKET" != unix:///var/run/docker.sock ]; then
        echo "error: no Docker engine answers at $SOCKET (DOCKER_HOST)" >&2
        exit 1
    fi
    if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
        echo "error: this user may not use the Docker engine" >&2
        echo "  hint: sudo usermod -aG docker $(id -un), then log in again" >&2
        exit 1
    fi
    command -v dockerd >/dev/null || install_packages "there is no Docker engine" docker.io iptables
    # Newer Debian releases keep the client in a package of its own.
    if ! command -v docker >/dev/null; then
        local client=docker.io
        if apt-cache show docker-cli >/dev/null 2>&1; then client=docker-cli; fi
        install_packages "there is no docker program" "$client"
    fi
    if answers; then return; fi
    if [ "$(id -u)" != 0 ]; then
        echo "error: the Docker engine does not run" >&2
        echo "  hint: sudo systemctl start docker" >&2
        exit 1
    fi
    echo "starting the Docker engine" >&2
    local started=
    for _ in $(seq "$ENGINE_PATIENCE"); do
        if answers; then return; fi
        if [ -d /run/systemd/system ]; then
            [ -n "$started" ] || systemctl start docker
            started=systemd
        elif [ -z "$started" ] || ! kill -0 "$started" 2>/dev/null; then
            # An engine that is still on its way out makes the first try end at once.
            start_without_systemd
            started=$!
        fi
        sleep 1
    done
    echo "error: the Docker engine did not answer within $ENGINE_PATIENCE s" >&2
    [ -f "$ENGINE_LOG" ] && tail -n 20 "$ENGINE_LOG" >&2
    exit 1
}

database() {
    # As the tests look for them: orchestrator/test-postgres/src/programs.rs.
    local folder
    for folder in $(tr ':' ' ' <<<"$PATH") "$(pg_config --bindir 2>/dev/null)" /usr/lib/postgresql/*/bin; do
        local all=yes program
        for program in initdb pg_ctl createdb psql; do [ -x "$folder/$program" ] || all=; done
        [ -z "$all" ] || return 0
    done
    if may_install; then
        # Debian's package would start a server for the whole machine as well.
        mkdir -p /etc/postgresql-common/createcluster.d
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/cloud-code.conf
    fi
    install_packages "PostgreSQL's programs are missing" postgresql
}

start_without_systemd() {
    # A pid file that a killed engine left may name a process that is somebody else by now.
    local file=/var/run/docker.pid pid
    if pid=$(cat "$file" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != dockerd ]; then
        rm -f "$file"
    fi
    setsid dockerd >>"$ENGINE_LOG" 2>&1 </dev/null &
}

case "${1:-}" in
build) build ;;
engine) engine ;;
database) database ;;
*)
    echo "usage: $0 build|engine|database" >&2
    exit 2
    ;;
esac
