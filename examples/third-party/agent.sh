#!/bin/sh
# A third-party agent: sh, awk, git and setsid play that side of the file contract by task-schema/PROTOCOL.md alone.
#
#   agent.sh --control DIR --workspace DIR --home DIR [--once]
#
# It takes the rest of the real agent's options and leaves them be. It drives CLIs that read their prompt from stdin and
# whose end is known by exit code and diff, in mode edit, by the three clocks. Limits of money and turns and verify
# commands it cannot obey, so it refuses tasks that have them. It is a sketch to read, not a sandbox: it runs the CLI as
# its own user, and a process that leaves the CLI's session escapes it.
#
# awk is no reader of YAML. It reads `tasking.yaml` in block style with scalars plain, quoted, or as `|` blocks, and the
# command of `cli.yaml` as one list in brackets or one item a line.
set -eu
export LC_ALL=C
control='' workspace='' home='' once=''
while [ $# -gt 0 ]; do
    case $1 in
        --control) control=$2; shift 2 ;;
        --workspace) workspace=$2; shift 2 ;;
        --home) home=$2; shift 2 ;;
        --once) once=yes; shift ;;
        --version) echo "third-party-agent 1"; exit 0 ;;
        --secrets-stdin) shift ;;
        --*) shift 2 ;;
        *) echo "agent.sh: what is $1?" >&2; exit 2 ;;
    esac
done
if [ -z "$control" ] || [ -z "$workspace" ] || [ -z "$home" ]; then
    sed -n '4s/^# *//p' "$0" >&2
    exit 2
fi
events=$control/events.jsonl report=$control/reporting.yaml
state=$(mktemp -d "${TMPDIR:-/tmp}/third-party-agent.XXXXXX")
cli_pid='' stopping='' status=idle refusal='' observed=0
trap 'rm -rf "$state"' EXIT
trap 'stopping=yes' INT TERM HUP

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
git_in() { git -C "$workspace" -c safe.directory='*' "$@"; }
# Any text as JSON, which is YAML too.
quoted() {
    printf '%s' "$1" | tr '\t\r' '  ' | tr -d '\000-\010\013-\037\177' | sed 's/[\\"]/\\&/g' |
        awk 'BEGIN { printf "\"" } { printf "%s%s", between, $0; between = "\\n" } END { printf "\"" }'
}

# Reads `tasking.yaml`: each task becomes a folder of $state with a file for each key. Prints the generation, or fails
# with what it does not understand.
read_tasking() {
    rm -rf "$state/tasks" && mkdir "$state/tasks"
    head -c 1048576 "$control/tasking.yaml" | awk -v out="$state/tasks" '
        function refuse(why) { print "tasking.yaml, line " NR ": " why; failed = 1; exit 1 }
        function scalar(text) {
            sub(/^ +/, "", text); sub(/ +$/, "", text)
            if (text ~ /^".*"$/) {
                text = substr(text, 2, length(text) - 2)
                gsub(/\\\\/, "\001", text); gsub(/\\n/, "\n", text); gsub(/\\t/, "\t", text); gsub(/\\"/, "\"", text)
                if (text ~ /\\/) refuse("an escape that this agent does not know")
                gsub(/\001/, "\\", text)
            } else if (text ~ /^\047.*\047$/) {
                text = substr(text, 2, length(text) - 2); gsub(/\047\047/, "\047", text)
            } else if (text ~ /^[\[{&*!"\047>]/ && text != "[]" && text != "{}") refuse("only block style is read here")
            return text == "null" || text == "~" || text == "[]" || text == "{}" ? "" : text
        }
        function put(key, text) { printf "%s", text > (out "/" folder "/" key); close(out "/" folder "/" key) }
        function indent(text) { match(text, /^ */); return RLENGTH }
        block != "" && ($0 ~ /^ *$/ || indent($0) > at) {
            if (own < 0 && $0 !~ /^ *$/) own = indent($0)
            put(block, text = text substr($0, own + 1) "\n"); next
        }
        { block = "" }
        /^ *(#|$)/ || /^---/ { next }
        /^[^ -]/ {
            key = $1; value = $0; sub(/^[^:]*: ?/, "", value)
            section = key; sub(/:$/, "", section)
            if (section == "version" && value != "1") refuse("version " value " is not known")
            if (section == "generation") generation = value
            if (section == "cli") cli = scalar(value)
            if (section !~ /^(version|generation|updated_at|workspace|cli|tasks)$/) refuse("unknown key " section)
            next
        }
        section == "tasks" {
            line = $0
            if (line ~ /^ *- / && (first == "" || indent(line) == first)) {
                first = indent(line); folder = sprintf("%04d", ++count); system("mkdir " out "/" folder)
                line = substr(line, 1, first) " " substr(line, first + 2)
            }
            at = indent(line); key = line; sub(/^ +/, "", key)
            if (key ~ /^- /) { put(outer, "list"); next }
            if (key !~ /^[a-z_]+:( |$)/) refuse("only block style is read here")
            value = key; sub(/:.*/, "", key); sub(/^[^:]*: ?/, "", value)
            if (at == first + 2) outer = key; else key = outer "." key
            if (value ~ /^\|[-+0-9]*$/) { block = key; text = ""; own = -1; put(key, "") } else put(key, scalar(value))
        }
        END { if (!failed) print generation, cli }
    '
}
key() { cat "$state/tasks/$1/$2" 2>/dev/null || :; }
seconds() {
    case $1 in
        *[!0-9]*[!a-z]*) return 1 ;;
        *ms) echo 1 ;; *d) echo $((${1%d} * 86400)) ;; *h) echo $((${1%h} * 3600)) ;; *m) echo $((${1%m} * 60)) ;; *s) echo "${1%s}" ;; *) return 1 ;;
    esac
}

