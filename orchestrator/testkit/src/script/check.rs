//! From keys to meaning: what a turn does, and which faults stand before which answer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::reply::HttpError;

use super::raw::{RawHang, RawScenario, RawScript, RawTurn};
use super::{
    Action, Answer, DEFAULT_SCENARIO, Fault, FaultKind, Scenario, Script, ScriptError, Step, Times,
    TurnProblem, WithoutTool,
};

/// When a usage window resets, where the script does not say it: the length of the usual one.
const USAGE_WINDOW: Duration = Duration::from_secs(5 * 3600);

pub(super) fn script(raw: RawScript) -> Result<Script, ScriptError> {
    if raw.turns.is_none() && raw.scenarios.is_empty() {
        return Err(ScriptError::Empty);
    }
    let mut scenarios = BTreeMap::new();
    let mut markers: BTreeMap<String, String> = BTreeMap::new();
    for (name, RawScenario { marker, turns }) in raw.scenarios {
        if name == DEFAULT_SCENARIO {
            return Err(ScriptError::ReservedName);
        }
        if marker.trim().is_empty() {
            return Err(ScriptError::EmptyMarker { scenario: name });
        }
        if let Some(first) = markers.insert(marker.clone(), name.clone()) {
            return Err(ScriptError::SameMarker { first, second: name });
        }
        let steps = steps(&name, turns)?;
        scenarios.insert(name, Scenario { marker: Some(marker), steps });
    }
    if let Some(turns) = raw.turns {
        let steps = steps(DEFAULT_SCENARIO, turns)?;
        scenarios.insert(DEFAULT_SCENARIO.to_owned(), Scenario { marker: None, steps });
    }
    Ok(Script { scenarios })
}

fn steps(scenario: &str, turns: Vec<RawTurn>) -> Result<Vec<Step>, ScriptError> {
    if turns.is_empty() {
        return Err(ScriptError::NoTurns { scenario: scenario.to_owned() });
    }
    let mut steps = Vec::new();
    let mut step = Step::default();
    for (index, raw) in turns.into_iter().enumerate() {
        let turn = index + 1;
        let refuse = |problem| ScriptError::Turn { scenario: scenario.to_owned(), turn, problem };
        if step.faults.iter().any(|fault| fault.times == Times::Forever) {
            return Err(refuse(TurnProblem::Unreachable));
        }
        let (fault, answer) = meaning(turn, raw).map_err(refuse)?;
        step.faults.extend(fault);
        if answer.is_some() {
            step.answer = answer;
            steps.push(std::mem::take(&mut step));
        }
    }
    if !step.faults.is_empty() {
        steps.push(step);
    }
    Ok(steps)
}

fn meaning(turn: usize, raw: RawTurn) -> Result<(Option<Fault>, Option<Answer>), TurnProblem> {
    let delay = raw.delay;
    let times = raw.times;
    let usage = raw.usage;
    let (action, kind) = (action(&raw)?, fault_kind(&raw)?);
    let (think, say, recall) = (raw.think, raw.say, raw.recall);
    if raw.if_offered.is_some() && action.is_none() {
        return Err(TurnProblem::Stray { key: "if_offered", of: "a tool" });
    }
    if recall.is_some() && say.is_none() {
        return Err(TurnProblem::Stray { key: "recall", of: "`say`" });
    }
    let without_tool = match raw.if_offered {
        Some(_) => WithoutTool::LeftOut,
        None => WithoutTool::Refused,
    };
    if kind.is_none() && times.is_some() {
        return Err(TurnProblem::Stray { key: "times", of: "a fault" });
    }
    let answers = action.is_some() || say.is_some();
    if !answers {
        if kind.is_none() {
            return Err(TurnProblem::Nothing);
        }
        if think.is_some() {
            return Err(TurnProblem::Stray { key: "think", of: "an answer" });
        }
        if usage.is_some() {
            return Err(TurnProblem::Stray { key: "usage", of: "an answer" });
        }
    }
    let fault = kind.map(|kind| Fault { turn, kind, times: times.unwrap_or(Times::Count(1)), delay });
    if answers && fault.as_ref().is_some_and(|fault| fault.times == Times::Forever) {
        return Err(TurnProblem::AnswerUnreachable);
    }
    let answer = answers.then(|| Answer {
        turn,
        think,
        say,
        action,
        usage: usage.unwrap_or_default(),
        delay,
        recall,
        without_tool,
    });
    Ok((fault, answer))
}

