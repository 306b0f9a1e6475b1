//! A hand-off's packet in a person's words. Parts of it were written by an agent: every line is cleaned.

use cloud_code_task_schema::Handoff;

use crate::ui::clean;

/// The packet, a line each, headings first. Empty when it says nothing.
pub(crate) fn handoff_lines(handoff: &Handoff) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(from) = &handoff.from {
        lines.push(format!("taken over from {from}"));
    }
    let text = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
    for (heading, items) in [
        ("goal", &text(&handoff.goal)),
        ("plan", &text(&handoff.plan)),
        ("done", &handoff.done),
        ("failed", &handoff.failed),
        ("open", &handoff.open),
        ("failing checks", &handoff.failed_checks),
        ("questions", &handoff.questions),
        ("changes so far", &text(&handoff.diff_stat)),
    ] {
        if items.is_empty() {
            continue;
        }
        lines.push(format!("{heading}:"));
        for item in items {
            for (index, line) in clean(item).trim_end().lines().enumerate() {
                let line = format!("{} {line}", if index == 0 { "  -" } else { "   " });
                lines.push(line.trim_end().to_owned());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_reads_from_top_to_bottom_and_cannot_drive_the_terminal() {
        let handoff = Handoff {
            from: "codex".parse().ok(),
            goal: Some("Fix the login\n\nNow.".into()),
            done: vec!["\u{1b}[2Jcommit abc".into()],
            diff_stat: Some("a.rs  +1 -0\n1 file changed\n".into()),
            ..Handoff::default()
        };
        assert_eq!(
            handoff_lines(&handoff),
            [
                "taken over from codex",
                "goal:",
                "  - Fix the login",
                "",
                "    Now.",
                "done:",
                "  - [2Jcommit abc",
                "changes so far:",
                "  - a.rs  +1 -0",
                "    1 file changed",
            ]
        );
        assert_eq!(handoff_lines(&Handoff::default()), Vec::<String>::new());
    }
}
