//! Two coding CLIs that can do what the real ones can: read without writing, go on with a conversation, ask, and tell what
//! they cost. Both are the same script under two names, which the installation finds in a `cli_dirs` folder.

use std::fs;

use crate::stage::{Setup, Stage};

/// What they do. It acts on words of the prompt, as the stage's own script; one that says none of them counts.
pub(crate) const SCRIPT: &str = r#"
name=$1; shift
prompt=$(cat)
printf '%s\n=====\n' "$prompt" >> "$PROMPTS"
printf '%s %s\n' "$name" "$*" >> "$PROMPTS.calls"
echo run >> "$HOME/$name.runs"
runs=$(wc -l < "$HOME/$name.runs")
model=$name-1
while [ $# -gt 0 ]; do [ "$1" = --model ] && model=$2; shift; done
told() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | awk '{ printf "%s%s", sep, $0; sep = "\\n" }'; }
ends() {
  text=$(told "$1")
  cost=$((runs / 4)).$((runs % 4 * 25)); each=0.25
  case $prompt in *TELL-NO-PRICE*) cost=0; each=0; model=claude-sonnet-4-5 ;; esac
  printf '{"type":"assistant","message":{"id":"m%s","model":"%s","content":[{"type":"text","text":"%s"}]}}\n' "$runs" "$model" "$text"
  printf '{"type":"result","subtype":"%s","is_error":%s,"session_id":"s-%s","result":"%s",%s"total_cost_usd":%s,' \
    "${2:-success}" "${3:-false}" "$name" "$text" "${4:-}" "$cost"
  printf '"modelUsage":{"%s":{"inputTokens":%s,"outputTokens":%s,"costUSD":%s}}}\n' "$model" "$((runs * 1200))" "$((runs * 300))" "$each"
  exit 0
}
refused() { ends "$2" success true "\"terminal_reason\":\"api_error\",\"api_error_status\":$1,"; }
printf '{"type":"system","subtype":"init","session_id":"s-%s","model":"%s","apiKeySource":"SHOP_KEY"}\n' "$name" "$model"
case $prompt in
  *HALF-WAY*) echo half > half.txt; touch "$HOME/hold" ;;
  *WAIT-FOR-GO*) touch "$HOME/hold" ;;
  *BUSY-ALWAYS*) touch "$PROMPTS.busy" ;;
esac
if [ -e "$HOME/hold" ]; then while [ ! -e "$GO" ] && [ ! -e "$HOME/go" ]; do sleep 0.05; done; fi
if [ -e "$PROMPTS.busy" ]; then refused 529 'The provider is overloaded'; fi
once() { [ ! -e "$PROMPTS.$1" ] && touch "$PROMPTS.$1"; }
case $prompt in
  *BUSY-ONCE*) if once busy-once; then refused 529 'The provider is overloaded'; fi ;;
  *LIMIT-ONCE*) if once limit-once; then refused 429 'Rate limit reached. Please try again in 4 seconds.'; fi ;;
  *LIMIT-LONG*) if once limit-long; then refused 429 'Rate limit reached. Please try again in 4000 seconds.'; fi ;;
  *REFUSE-THE-KEY*) refused 401 'Invalid API key' ;;
  *FAIL-ONCE*) if [ ! -e "$PROMPTS.failed" ]; then touch "$PROMPTS.failed"; ends 'The parser cannot be found' error_during_execution true; fi ;;
  *ASK-FIRST*) ends 'Which colour should it be, red or blue?' ;;
  *'End with a plan'*) ends 'First the counter, then its test.' ;;
  *'This is a question'*) ends 'The answer is forty-two, @everybody.' ;;
esac
file=count.txt
case $prompt in *ELSEWHERE*) file=elsewhere.txt ;; esac
count=$(cat $file 2>/dev/null || echo 0)
echo $((count + 1)) > $file || ends 'The file cannot be written' error_during_execution true
ends 'Count once more

It counts. See @octocat and #1.
- [x] the count grows'
"#;

/// A stage where `scribe` works, and `tinker` can take over.
pub(crate) fn stage() -> Stage {
    stage_with(Setup::default())
}

pub(crate) fn stage_with(setup: Setup) -> Stage {
    let mut stage = set(setup);
    stage.serves();
    stage
}

/// With nobody serving yet.
pub(crate) fn set(setup: Setup) -> Stage {
    let stage = Stage::set(setup);
    let script = stage.home().join("scribe.sh");
    fs::write(&script, SCRIPT).unwrap();
    let dirs = stage.home().join("clis");
    for name in ["scribe", "tinker"] {
        fs::create_dir_all(dirs.join(name)).unwrap();
        stage.write(
            &format!("clis/{name}/cli.yaml"),
            &format!(
                "name: {name}\ncommand: [sh, {}, {name}]\nprompt: stdin\nplan: [--plan]\nmodel: [--model, '{{model}}']\n\
                 resume: [--resume, '{{session_id}}']\nmax_cost: [--max-cost, '{{max_cost_usd}}']\n\
                 output: claude-stream-json\n",
                script.display()
            ),
        );
    }
    stage.rewrite("cloud-code.yaml", |text| format!("cli_dirs: [{}]\n{text}", dirs.display()));
    stage.rewrite("projects/shop.yaml", |text| {
        let is_of_command = |line: &&str| line.starts_with("cli:") || line.starts_with("command:");
        let rest: Vec<&str> = text.lines().filter(|line| !is_of_command(line)).collect();
        format!("cli: scribe\n{}\n", rest.join("\n"))
    });
    stage
}
