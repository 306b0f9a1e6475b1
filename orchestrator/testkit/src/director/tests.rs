use std::iter;

use super::*;
use crate::conversation::OfferedTool;

const SCRIPT: &str = "
turns: [{run: one}, {run: two}, {say: done}]
scenarios:
  login: {match: '[login]', turns: [{run: login one}, {say: login done}, {run: more}, {say: more done}]}
  limits:
    match: '[login] limits'
    turns: [{status: 429, times: 2}, {status: 500, say: through}, {cut: true, times: forever}]
";

fn director() -> Director {
    Director::new(Script::parse(SCRIPT).expect("a good script"))
}

fn user(text: &str) -> Entry {
    Entry::User { text: text.to_owned() }
}

/// An answer with one call, as made at a position.
fn called(position: usize) -> Entry {
    Entry::Assistant { text: String::new(), call_ids: vec![call_id("toolu_", position, 7)] }
}

fn said() -> Entry {
    Entry::Assistant { text: String::new(), call_ids: vec![] }
}

fn request(history: Vec<Entry>) -> ModelRequest {
    ModelRequest {
        api: Api::Anthropic,
        model: "any".to_owned(),
        stream: true,
        stream_usage: true,
        max_tokens: Some(1000),
        schema: None,
        tools: vec![OfferedTool::json("Bash", &serde_json::Value::Null)],
        history,
        working_directory: None,
        surroundings: Vec::new(),
    }
}

/// Scenario and turn, or what else it is.
fn decided(director: &mut Director, history: Vec<Entry>) -> String {
    match director.decide(&request(history), Pace::Turn) {
        Decision::Answer { scenario, answer, .. } => format!("{scenario} {}", answer.turn),
        Decision::Fault { scenario, fault } => format!("{scenario} {} {}", fault.turn, fault.kind.name()),
        Decision::Exhausted { scenario, position } => format!("{scenario} exhausted at {position}"),
        Decision::NoScenario => "no scenario".to_owned(),
    }
}

#[test]
fn the_conversation_says_which_turn_is_next() {
    let mut director = director();
    assert_eq!(decided(&mut director, vec![user("go")]), "default 1");
    assert_eq!(decided(&mut director, vec![user("go"), called(0), Entry::ToolResult]), "default 2");
    // Asked again: answered again.
    assert_eq!(decided(&mut director, vec![user("go"), called(0), Entry::ToolResult]), "default 2");
    let two = vec![user("go"), called(0), Entry::ToolResult, called(1), Entry::ToolResult];
    assert_eq!(decided(&mut director, two.clone()), "default 3");
    let resumed = [two, vec![said(), user("go on")]].concat();
    assert_eq!(decided(&mut director, resumed), "default exhausted at 3");
}

#[test]
fn calls_and_results_of_one_answer_may_alternate() {
    let history = vec![user("go"), called(0), Entry::ToolResult, called(0), Entry::ToolResult];
    assert_eq!(decided(&mut director(), history), "default 2");
}

#[test]
fn a_marker_chooses_the_scenario_and_the_longest_wins() {
    let mut director = director();
    assert_eq!(decided(&mut director, vec![user("please [login] now")]), "login 1");
    assert_eq!(decided(&mut director, vec![user("please [login] limits")]), "limits 1 status");
}

#[test]
fn a_follow_up_goes_on_with_the_scenario_whether_it_repeats_the_marker_or_not() {
    let first = vec![user("[login]"), called(0), Entry::ToolResult, said()];
    for follow_up in ["and now?", "[login] again"] {
        let history = [first.clone(), vec![user(follow_up)]].concat();
        assert_eq!(decided(&mut director(), history), "login 3", "{follow_up}");
    }
    let other = [first, vec![user("[login] limits")]].concat();
    assert_eq!(decided(&mut director(), other), "limits 1 status");
}

#[test]
fn a_summary_says_whose_conversation_it_was() {
    let mut director = director();
    let asked = request(vec![user("[login]"), said(), user("Summarise.")]);
    assert_eq!(director.marker(&asked).as_deref(), Some("[login]"));
    let summary = Entry::Assistant { text: "Scripted model [login]".to_owned(), call_ids: Vec::new() };
    let history = vec![user("What did we do?"), summary, user("Go on.")];
    assert_eq!(decided(&mut director, history), "login 2");
}

#[test]
fn faults_are_counted_and_then_the_answer_comes() {
    let mut director = director();
    let history = || vec![user("[login] limits")];
    let served: Vec<String> = (0..4).map(|_| decided(&mut director, history())).collect();
    assert_eq!(served, ["limits 1 status", "limits 1 status", "limits 2 status", "limits 2"]);
    let later = || [history(), vec![said(), user("more")]].concat();
    for _ in 0..3 {
        assert_eq!(decided(&mut director, later()), "limits 3 cut");
    }
}

