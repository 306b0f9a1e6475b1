use serde_json::{Value, json};

use super::*;
use crate::chat;
use crate::script::{Action, Answer, UsageFigures, WithoutTool};

const DIFF: &str = "Act as an expert software developer.\nDescribe each change with a *SEARCH/REPLACE block* per the examples \
                    below.\n2. The opening fence and code language, eg: ```python\n";
const WHOLE: &str = "Act as an expert software developer.\nOutput a copy of each file that needs changes as a *file \
                     listing*.\n- Second line: opening ````\n";
const ASK: &str =
    "Act as an expert code analyst.\nAnswer questions about the supplied code.\nReply in English.\n";

const FILES: &str = "I have *added these files to the chat* so you can go ahead and edit them.\n\n*Trust this message as the \
                     true contents of these files!*\nAny other messages in the chat may contain outdated versions of the \
                     files' contents.\n\nREADME.md\n```\n# Sample\n\nA sample.\n```\n\nempty.txt\n```\n```\n\nopen.txt\n```\nno \
                     newline```\n";
const FILES_ANSWER: &str = "Ok, any changes I propose will be to those files.";

fn request(system: &str, said: &[(&str, &str)]) -> ModelRequest {
    let mut messages = vec![json!({ "role": "system", "content": system })];
    messages.extend(said.iter().map(|(role, text)| json!({ "role": role, "content": text })));
    chat::request(&json!({ "model": "m", "messages": messages }))
}

fn work(system: &str, said: &[(&str, &str)]) -> (Blocks, Vec<Entry>) {
    let mut request = request(system, said);
    match recognise(&mut request) {
        Some(Aider::Work(blocks)) => (blocks, request.history),
        other => panic!("not the work of aider: {other:?}"),
    }
}

fn user(text: &str) -> Entry {
    Entry::User { text: text.to_owned() }
}

fn model(text: &str) -> Entry {
    Entry::Assistant { text: text.to_owned(), call_ids: Vec::new() }
}

#[test]
fn its_own_requests_and_those_of_others_are_told_apart() {
    for system in [
        "You are an expert software engineer that generates concise, one-line Git commit messages based on the provided diffs.",
        "*Briefly* summarize this partial conversation about programming.",
    ] {
        assert_eq!(
            recognise(&mut request(system, &[("user", "USER: hello")])),
            Some(Aider::Side),
            "{system}"
        );
    }
    assert_eq!(recognise(&mut request("You are a coding agent.", &[("user", "go")])), None);
    let mut with_tools = request(DIFF, &[("user", "go")]);
    with_tools.tools.push(crate::conversation::OfferedTool::json("bash", &Value::Null));
    assert_eq!(recognise(&mut with_tools), None, "aider offers no tools");
}

#[test]
fn what_aider_says_for_a_person_is_no_part_of_the_conversation() {
    let (blocks, history) = work(
        DIFF,
        &[
            ("user", "Change get_factorial() to use math.factorial"),
            ("assistant", "mathweb/flask/app.py\n```python\n<<<<<<< SEARCH\n"),
            (
                "user",
                "I switched to a new code base. Please don't consider the above files or try to edit them any longer.",
            ),
            ("assistant", "Ok."),
            ("user", "The first prompt"),
            ("assistant", "The first answer"),
            ("user", "Here are summaries of some files present in my git repository.\n\nother.md\n"),
            ("assistant", "Ok, I won't try and edit those files without asking first."),
            ("user", FILES),
            ("assistant", FILES_ANSWER),
            ("user", "The second prompt\n\n# *SEARCH/REPLACE block* Rules:\n\nEvery block …\n"),
        ],
    );
    assert_eq!(history, [user("The first prompt"), model("The first answer"), user("The second prompt")]);
    let files = [("README.md", "# Sample\n\nA sample.\n"), ("empty.txt", ""), ("open.txt", "no newline")];
    assert_eq!(blocks.files, files.map(|(path, content)| (path.to_owned(), content.to_owned())).into());
    assert_eq!((blocks.format, blocks.fence), (Format::SearchReplace, ("```".to_owned(), "```".to_owned())));
}

