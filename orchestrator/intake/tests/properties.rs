//! Properties of reading, on texts that proptest makes and shrinks.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod checks;

use checks::{check, rules};
use cloud_code_intake::{carries_marker, parse, render};
use cloud_code_model::{Command, ConfigKey};
use proptest::option::of;
use proptest::prelude::*;

fn words() -> impl Strategy<Value = String> {
    proptest::collection::vec("[a-z]{1,8}", 0..6).prop_map(|words| words.join(" "))
}

fn command() -> impl Strategy<Value = Command> {
    let cli = prop_oneof![Just("claude-code"), Just("codex")].prop_map(|name| name.parse().unwrap());
    let model = "[a-z][a-z0-9./:-]{0,20}";
    let base = "[a-z]{1,8}(/[a-z0-9]{1,8})?".prop_map(|name| name.parse().unwrap());
    let budget = (1_u32..100_000)
        .prop_map(|cents| cloud_code_task_schema::Usd::new(f64::from(cents) / 100.0).unwrap());
    prop_oneof![
        (of(cli.clone()), of(model), of(base), of(budget), words())
            .prop_map(|(cli, model, base, budget, text)| Command::Run { cli, model, base, budget, text }),
        words().prop_map(|text| Command::Plan { text }),
        words().prop_map(|reason| Command::Reject { reason }),
        (cli, words()).prop_map(|(cli, text)| Command::Handoff { cli, text }),
        "[a-z]{1,8}( [a-z]{1,8}){0,4}".prop_map(|text| Command::Ask { text }),
        "[a-z][a-z0-9-]{0,20}".prop_map(|value| Command::Config { key: ConfigKey::Model, value }),
        (1_u32..600).prop_map(|minutes| Command::Config {
            key: ConfigKey::Timeout,
            value: cloud_code_task_schema::HumanDuration::from_secs(u64::from(minutes) * 60).to_string(),
        }),
        Just(Command::Config { key: ConfigKey::Draft, value: "false".to_owned() }),
        Just(Command::Approve),
        Just(Command::Cancel),
        Just(Command::Retry),
        Just(Command::Status),
        Just(Command::Cost),
        Just(Command::Logs),
        Just(Command::Help),
    ]
}

proptest! {
    #[test]
    fn any_text_keeps_the_rules(text in "\\PC{0,60}") {
        check(&text, &rules());
    }

    #[test]
    fn any_text_after_the_prefix_keeps_the_rules(text in "(?s)[ \\na-z/>`<!&#;\\-\\[\\]()\"@*_~|$\u{200B}]{0,60}") {
        check(&format!("/cloud-code {text}"), &rules());
    }

    #[test]
    fn what_is_rendered_is_read_back(command in command()) {
        for prefix in ["/cloud-code", "/cc", "@agent"] {
            let found = parse(&render(&command, prefix), &rules()).unwrap().unwrap();
            prop_assert_eq!(&found.command, &command);
        }
    }

    #[test]
    fn a_marker_is_found_in_any_text(before in "[^<]{0,20}", kind in "[a-z]{1,10}", key in "[A-Za-z0-9._/#@+]{1,40}", after in "\\PC{0,20}") {
        let text = format!("{before}<!-- cloud-code:{kind}:{key} -->{after}");
        prop_assert!(carries_marker(&text), "{}", text);
    }
}
