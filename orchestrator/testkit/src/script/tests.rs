use super::*;

fn refused(text: &str) -> String {
    let error = Script::parse(text).expect_err("the script must be refused");
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[test]
fn faults_stand_before_the_answer_they_delay() {
    let script = Script::parse(
        "turns:\n\
         - {status: 429, retry_after: 7, times: 2}\n\
         - {cut: true, say: after the cut}\n\
         - {run: ls}\n\
         - {status: 500, times: forever}\n",
    )
    .expect("a good script");
    let steps = &script.scenarios[DEFAULT_SCENARIO].steps;
    let shape: Vec<_> = steps
        .iter()
        .map(|step| {
            let faults =
                step.faults.iter().map(|fault| (fault.turn, fault.kind.name(), fault.times)).collect();
            (faults, step.answer.as_ref().map(|answer| answer.turn))
        })
        .collect();
    assert_eq!(
        shape,
        vec![
            (vec![(1, "status", Times::Count(2)), (2, "cut", Times::Count(1))], Some(2)),
            (vec![], Some(3)),
            (vec![(4, "status", Times::Forever)], None),
        ]
    );
}

#[test]
fn durations_have_units() {
    let script = Script::parse(
        "turns: [{say: a, delay: 200ms}, {say: b, delay: 7s}, {say: c, delay: 2m}, {say: d, delay: 5h}]",
    )
    .expect("a good script");
    let delays: Vec<_> = script.scenarios[DEFAULT_SCENARIO]
        .steps
        .iter()
        .filter_map(|step| step.answer.as_ref()?.delay)
        .map(|delay| delay.as_millis())
        .collect();
    assert_eq!(delays, vec![200, 7_000, 120_000, 18_000_000]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        "turns: [{sya: hello}]",
        "turnz: []",
        "{}",
        "turns: []",
        "turns: [{}]",
        "turns: [{think: alone}]",
        "turns: [{run: a, write: {path: b, content: c}}]",
        "turns: [{status: 500, cut: true}]",
        "turns: [{status: 200}]",
        "turns: [{say: a}, {retry_after: 3}]",
        "turns: [{say: a, times: 3}]",
        "turns: [{status: 500, times: 0}]",
        "turns: [{status: 500, times: often}]",
        "turns: [{status: 500, times: forever}, {say: never}]",
        "turns: [{status: 500, times: forever, say: never}]",
        "turns: [{cut: false, say: a}]",
        "turns: [{say: a, delay: 3}]",
        "turns: [{say: a, if_offered: true}]",
        "turns: [{run: a, if_offered: false}]",
        "turns: [{run: a, recall: {prompt: b, say: c}}]",
        "turns: [{usage_limit: {resets_in: soon}}]",
        "turns: [{usage_limit: {}, model_unknown: true}]",
        "turns: [{edit: {path: a, old: b, new: b}}]",
        "turns: [{status: 500, usage: {input: 1}}]",
        "scenarios: {a: {match: x, turns: [{say: a}]}, b: {match: x, turns: [{say: b}]}}",
        "scenarios: {a: {match: ' ', turns: [{say: a}]}}",
        "scenarios: {default: {match: x, turns: [{say: a}]}}",
        "scenarios: {a: {turns: [{say: a}]}}",
    ];
    let said: Vec<String> = cases.iter().map(|case| format!("{case}\n    {}", refused(case))).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_file_that_is_too_large_or_missing_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = Script::load(&folder.path().join("missing.yaml")).expect_err("no such file");
    assert!(matches!(missing, ScriptError::Unreadable { .. }), "{missing}");
    let large = folder.path().join("large.yaml");
    let file = std::fs::File::create(&large).expect("a file");
    file.set_len(MAX_SCRIPT_BYTES + 1).expect("a sparse file");
    let error = Script::load(&large).expect_err("too large");
    assert!(matches!(error, ScriptError::TooLarge { bytes, .. } if bytes == MAX_SCRIPT_BYTES + 1), "{error}");
}