clock() {
    limit_text=$(key "$1" "limits.$2")
    seconds "${limit_text:-$3}"
}

# The command of the manifest, a line each argument.
command_of_manifest() {
    awk '
        function emit(word) { if (word != "") print word; started = 0 }
        /^command: *\[/ {
            sub(/^[^[]*\[/, ""); line = $0; word = ""; quote = ""
            for (i = 1; i <= length(line); i++) {
                c = substr(line, i, 1)
                if (quote == "\"" && c == "\\") { i++; word = word substr(line, i, 1) }
                else if (quote != "" && c == quote) quote = ""
                else if (quote != "") word = word c
                else if (c == "\"" || c == "\047") quote = c
                else if (c == "]") { emit(word); exit }
                else if (c == ",") { emit(word); word = "" }
                else if (c != " " || word != "") word = word c
            }
        }
        /^command: *$/ { items = 1; next }
        items && /^ *- / { sub(/^ *- */, ""); gsub(/^["\047]|["\047]$/, ""); print; next }
        items { exit }
    ' "$control/cli.yaml"
}

# Numbers go on after the last line. What an earlier agent tore is cut off.
event() {
    if [ -s "$events" ] && [ -n "$(tail -c 1 "$events")" ]; then
        sed '$d' "$events" > "$state/events" && cat "$state/events" > "$events"
    fi
    last=$(tail -n 1 "$events" 2>/dev/null | sed -n 's/^{"seq":\([0-9]*\),.*/\1/p')
    about=${id:+\"task\":\"$id\",\"attempt\":$attempt,}
    printf '{"seq":%d,"at":"%s",%s"type":"%s"%s}\n' $((${last:-0} + 1)) "$(now)" "$about" "$1" "${2:+,$2}" >> "$events"
}

# The whole report, by a rename. Tasks that ended stand in files, the running one is made of variables.
publish_report() {
    temp=$(mktemp "$control/.report.XXXXXX")
    {
        printf 'version: 1\nobserved_generation: %s\nupdated_at: %s\nheartbeat_at: %s\n' "$observed" "$(now)" "$(now)"
        printf 'agent:\n  version: "1"\n  instance: %s\n  cli: %s\n  started_at: %s\n' "$instance" "$cli" "$started"
        printf 'status: %s\n' "$status"
        if [ -n "$refusal" ]; then
            printf 'failure:\n  kind: invalid_tasking\n  message: %s\n' "$(quoted "$refusal")"
        else
            printf 'failure: null\n'
        fi
        printf 'tasks:\n'
        cat "$state/ended" "$state/current" 2>/dev/null || :
        [ -s "$state/ended" ] || [ -s "$state/current" ] || printf '  {}\n'
    } > "$temp"
    chmod 644 "$temp"
    sync "$temp" 2>/dev/null || sync
    mv "$temp" "$report"
}

task_report() {
    printf '  %s:\n    status: %s\n    attempt: %s\n    started_at: %s\n' "$id" "$1" "$attempt" "$began"
    case $1 in received | in_progress) printf '    finished_at: null\n'; return ;; esac
    printf '    finished_at: %s\n    exit:\n      code: %s\n      signal: %s\n' "$(now)" "$code" "$signal"
    if [ -n "$kind" ]; then
        printf '    failure:\n      kind: %s\n      message: %s\n' "$kind" "$(quoted "$why")"
    else
        printf '    failure: null\n'
    fi
    printf '    summary: %s\n    head: %s\n' "$(quoted "$(tail -n 20 "$log" 2>/dev/null)")" "$(git_in rev-parse HEAD)"
    commits=$(git_in rev-list --reverse "$base..HEAD")
    [ -n "$commits" ] || { printf '    commits: []\n    files_modified: []\n'; return; }
    printf '    commits:\n'
    for sha in $commits; do
        printf '      - sha: %s\n        message: %s\n' "$sha" "$(quoted "$(git_in log -1 --format=%s "$sha")")"
    done
    printf '    files_modified:\n'
    git_in -c core.quotePath=false diff --no-renames --name-status "$base" HEAD | while read -r letter path; do
        case $letter in A) change=added ;; D) change=deleted ;; *) change=modified ;; esac
        printf '      - path: %s\n        change: %s\n' "$(quoted "$path")" "$change"
    done
}