#[test]
fn what_came_before_a_stream_broke_is_no_answer() {
    let broken = Entry::Assistant { text: UNFINISHED.to_owned(), call_ids: Vec::new() };
    let history = vec![user("go"), called(0), Entry::ToolResult, broken, user("Continue.")];
    assert_eq!(decided(&mut director(), history), "default 2");
}

#[test]
fn each_api_meets_the_faults_anew() {
    let mut director = director();
    let mut other = request(vec![user("[login] limits")]);
    other.api = Api::OpenaiResponses;
    for _ in 0..3 {
        director.decide(&request(vec![user("[login] limits")]), Pace::Turn);
    }
    assert!(matches!(director.decide(&other, Pace::Turn), Decision::Fault { fault, .. } if fault.turn == 1));
}

#[test]
fn without_top_level_turns_a_prompt_needs_a_marker() {
    let script = Script::parse("scenarios: {a: {match: x, turns: [{say: a}]}}").expect("a good script");
    assert_eq!(decided(&mut Director::new(script), vec![user("go")]), "no scenario");
}

#[test]
fn only_ids_of_this_server_say_a_position() {
    assert_eq!(position_in(&call_id("toolu_", 12, 3)), Some(12));
    for foreign in ["toolu_01AbC", "call_1_2", "p1", "", "toolu_px_000001", "toolu_p1_x"] {
        assert_eq!(position_in(foreign), None, "{foreign}");
    }
}

#[test]
fn a_turn_without_a_tool_for_it_may_be_left_out() {
    let script =
        "turns: [{write: {path: a, content: b}, if_offered: true}, {run: ls, if_offered: true}, {say: done}]";
    let mut director = Director::new(Script::parse(script).expect("a good script"));
    let mut turn = |tools: &[&str], history: Vec<Entry>| {
        let tools = tools.iter().map(|name| OfferedTool::json(name, &serde_json::Value::Null)).collect();
        match director.decide(&ModelRequest { tools, ..request(history) }, Pace::Turn) {
            Decision::Answer { position, answer, .. } => (position, answer.turn),
            other => panic!("no answer: {other:?}"),
        }
    };
    assert_eq!(turn(&["Write", "Bash"], vec![user("go")]), (0, 1));
    assert_eq!(turn(&["Bash"], vec![user("go")]), (0, 1), "a shell writes files too");
    assert_eq!(turn(&["Write"], vec![user("go"), called(0), Entry::ToolResult]), (2, 3));
    assert_eq!(turn(&["Read"], vec![user("go")]), (2, 3));
}

#[test]
fn only_an_earlier_prompt_is_remembered() {
    let script = "turns: [{say: first}]\nscenarios: {second: {match: '[second]', \
                  turns: [{say: What?, recall: {prompt: '[first]', say: I remember.}}]}}";
    let mut director = Director::new(Script::parse(script).expect("a good script"));
    let mut say = |history: Vec<Entry>| match director.decide(&request(history), Pace::Turn) {
        Decision::Answer { answer, .. } => answer.say.expect("a text"),
        other => panic!("no answer: {other:?}"),
    };
    assert_eq!(say(vec![user("[first]"), said(), user("[second]")]), "I remember.");
    assert_eq!(say(vec![user("[other]"), said(), user("[second]")]), "What?");
    assert_eq!(say(vec![user("[second] after [first]")]), "What?", "a prompt may quote another");
}

/// Some CLIs bring nothing back from what an answer does: all of a run is one answer, and one answer a run.
#[test]
fn at_the_pace_of_runs_an_answer_is_a_run() {
    let mut director = director();
    let mut turns = |history: Vec<Entry>| match director.decide(&request(history), Pace::Run) {
        Decision::Answer { answer, then, .. } => {
            iter::once(answer).chain(then).map(|answer| answer.turn).collect::<Vec<usize>>()
        }
        Decision::Fault { fault, .. } => vec![100 + fault.turn],
        Decision::Exhausted { .. } | Decision::NoScenario => Vec::new(),
    };
    assert_eq!(turns(vec![user("go")]), [1, 2, 3]);
    assert_eq!(turns(vec![user("go"), said(), user("more")]), Vec::<usize>::new());
    assert_eq!(turns(vec![user("[login]")]), [1, 2]);
    assert_eq!(turns(vec![user("[login]"), said(), user("more")]), [3, 4]);
    let limits: Vec<Vec<usize>> = (0..4).map(|_| turns(vec![user("[login] limits")])).collect();
    assert_eq!(limits, [vec![101], vec![101], vec![102], vec![2]]);
}