fn action(raw: &RawTurn) -> Result<Option<Action>, TurnProblem> {
    let mut found: Option<(&'static str, Action)> = None;
    let candidates = [
        ("run", raw.run.clone().map(|command| Action::Run { command })),
        ("read", raw.read.clone().map(|path| Action::Read { path })),
        (
            "write",
            raw.write
                .as_ref()
                .map(|write| Action::Write { path: write.path.clone(), content: write.content.clone() }),
        ),
        (
            "edit",
            raw.edit.as_ref().map(|edit| Action::Edit {
                path: edit.path.clone(),
                old: edit.old.clone(),
                new: edit.new.clone(),
            }),
        ),
        (
            "tool",
            raw.tool.as_ref().map(|tool| Action::Tool { name: tool.name.clone(), input: tool.input.clone() }),
        ),
    ];
    for (key, candidate) in candidates {
        let Some(candidate) = candidate else { continue };
        if let Action::Edit { old, new, .. } = &candidate
            && (old.trim().is_empty() || old == new)
        {
            return Err(TurnProblem::EmptyEdit);
        }
        if let Some((first, _)) = found {
            return Err(TurnProblem::TwoActions { first, second: key });
        }
        found = Some((key, candidate));
    }
    Ok(found.map(|(_, action)| action))
}

fn fault_kind(raw: &RawTurn) -> Result<Option<FaultKind>, TurnProblem> {
    for (key, flag) in [
        ("cut", raw.cut),
        ("stream_error", raw.stream_error),
        ("bad_key", raw.bad_key),
        ("out_of_credit", raw.out_of_credit),
        ("context_too_long", raw.context_too_long),
        ("login_expired", raw.login_expired),
        ("model_unknown", raw.model_unknown),
        ("refuse", raw.refuse),
        ("if_offered", raw.if_offered),
    ] {
        if flag == Some(false) {
            return Err(TurnProblem::False(key));
        }
    }
    if raw.times == Some(Times::Count(0)) {
        return Err(TurnProblem::TimesZero);
    }
    if raw.status.is_none() {
        if raw.retry_after.is_some() {
            return Err(TurnProblem::Stray { key: "retry_after", of: "`status`" });
        }
        if raw.error.is_some() {
            return Err(TurnProblem::Stray { key: "error", of: "`status`" });
        }
    }
    if let Some(status) = raw.status
        && !(400..=599).contains(&status)
    {
        return Err(TurnProblem::Status(status));
    }
    let candidates = [
        (
            "status",
            raw.status.map(|status| {
                FaultKind::Status(HttpError {
                    retry_after: raw.retry_after,
                    text: raw.error.clone().unwrap_or_default(),
                    ..HttpError::plain(status)
                })
            }),
        ),
        ("bad_key", raw.bad_key.map(|_| FaultKind::BadKey)),
        ("out_of_credit", raw.out_of_credit.map(|_| FaultKind::OutOfCredit)),
        ("context_too_long", raw.context_too_long.map(|_| FaultKind::ContextTooLong)),
        ("login_expired", raw.login_expired.map(|_| FaultKind::LoginExpired)),
        (
            "usage_limit",
            raw.usage_limit
                .as_ref()
                .map(|limit| FaultKind::UsageLimit { resets_in: limit.resets_in.unwrap_or(USAGE_WINDOW) }),
        ),
        ("model_unknown", raw.model_unknown.map(|_| FaultKind::ModelUnknown)),
        ("refuse", raw.refuse.map(|_| FaultKind::Refuse)),
        (
            "hang",
            raw.hang.map(|hang| match hang {
                RawHang::Headers => FaultKind::HangHeaders,
                RawHang::Stream => FaultKind::HangStream,
            }),
        ),
        ("cut", raw.cut.map(|_| FaultKind::Cut)),
        ("stream_error", raw.stream_error.map(|_| FaultKind::StreamError)),
    ];
    let mut found: Option<(&'static str, FaultKind)> = None;
    for (key, candidate) in candidates {
        let Some(candidate) = candidate else { continue };
        if let Some((first, _)) = found {
            return Err(TurnProblem::TwoFaults { first, second: key });
        }
        found = Some((key, candidate));
    }
    Ok(found.map(|(_, kind)| kind))
}