# One task, from its first word in the report to its last.
run_task() {
    began=$(now) base=$(git_in rev-parse HEAD) kind='' why='' code=null signal=null
    log=$control/logs/$id.$attempt.log
    title=$(key "$1" title)
    status=working
    task_report in_progress > "$state/current" && publish_report
    event task_received "\"title\":$(quoted "$title")"
    limit=$(clock "$1" timeout 1h) && idle=$(clock "$1" idle_timeout 15m) && start=$(clock "$1" start_timeout 2m) ||
        why="a sum of durations is not read here"
    mode=$(key "$1" mode)
    [ "${mode:-edit}" = edit ] || why="this agent has no mode $mode"
    [ "$(key "$1" verify)" != list ] || why="this agent runs no verify commands"
    [ -z "$(key "$1" limits.max_cost_usd)$(key "$1" limits.max_turns)" ] || why="this agent counts no money and no turns"
    if [ -n "$why" ]; then
        kind=invalid_tasking
        end_task failed
        return
    fi
    mkdir -p "$control/logs" && : > "$log"
    { printf '# %s\n\n' "$title"; key "$1" description; printf '\n'; } > "$state/prompt"
    (
        set --
        while IFS= read -r word; do set -- "$@" "$word"; done << COMMAND
$(command_of_manifest)
COMMAND
        cd "$workspace"
        HOME=$home exec setsid "$@" < "$state/prompt" > "$log" 2>&1
    ) &
    cli_pid=$!
    event cli_started "\"command\":[$(command_of_manifest | while IFS= read -r word; do printf '%s%s' "${between:-}" "$(quoted "$word")"; between=,; done)],\"pid\":$cli_pid"
    ended='' waited=0 size=0 quiet=0
    while kill -0 "$cli_pid" 2>/dev/null; do
        if [ -n "$stopping" ]; then ended=in_progress
        elif is_cancelled "$id"; then ended=cancelled
        elif [ "$waited" -ge "$limit" ]; then ended=timed_out kind=timeout why="the task was not done within $limit s"
        elif [ "$size" -eq 0 ] && [ "$quiet" -ge "$start" ]; then
            ended=timed_out kind=start_timeout why="the CLI printed nothing within $start s"
        elif [ "$size" -gt 0 ] && [ "$quiet" -ge "$idle" ]; then
            ended=timed_out kind=idle why="the CLI printed nothing for $idle s"
        fi
        [ -z "$ended" ] || break
        sleep 1 || :
        waited=$((waited + 1)) quiet=$((quiet + 1))
        [ "$(wc -c < "$log")" -eq "$size" ] || size=$(wc -c < "$log") quiet=0
        [ $((waited % 5)) -ne 0 ] || publish_report
    done
    # The CLI leads a session, so its group has its number.
    if [ -n "$ended" ]; then
        kill -TERM "-$cli_pid" 2>/dev/null || :
        for _ in 1 2 3 4 5 6 7 8 9 10; do ! kill -0 "$cli_pid" 2>/dev/null || sleep 1 || :; done
    fi
    kill -KILL "-$cli_pid" 2>/dev/null || :
    code=0
    wait "$cli_pid" || code=$?
    if [ "$code" -gt 128 ]; then signal=$((code - 128)) code=null; fi
    event cli_exited "\"exit\":{\"code\":$code,\"signal\":$signal}"
    git_in add --all
    if ! git_in diff --cached --quiet; then
        author=$(key "$1" commit.author_name) mail=$(key "$1" commit.author_email)
        git_in -c user.name="${author:-cloud-code}" -c user.email="${mail:-cloud-code@users.noreply.github.com}" \
            -c core.hooksPath=/dev/null commit --quiet --message "$title"
        event committed "\"sha\":\"$(git_in rev-parse HEAD)\",\"message\":$(quoted "$title")"
    fi
    if [ -n "$ended" ]; then :
    elif [ "$code" != 0 ]; then ended=failed kind=crashed why="the CLI ended with code $code, signal $signal"
    elif [ "$(git_in rev-parse HEAD)" = "$base" ]; then
        ended=failed kind=no_changes why="the CLI reported success, but no file differs from the task's start"
    else ended=completed
    fi
    end_task "$ended"
}

