#!/usr/bin/env bash
# The main job on a sample repository, end to end: `make demo` calls this after building.
#
# With a provider's key in the environment the real CLI talks to the real provider. Without one the real CLI talks to
# the project's scripted model server, so the demo needs no account.
set -euo pipefail
cd "$(dirname "$0")/../.."

RUNTIME=${RUNTIME:-docker}
BASE_IMAGE=${BASE_IMAGE:-debian:bookworm-slim}
EXTRA_CA=${EXTRA_CA:-}
TASK="Refuse an empty password

The login check accepts an empty password: \`login bob \"\"\` succeeds. It should be refused with a message, and a test
should cover it."

bin=$PWD/target/release
# Outside the checkout: a sandbox user must be able to reach the worktree.
demo=${TMPDIR:-/tmp}/cloud-code-demo-$(id -u)
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

fresh_repository() {
    rm -rf "$demo"
    mkdir -p "$demo/shop" "$demo/model"
    chmod 711 "$demo"
    cp -r examples/demo/sample/. "$demo/shop"
    git -C "$demo/shop" init --quiet --initial-branch=main
    git -C "$demo/shop" add --all
    git -C "$demo/shop" -c user.name=demo -c user.email=demo@example.com commit --quiet --message "Open the shop"
}

has_key() { [ -n "${ANTHROPIC_API_KEY:-}${ANTHROPIC_AUTH_TOKEN:-}${CLAUDE_CODE_OAUTH_TOKEN:-}" ]; }

model=
model_pid=
stop_model() {
    if [ -n "$model" ]; then docker rm -f "$model" >/dev/null 2>&1 || true; fi
    if [ -n "$model_pid" ]; then kill "$model_pid" 2>/dev/null || true; fi
}
trap stop_model EXIT

wait_for_port() {
    for _ in $(seq 100); do
        if [ -s "$demo/model/port" ]; then return; fi
        sleep 0.1
    done
    echo "error: the scripted model server did not start" >&2
    exit 1
}

# In Docker the server has a network of its own without a way out; the CLI's container joins it.
start_model_in_docker() {
    model=$(docker run --detach --network none \
        --volume "$bin/cloud-code-testkit:/testkit:ro" \
        --volume "$PWD/orchestrator/testkit/scripts/demo.yaml:/demo.yaml:ro" \
        --volume "$demo/model:/model" \
        cloud-code/base:latest /testkit serve --script /demo.yaml --listen 127.0.0.1:8080 --port-file /model/port)
    wait_for_port
    arguments+=(--network "container:$model" --base-url http://127.0.0.1:8080)
}

start_model_locally() {
    "$bin/cloud-code-testkit" serve --script orchestrator/testkit/scripts/demo.yaml \
        --port-file "$demo/model/port" --journal "$demo/model/journal.jsonl" >/dev/null &
    model_pid=$!
    wait_for_port
    arguments+=(--base-url "http://127.0.0.1:$(cat "$demo/model/port")")
}

local_cli() {
    if command -v claude >/dev/null; then return; fi
    local version
    version=$(sed -n 's/^CLAUDE_CODE_VERSION=//p' docker/versions.env)
    if ! command -v npm >/dev/null; then
        echo "error: the CLI claude is not installed on this machine" >&2
        echo "  hint: npm install -g @anthropic-ai/claude-code@$version, or use make demo with Docker" >&2
        exit 1
    fi
    echo "installing claude-code $version for the demo only"
    npm install --silent --prefix "$demo/cli" "@anthropic-ai/claude-code@$version"
    chmod -R go+rX "$demo/cli"
    export PATH=$demo/cli/node_modules/.bin:$PATH
}

fresh_repository
arguments=(--repo "$demo/shop" --cli claude-code --verify "sh tests/login_test.sh")
export CLOUD_CODE_HOME=$demo/home

case "$RUNTIME" in
docker)
    docker/ensure-tools.sh engine
    say "Building the images (only the first time takes long)"
    docker/base-image.sh "$BASE_IMAGE"
    "$bin/cloud-code" images build claude-code --base-image "$BASE_IMAGE" ${EXTRA_CA:+--extra-ca "$EXTRA_CA"}
    ;;
local)
    say "Runtime local: NO SANDBOX. The CLI runs on this machine with the rights of its user."
    local_cli
    arguments+=(--runtime local)
    ;;
*)
    echo "error: RUNTIME is docker or local, not $RUNTIME" >&2
    exit 2
    ;;
esac

if has_key; then
    say "A key is set: the real Claude Code with the real provider"
else
    say "No key is set: the real Claude Code, with the project's scripted model server as its provider"
    export ANTHROPIC_API_KEY=sk-demo-no-provider
    if [ "$RUNTIME" = docker ]; then start_model_in_docker; else start_model_locally; fi
fi

say "cloud-code run --repo $demo/shop --cli claude-code \"Refuse an empty password …\""
"$bin/cloud-code" run "${arguments[@]}" "$TASK"

control=$(echo "$demo"/home/workspaces/*/refuse-an-empty-password/.cloud-code)
say "What was asked: $control/tasking.yaml"
cat "$control/tasking.yaml"
say "What was answered: $control/reporting.yaml"
cat "$control/reporting.yaml"
say "The work: cloud-code diff"
"$bin/cloud-code" diff
say "Done. The branch stands in $demo/shop:"
git -C "$demo/shop" log --oneline --graph --all
echo
echo "Look around with:  export CLOUD_CODE_HOME=$CLOUD_CODE_HOME"
echo "                   target/release/cloud-code inspect | status | logs | list"
