//! From what a script wants done to the text that makes aider do it.

use std::iter;
use std::time::Duration;

use super::{Blocks, Format};
use crate::mapping::NoTool;
use crate::script::{Action, Answer, UsageFigures, WithoutTool};

/// A part of the text.
enum Piece {
    Text(String),
    /// All of a file. `before` is what it holds now, where that is known.
    File {
        path: String,
        before: Option<String>,
        after: String,
    },
    /// Some lines of a file.
    Part {
        path: String,
        old: String,
        new: String,
    },
}

/// One answer that says and does what all of a run do. aider brings no result back, so nothing could follow an answer
/// that only acts.
pub(crate) fn answer(first: Answer, then: Vec<Answer>, blocks: &Blocks) -> Result<Answer, NoTool> {
    let mut turn = first.turn;
    let mut thoughts = Vec::new();
    let mut pieces = Vec::new();
    let mut usage = UsageFigures::NONE;
    let mut delay = Duration::ZERO;
    for answer in iter::once(first).chain(then) {
        turn = answer.turn;
        thoughts.extend(answer.think);
        pieces.extend(answer.say.map(|say| Piece::Text(say.trim_end().to_owned())));
        if let Some(action) = &answer.action {
            act(action, blocks, &mut pieces)?;
        }
        usage = usage.plus(answer.usage);
        delay = delay.saturating_add(answer.delay.unwrap_or_default());
    }
    let texts: Vec<String> = pieces.iter().map(|piece| shown(piece, blocks)).collect();
    Ok(Answer {
        turn,
        think: Some(thoughts.join("\n")).filter(|think| !think.is_empty()),
        say: Some(texts.join("\n\n")),
        action: None,
        usage,
        delay: Some(delay).filter(|delay| !delay.is_zero()),
        recall: None,
        without_tool: WithoutTool::Refused,
    })
}

fn act(action: &Action, blocks: &Blocks, pieces: &mut Vec<Piece>) -> Result<(), NoTool> {
    let text = |text: String| Piece::Text(text);
    let piece = match (action, blocks.format) {
        (Action::Tool { name, .. }, _) => {
            return Err(NoTool::new(&format!("call the tool {name}"), "it is aider's, which offers none"));
        }
        (Action::Run { command }, _) => {
            let lines: Vec<String> = command.lines().map(|line| format!("    {line}")).collect();
            text(format!("I cannot run commands here, so I leave this one out:\n\n{}", lines.join("\n")))
        }
        // A file that a text names is added to what it shows.
        (Action::Read { path }, _) => text(format!("I look at {path}.")),
        (Action::Write { path, .. } | Action::Edit { path, .. }, Format::Ask) => {
            text(format!("I was asked a question, so I leave {path} as it is."))
        }
        (Action::Write { path, content }, Format::SearchReplace | Format::Whole) => Piece::File {
            path: path.clone(),
            before: blocks.files.get(path).cloned(),
            after: content.clone(),
        },
        (Action::Edit { path, old, new }, format) => {
            let (old, new) = (old.trim_end_matches('\n'), new.trim_end_matches('\n'));
            let written = pieces.iter_mut().find_map(|piece| match piece {
                Piece::File { path: written, after, .. } if written == path => Some(after),
                _ => None,
            });
            match (written, blocks.files.get(path), format) {
                (Some(after), _, _) if after.contains(old) => {
                    *after = after.replacen(old, new, 1);
                    return Ok(());
                }
                (None, Some(content), Format::Whole) if content.contains(old) => Piece::File {
                    path: path.clone(),
                    before: Some(content.clone()),
                    after: content.replacen(old, new, 1),
                },
                (None, None, Format::Whole) => text(format!("I need to see this file first:\n\n{path}")),
                (None, _, Format::SearchReplace) => {
                    Piece::Part { path: path.clone(), old: old.to_owned(), new: new.to_owned() }
                }
                _ => text(format!("I looked in {path} for a text that is not there:\n\n{old}")),
            }
        }
    };
    pieces.push(piece);
    Ok(())
}

fn shown(piece: &Piece, Blocks { format, fence: (open, close), .. }: &Blocks) -> String {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::File { path, before: _, after } if *format == Format::Whole => {
            format!("{path}\n{open}\n{}{close}", lines(after))
        }
        // What aider finds nothing to search for in, it appends to; a file that is there is searched for whole.
        Piece::File { path, before, after } => {
            search_replace(path, (open, close), before.as_deref().unwrap_or_default(), after)
        }
        Piece::Part { path, old, new } => search_replace(path, (open, close), old, new),
    }
}

fn search_replace(path: &str, (open, close): (&str, &str), old: &str, new: &str) -> String {
    let (old, new) = (lines(old), lines(new));
    format!("{path}\n{open}\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n{close}")
}

/// Blocks hold whole lines: a last one without a newline gets it.
fn lines(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}