end_task() {
    if [ "$1" = in_progress ]; then
        task_report in_progress > "$state/current"
        publish_report
        return
    fi
    task_report "$1" >> "$state/ended"
    : > "$state/current"
    status=idle
    publish_report
    event task_ended "\"status\":\"$1\"${kind:+,\"failure\":{\"kind\":\"$kind\",\"message\":$(quoted "$why")\}}"
}

# Looks again at what is wanted. A bad file, and one of an older generation, leaves everything as it is.
look() {
    [ -f "$control/tasking.yaml" ] || return 0
    if ! answer=$(read_tasking); then refusal=$answer
    elif [ "${answer#* }" != "$cli" ]; then refusal="tasking.yaml wants ${answer#* }, and this agent drives $cli"
    elif [ "${answer%% *}" -lt "$observed" ]; then return 0
    else refusal='' observed=${answer%% *}
    fi
    [ -z "$refusal" ] || status=error
    [ -n "$refusal" ] || [ "$status" != error ] || status=idle
}

is_cancelled() {
    look
    for folder in "$state"/tasks/*/; do
        folder=$(basename "$folder")
        if [ "$(key "$folder" id)" = "$1" ]; then [ "$(key "$folder" status)" = cancelled ] && return 0; fi
    done
    return 1
}

has_ended() { grep -q "^  $1:\$" "$state/ended"; }

# What an earlier agent said: a task with an end is kept, one without is taken up again.
cli=$(sed -n 's/^name: *//p' "$control/cli.yaml") started=$(now) id='' attempt=1
instance=$(cat /proc/sys/kernel/random/uuid 2>/dev/null || echo "$$-$(date +%s)")
: > "$state/current"
: > "$state/ended"
if [ -f "$report" ]; then
    observed=$(sed -n 's/^observed_generation: //p' "$report")
    awk -v ended="$state/ended" -v open="$state/open" '
        function flush() { if (task != "") printf "%s", task > (finished ? ended : open); task = ""; finished = 0 }
        /^[^ ]/ { flush(); inside = ($1 == "tasks:"); next }
        inside && /^  [^ {]/ { flush() }
        inside && /^  +[^{]/ { task = task $0 "\n" }
        inside && /^    finished_at: [0-9]/ { finished = 1 }
        END { flush() }
    ' "$report"
    [ ! -f "$state/open" ] || cp "$state/open" "$state/current"
fi
publish_report
event agent_started "\"version\":\"1\",\"instance\":\"$instance\""
while [ -z "$stopping" ]; do
    look
    publish_report
    next=''
    for folder in "$state"/tasks/*/; do
        if [ ! -d "$folder" ] || [ -n "$refusal" ]; then continue; fi
        folder=$(basename "$folder")
        has_ended "$(key "$folder" id)" || { next=$folder; break; }
    done
    if [ -n "$next" ]; then
        id=$(key "$next" id) attempt=1
        before=$(awk -v id="  $id:" '$0 == id { mine = 1; next } /^  [^ ]/ { mine = 0 } mine && $1 == "attempt:" { print $2 }' "$state/open" 2>/dev/null || :)
        [ -z "$before" ] || attempt=$((before + 1))
        if [ "$(key "$next" status)" = cancelled ]; then
            began=$(now) base=$(git_in rev-parse HEAD) log=/dev/null kind='' why='' code=null signal=null
            end_task cancelled
        else
            run_task "$next"
        fi
        id=''
    elif [ -n "$once" ] && [ -d "$state/tasks/0001" ]; then
        exit 0
    else
        for _ in 1 2 3 4 5; do [ -n "$stopping" ] || sleep 1 || :; done
    fi
done
status=stopping
publish_report
