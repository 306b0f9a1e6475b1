//! The table: cells, footnotes, and its place in docs/CLIS.md.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::clis::Cli;
use crate::situations::{Seen, Situation};
use crate::support::top;

/// What stands before and after the table in the file.
const BEGIN: &str =
    "<!-- the matrix, written by `UPDATE_CLIS=1 cargo test -p cloud-code-cli --test matrix` -->\n";
const END: &str = "<!-- end of the matrix -->\n";

/// One CLI's cells.
pub(crate) struct Row {
    pub(crate) cli: &'static Cli,
    pub(crate) cells: Vec<Cell>,
}

impl Row {
    pub(crate) fn problems(&self) -> Vec<String> {
        let red = self.cells.iter().filter_map(|cell| Some((cell.situation, cell.problem.as_ref()?)));
        red.map(|(situation, problem)| format!("RED {} {situation}: {problem}", self.cli.name)).collect()
    }
}

/// One CLI in one situation.
pub(crate) struct Cell {
    situation: &'static str,
    /// The words of docs/CLIS.md for what it does not do.
    lack: Option<&'static str>,
    problem: Option<String>,
}

impl Cell {
    pub(crate) fn situation(&self) -> &'static str {
        self.situation
    }

    /// As it is written down, without a look.
    pub(crate) fn claimed(cli: &Cli, situation: &'static str) -> Self {
        let lack = cli.lacks.iter().find(|(of, ..)| *of == situation).map(|(.., words)| *words);
        Self { situation, lack, problem: None }
    }

    /// Holds what was seen against what is written down.
    pub(crate) fn judge(cli: &Cli, situation: &'static str, seen: Seen) -> Self {
        let known = cli.lacks.iter().find(|(of, ..)| *of == situation);
        let lack = known.map(|(.., words)| *words);
        let problem = match (&seen, known) {
            (Seen::Good, None) => None,
            (Seen::Lacks(what), Some((_, begin, _))) if is_told_by(what, begin) => None,
            (Seen::Lacks(what), Some((_, begin, _))) => {
                Some(format!("clis.rs says that {begin}, and it was seen that {what}"))
            }
            (Seen::Good, Some((.., words))) => Some(format!("it works, but clis.rs says: {words}")),
            (Seen::Lacks(what), None) => Some(format!("a lack that clis.rs does not name: {what}")),
            (Seen::Wrong(what), _) => Some(what.clone()),
        };
        Self { situation, lack, problem }
    }

    pub(crate) fn shown(&self) -> String {
        match (&self.problem, self.lack) {
            (Some(problem), _) => format!("RED {}", problem.lines().next().unwrap_or_default()),
            (None, Some(words)) => format!("lacks: {words}"),
            (None, None) => "ok".to_owned(),
        }
    }
}

/// A list that goes on (`no cost, no model` for `no cost`) is another lack.
fn is_told_by(what: &str, begin: &str) -> bool {
    what.strip_prefix(begin).is_some_and(|rest| !rest.starts_with(','))
}

/// The table with its notes, as Markdown.
pub(crate) fn text(situations: &[&Situation], rows: &[Row]) -> String {
    let mut notes: Vec<&str> = Vec::new();
    let mut text = String::from("| |");
    for row in rows {
        let _ = write!(text, " {} |", row.cli.name);
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(rows.len()));
    text.push('\n');
    for (place, situation) in situations.iter().enumerate() {
        let _ = write!(text, "| {} |", situation.name);
        for row in rows {
            let cell = &row.cells[place];
            let mark = match (&cell.problem, cell.lack) {
                (Some(_), _) => "RED".to_owned(),
                (None, None) => "✓".to_owned(),
                (None, Some(words)) => {
                    let number = notes.iter().position(|note| *note == words).unwrap_or_else(|| {
                        notes.push(words);
                        notes.len() - 1
                    });
                    format!("({})", number + 1)
                }
            };
            let _ = write!(text, " {mark} |");
        }
        text.push('\n');
    }
    for (number, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n{}. {note}", number + 1);
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    text
}

/// Whether docs/CLIS.md holds this table.
pub(crate) fn compare_with_docs(situations: &[&Situation], rows: &[Row]) -> Result<(), String> {
    let (_, found, _) = docs()?;
    if found == wanted(situations, rows) {
        return Ok(());
    }
    Err("docs/CLIS.md has another table: UPDATE_CLIS=1 cargo test -p cloud-code-cli --test matrix".to_owned())
}

/// Puts the table there.
pub(crate) fn write_docs(situations: &[&Situation], rows: &[Row]) -> Result<(), String> {
    let (head, _, tail) = docs()?;
    let text = format!("{head}{BEGIN}{}{END}{tail}", wanted(situations, rows));
    fs::write(file(), text).map_err(|error| error.to_string())
}

fn wanted(situations: &[&Situation], rows: &[Row]) -> String {
    format!("\n{}\n", text(situations, rows))
}

fn file() -> PathBuf {
    top().join("docs/CLIS.md")
}

/// What stands before, in and after the table's place.
fn docs() -> Result<(String, String, String), String> {
    let docs = fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()))?;
    let parts = docs.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?)));
    let (head, (found, tail)) =
        parts.ok_or_else(|| format!("{} has no place for the matrix", file().display()))?;
    Ok((head.to_owned(), found.to_owned(), tail.to_owned()))
}
