//! Every coding CLI, the real program in its own container, put through every situation, against the scripted model.
//!
//! Prints the table of docs/CLIS.md and fails when a cell is not what that file says: red, or a lack that is not written
//! down, or one that is gone. `UPDATE_CLIS=1` writes the file from `clis.rs`
//! without a run; the next run holds both to what it sees. Words after `--` choose CLIs and situations:
//! `cargo test -p cloud-code-cli --test matrix -- codex hang`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: it prints its table, and what cannot go on fails here"
)]

mod bench;
mod clis;
mod situations;
#[path = "../story/support.rs"]
#[expect(dead_code, reason = "shared with the stories, which use all of it")]
mod support;
mod table;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use bench::Bench;
use clis::{CLIS, Cli};
use situations::{SITUATIONS, Seen, Situation};
use table::{Cell, Row};

/// CLIs at a time. More than this, and the slow starts of some meet each other's clocks.
const SIDE_BY_SIDE: usize = 2;
/// CLIs at a time beside those, in situations in which they mostly sleep.
const ASLEEP_SIDE_BY_SIDE: usize = 4;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |names: &[&str], name: &str| {
        let named: Vec<&String> = words.iter().filter(|word| names.contains(&word.as_str())).collect();
        named.is_empty() || named.iter().any(|word| *word == name)
    };
    let clis: Vec<&'static Cli> =
        CLIS.iter().filter(|cli| is_wanted(&CLIS.map(|cli| cli.name), cli.name)).collect();
    let names: Vec<&str> = SITUATIONS.iter().map(|situation| situation.name).collect();
    let situations: Vec<&'static Situation> =
        SITUATIONS.iter().filter(|situation| is_wanted(&names, situation.name)).collect();
    let unknown = words
        .iter()
        .find(|word| !names.contains(&word.as_str()) && !CLIS.iter().any(|cli| cli.name == word.as_str()));
    if let Some(unknown) = unknown {
        println!(
            "`{unknown}` is neither a CLI ({}) nor a situation ({})",
            CLIS.map(|cli| cli.name).join(", "),
            names.join(", ")
        );
        return ExitCode::FAILURE;
    }
    if std::env::var_os("UPDATE_CLIS").is_some() {
        let claimed = |cli: &'static Cli| Row {
            cli,
            cells: SITUATIONS.iter().map(|situation| Cell::claimed(cli, situation.name)).collect(),
        };
        let rows: Vec<Row> = CLIS.iter().map(claimed).collect();
        let all: Vec<&Situation> = SITUATIONS.iter().collect();
        table::write_docs(&all, &rows).unwrap();
        println!("docs/CLIS.md is written; now run it without UPDATE_CLIS");
        return ExitCode::SUCCESS;
    }
    // A panic in a cell is told as its result.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let (asleep, busy): (Vec<_>, Vec<_>) = situations.iter().copied().partition(|one| one.is_waited_out());
    let (asleep, busy) = (Part::of(&clis, asleep), Part::of(&clis, busy));
    std::thread::scope(|scope| {
        (0..ASLEEP_SIDE_BY_SIDE).for_each(|_| drop(scope.spawn(|| asleep.work())));
        (0..SIDE_BY_SIDE).for_each(|_| drop(scope.spawn(|| busy.work())));
    });
    let mut seen: Vec<(usize, Cell)> = [asleep, busy].into_iter().flat_map(Part::seen).collect();
    let order = |cell: &Cell| situations.iter().position(|situation| situation.name == cell.situation());
    seen.sort_by_key(|(place, cell)| (*place, order(cell)));
    let mut rows: Vec<Row> = clis.iter().map(|cli| Row { cli, cells: Vec::new() }).collect();
    for (place, cell) in seen {
        rows[place].cells.push(cell);
    }
    println!("\n{}", table::text(&situations, &rows));
    let red: Vec<String> = rows.iter().flat_map(Row::problems).collect();
    for problem in &red {
        println!("{problem}\n");
    }
    let cells = rows.iter().map(|row| row.cells.len()).sum::<usize>();
    let seconds = started.elapsed().as_secs();
    let told = if words.is_empty() { table::compare_with_docs(&situations, &rows) } else { Ok(()) };
    if let Err(problem) = &told {
        println!("{problem}");
    }
    let good = red.is_empty() && told.is_ok();
    println!(
        "matrix: {}. {cells} cells, {} red; finished in {seconds} s",
        if good { "ok" } else { "FAILED" },
        red.len()
    );
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Some of the situations, to be tried with every CLI.
struct Part {
    situations: Vec<&'static Situation>,
    /// Those whose turn has not come, the last first, with their places in the table.
    left: Mutex<Vec<(usize, &'static Cli)>>,
    seen: Mutex<Vec<(usize, Cell)>>,
}

impl Part {
    fn of(clis: &[&'static Cli], situations: Vec<&'static Situation>) -> Self {
        let left = Mutex::new(clis.iter().copied().enumerate().rev().collect());
        Self { situations, left, seen: Mutex::default() }
    }

    /// Tries CLI after CLI until none is left.
    fn work(&self) {
        while !self.situations.is_empty() {
            let Some((place, cli)) = self.left.lock().unwrap().pop() else { return };
            let cells = try_out(cli, &self.situations);
            self.seen.lock().unwrap().extend(cells.into_iter().map(|cell| (place, cell)));
        }
    }

    fn seen(self) -> Vec<(usize, Cell)> {
        self.seen.into_inner().unwrap()
    }
}

/// One CLI, in one situation after the other: each has an issue of its own on the same model.
fn try_out(cli: &'static Cli, situations: &[&'static Situation]) -> Vec<Cell> {
    let bench = Bench::new(cli);
    let cells = situations.iter().map(|situation| {
        let started = Instant::now();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (situation.try_out)(&bench)));
        let seen = seen.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Seen::Wrong(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned())
        });
        let cell = Cell::judge(cli, situation.name, seen);
        println!(
            "{:12} {:12} {:5.1} s  {}",
            cli.name,
            situation.name,
            started.elapsed().as_secs_f64(),
            cell.shown()
        );
        cell
    });
    cells.collect()
}