/// Nothing of an answer that names files which were not shown is done: the same is asked again.
#[test]
fn an_answer_that_only_had_files_added_does_not_count() {
    let (_, history) = work(
        DIFF,
        &[
            ("user", "Edit the heading"),
            ("assistant", "README.md\n…"),
            (
                "user",
                "I added these files to the chat: README.md\nLet me know if there are others we should add.",
            ),
        ],
    );
    assert_eq!(history, [user("Edit the heading")]);
}

#[test]
fn where_roles_alternate_a_prompt_stands_before_the_files() {
    let (blocks, history) = work(DIFF, &[("user", &format!("The prompt\n{FILES}"))]);
    assert_eq!(history, [user("The prompt")]);
    assert_eq!(blocks.files.len(), 3);
}

#[test]
fn the_prompt_says_how_changes_are_to_be_written() {
    let formats = [DIFF, WHOLE, ASK].map(|system| {
        let (blocks, _) = work(system, &[("user", "go")]);
        (blocks.format, blocks.fence.0)
    });
    let expected = [(Format::SearchReplace, "```"), (Format::Whole, "````"), (Format::Ask, "```")];
    assert_eq!(formats, expected.map(|(format, fence)| (format, fence.to_owned())));
    let tagged = DIFF.replace("```", "<source>");
    assert_eq!(work(&tagged, &[("user", "go")]).0.fence, ("<source>".to_owned(), "</source>".to_owned()));
}

fn turn(turn: usize, say: Option<&str>, action: Option<Action>) -> Answer {
    let usage = UsageFigures { input: 10, output: 1, cache_read: 0, cache_write: 0 };
    Answer {
        turn,
        think: None,
        say: say.map(str::to_owned),
        action,
        usage,
        delay: None,
        recall: None,
        without_tool: WithoutTool::Refused,
    }
}

/// One of each, on a file that is shown.
fn run() -> (Answer, Vec<Answer>) {
    let write =
        |path: &str, content: &str| Action::Write { path: path.to_owned(), content: content.to_owned() };
    let edit = |path: &str, old: &str, new: &str| Action::Edit {
        path: path.to_owned(),
        old: old.to_owned(),
        new: new.to_owned(),
    };
    let first = turn(1, Some("I begin."), Some(write("new.txt", "one\ntwo\n")));
    let then = vec![
        turn(2, None, Some(edit("new.txt", "two", "three"))),
        turn(3, Some("Now the heading."), Some(edit("README.md", "# Sample", "# Sample, edited"))),
        turn(4, None, Some(write("open.txt", "closed\n"))),
        turn(5, None, Some(Action::Run { command: "make test".to_owned() })),
        turn(6, Some("Done."), None),
    ];
    (first, then)
}

fn told(system: &str) -> String {
    let (blocks, _) =
        work(system, &[("user", &FILES.replace("```", if system == WHOLE { "````" } else { "```" }))]);
    let (first, then) = run();
    let whole = answer(first, then, &blocks).expect("an answer");
    assert_eq!((whole.turn, whole.usage.input, whole.usage.output), (6, 60, 6));
    assert_eq!(whole.action, None);
    whole.say.expect("a text")
}

#[test]
fn a_run_is_one_text_with_search_and_replace_blocks() {
    insta::assert_snapshot!(told(DIFF));
}

#[test]
fn a_run_is_one_text_with_whole_files() {
    insta::assert_snapshot!(told(WHOLE));
}

#[test]
fn a_question_is_answered_without_a_block() {
    insta::assert_snapshot!(told(ASK));
}

#[test]
fn a_tool_of_another_cli_is_refused() {
    let (blocks, _) = work(DIFF, &[("user", "go")]);
    let tool = Action::Tool { name: "Bash".to_owned(), input: Value::Null };
    let error = answer(turn(1, None, Some(tool)), Vec::new(), &blocks).expect_err("no tools");
    assert_eq!(
        error.to_string(),
        "the script wants to call the tool Bash, and the request offers no tool for it: it is aider's, which offers none"
    );
}
