#!/bin/sh
# Starts aider with its state in HOME. Left alone it keeps one conversation for everything, in the worktree; this gives
# each conversation a file of its own, so that one can be taken up again after its container is gone.
#
#   aider --session-id ID …    begins a conversation under that name
#   aider --resume ID …        goes on with it, and fails when it is not there
#
# These options stand before aider's own or between them; everything else reaches aider as it is.
set -eu

sessions=$HOME/.aider/sessions
mkdir -p "$sessions" "$HOME/.aider/caches"

# The list of prices and window sizes is fetched again when its copy is a day old; the one that aider brought stays new.
cp /opt/aider/lib/python3*/site-packages/litellm/model_prices_and_context_window_backup.json \
    "$HOME/.aider/caches/model_prices_and_context_window.json"

export AIDER_INPUT_HISTORY_FILE="$HOME/.aider/input.history"
export AIDER_CHAT_HISTORY_FILE="$sessions/last.md"

# What is not taken here goes round to the end, in its order.
count=$#
while [ "$count" -gt 0 ]; do
    case $1 in
    --session-id | --resume)
        [ "$count" -ge 2 ] || { echo "aider: $1 needs a name" >&2; exit 2; }
        case $2 in '' | */* | .*) echo "aider: \`$2\` is not the name of a conversation" >&2; exit 2 ;; esac
        export AIDER_CHAT_HISTORY_FILE="$sessions/$2.md"
        if [ "$1" = --resume ]; then
            [ -f "$sessions/$2.md" ] || { echo "aider: there is no conversation \`$2\` in $sessions" >&2; exit 1; }
            export AIDER_RESTORE_CHAT_HISTORY=true
        fi
        shift 2
        count=$((count - 2))
        ;;
    *)
        set -- "$@" "$1"
        shift
        count=$((count - 1))
        ;;
    esac
done

exec /opt/aider/bin/aider "$@"
