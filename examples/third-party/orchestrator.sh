#!/bin/sh
# A third-party orchestrator: git, sh, awk and setsid play that side of the file contract by task-schema/PROTOCOL.md alone.
#
#   orchestrator.sh REPOSITORY CLI_YAML TITLE [DESCRIPTION]
#
#   AGENT    the agent's program                               default: cloud-code-agent
#   RUN      folder of this run; given again, the run goes on  default: a new one below /tmp
#   BRANCH   where the work comes back to in REPOSITORY        default: third-party/work
#
# Interrupted by INT or TERM it cancels the task and still waits for its end. Exits 0 when the task is completed.
#
# awk is no reader of YAML. It gets by on block style with two blanks a level, in which both agents here write; anything
# else is shown as not understood. A real program takes a library.
set -eu
export LC_ALL=C
[ $# -ge 3 ] || { sed -n '4,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
repository=$1 manifest=$2 title=$3 description=${4:-$3}
agent=${AGENT:-cloud-code-agent} branch=${BRANCH:-third-party/work} task=third-party-1
run=${RUN:-$(mktemp -d "${TMPDIR:-/tmp}/third-party.XXXXXX")}
control=$run/control report=$run/control/reporting.yaml
generation=0 assignment=assigned agent_pid='' starts=0

say() { printf '%s\n' "orchestrator: $*" >&2; }

# Rule 1: a temp file in the same folder, brought to the disk, renamed. A reader never sees half of it.
publish() {
    temp=$(mktemp "$control/.next.XXXXXX")
    cat > "$temp"
    chmod 644 "$temp"
    sync "$temp" 2>/dev/null || sync
    mv "$temp" "$control/$1"
}

# Any text as a YAML scalar: in double quotes, as JSON has it.
quoted() {
    printf '%s' "$1" | tr '\t\r' '  ' | tr -d '\000-\010\013-\037\177' | sed 's/[\\"]/\\&/g' |
        awk 'BEGIN { printf "\"" } { printf "%s%s", between, $0; between = "\\n" } END { printf "\"" }'
}

# Rule 2: one generation more with each rewrite.
write_tasking() {
    generation=$((generation + 1))
    publish tasking.yaml << YAML
version: 1
generation: $generation
updated_at: $(date -u +%Y-%m-%dT%H:%M:%SZ)
workspace: $(quoted "third-party: $title")
cli: $(sed -n 's/^name: *//p' "$control/cli.yaml")
tasks:
  - id: $task
    status: $assignment
    title: $(quoted "$title")
    description: $(quoted "$description")
    branch: $branch
    base: $base
    limits:
      timeout: ${TIMEOUT:-1h}
YAML
}

cancel() {
    say "cancelling"
    assignment=cancelled
    write_tasking
}

# Rule 7: no link, a regular file, at most so much of it. Everything in it is data.
report_text() { [ ! -L "$report" ] && [ -f "$report" ] && head -c 1048576 "$report"; }

# The value of a key: `of '' status` is the agent's, `of TASK status` a task's, `of TASK failure kind` lies one deeper.
of() {
    report_text | awk -v task="$1" -v key="$2" -v inner="${3:-}" '
        function name(text) { gsub(/["\047]|:$/, "", text); return text }
        function value(text) { sub(/^ *[^ ]+ */, "", text); return text }
        function enter() { inside = (name($1) == key); if (inside && inner == "") print value($0) }
        /^[^ #]/ { section = name($1); mine = inside = 0; if (task == "") enter(); next }
        section == "tasks" && /^  [^ ]/ { mine = (task != "" && name($1) == task); inside = 0; next }
        mine && /^    [^ ]/ { enter(); next }
        inside && inner == "" { sub(/^      /, ""); print }
        inside && inner != "" && name($1) == inner { print value($0) }
    '
}

start_agent() {
    starts=$((starts + 1))
    say "starting $agent"
    # In a session of its own: what a terminal sends to this script is not meant for it.
    setsid "$agent" --control "$control" --workspace "$run/tree" --home "$run/home" --once < /dev/null &
    agent_pid=$!
}

mkdir -p "$control" "$run/home"
if [ ! -d "$run/tree" ]; then
    git clone --quiet --no-hardlinks "$repository" "$run/tree"
    git -C "$run/tree" symbolic-ref --short HEAD > "$run/base"
    git -C "$run/tree" rev-parse HEAD > "$run/start"
    git -C "$run/tree" switch --quiet --create "$branch"
fi
base=$(cat "$run/base") start=$(cat "$run/start")
publish cli.yaml < "$manifest"
if [ -f "$control/tasking.yaml" ]; then
    generation=$(sed -n 's/^generation: //p' "$control/tasking.yaml")
else
    write_tasking
fi
trap cancel INT TERM
start_agent
say "the run is in $run"

status=
while :; do
    now=$(of "$task" status)
    if [ "$now" != "$status" ]; then
        status=$now
        say "the task is $status ($(of "$task" current_step))"
    fi
    case $status in completed | failed | timed_out | blocked | cancelled) break ;; esac
    if ! kill -0 "$agent_pid" 2>/dev/null; then
        # Its last word may have come since the look above. Without one another agent goes on by itself.
        case $(of "$task" status) in completed | failed | timed_out | blocked | cancelled) continue ;; esac
        [ "$starts" -lt 3 ] || { say "the agent ended $starts times without an end of the task"; exit 1; }
        start_agent
    fi
    if [ "$(of '' status)" = error ]; then
        say "the agent refuses tasking.yaml: $(of '' failure message)"
        kill "$agent_pid"
        wait "$agent_pid" || :
        exit 1
    fi
    sleep 1 || :
done
wait "$agent_pid" || :

# The report is a claim. What is taken is a commit that stands on the one the task began with.
head=$(of "$task" head | tr -dc 0-9a-f)
if [ -n "$head" ] && [ "$head" != "$start" ] && git -C "$run/tree" merge-base --is-ancestor "$start" "$head"; then
    git -C "$repository" fetch --quiet "$run/tree" "+$head:refs/heads/$branch"
    git -C "$repository" log --oneline "$start..$branch"
fi
printf 'status: %s\n' "$status"
[ "$status" = completed ] || printf 'failure: %s: %s\n' "$(of "$task" failure kind)" "$(of "$task" failure message)"
printf 'summary: %s\n' "$(of "$task" summary)"
[ "$status" = completed ]
