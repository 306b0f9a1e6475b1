#!/bin/sh
# Starts cline with the provider's address in its settings, the only place where it looks for one.
#
#   CLINE_PROVIDER    id of the provider; cli.yaml names it
#   CLINE_BASE_URL    its address; unset or empty: the provider's own, or what a person put into HOME
set -eu

if [ -n "${CLINE_BASE_URL:-}" ]; then
    case $CLINE_BASE_URL in
    *[\"\\]* | *[[:cntrl:]]*) echo "cline: the address of the provider holds a character that no address has: $CLINE_BASE_URL" >&2; exit 2 ;;
    esac
    # A file of its own: the usual one may hold a person's login.
    settings=$HOME/.cline/cloud-code
    mkdir -p "$settings"
    export CLINE_PROVIDER_SETTINGS_PATH="$settings/providers.json"
    cat >"$CLINE_PROVIDER_SETTINGS_PATH" <<EOF
{"version": 1, "providers": {"$CLINE_PROVIDER": {"settings": {"provider": "$CLINE_PROVIDER", "baseUrl": "$CLINE_BASE_URL"},
"updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}}}
EOF
fi

exec /usr/local/lib/cline/bin/cline ${CLINE_PROVIDER:+--provider "$CLINE_PROVIDER"} "$@"
