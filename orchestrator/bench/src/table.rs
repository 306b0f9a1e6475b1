//! The result as a person reads it. Words carry the meaning; there is no colour to lose in a pipe.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use crate::result::{Promise, Row, Summary, Unit, Verdict};
use crate::stats::Statistics;

/// Columns of the table where no terminal says another width. Narrower breaks words in the middle.
const WIDTH: u16 = 132;
/// Shown where there is nothing to show.
const NOTHING: &str = "–";

/// The whole answer, as wide as the terminal.
pub(crate) fn render(summary: &Summary) -> String {
    let mut table = Table::new();
    if !table.is_tty() {
        table.set_width(WIDTH);
    }
    fill(table, summary)
}

fn fill(mut table: Table, summary: &Summary) -> String {
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["figure", "ours", "alternative", "ratio", "promise", "held?"]);
    for row in &summary.rows {
        table.add_row(cells(row));
    }
    for missed in &summary.not_measured {
        table.add_row([missed.figure.as_str(), "not measured", NOTHING, NOTHING, NOTHING, "UNKNOWN"]);
    }
    let machine = &summary.machine;
    let mut text = format!(
        "{table}\nEach cell: median (middle half of the runs; number of runs).\nMachine: {} cores, {}, {} MiB, Linux {}; \
         load {} before, {} after.\n",
        machine.cores,
        machine.processor,
        machine.memory_mib,
        machine.kernel,
        machine.load_before,
        summary.load_after,
    );
    for note in &summary.notes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {note}");
    }
    for missed in &summary.not_measured {
        let _ = writeln!(text, "not measured: {}: {}", missed.figure, missed.reason);
    }
    text.truncate(text.trim_end().len());
    text
}

fn cells(row: &Row) -> [String; 6] {
    let here = row
        .alternative
        .as_ref()
        .map(|alternative| format!("{}\n{}", alternative.name, statistics(row.unit, &alternative.measured)));
    let elsewhere = row.elsewhere.map(|others| format!("measured elsewhere, not in this run: {others}"));
    let alternative = match (here, elsewhere) {
        (None, None) => NOTHING.to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(here), Some(elsewhere)) => format!("{here}\n{elsewhere}"),
    };
    let held = match row.verdict {
        Verdict::Held => "held".to_owned(),
        Verdict::Broken if row.faults.is_empty() => "BROKEN".to_owned(),
        Verdict::Broken => format!("BROKEN: {}", row.faults.join(", ")),
        Verdict::NoPromise => NOTHING.to_owned(),
    };
    [
        row.what.clone(),
        statistics(row.unit, &row.ours),
        alternative,
        row.ratio.map_or_else(|| NOTHING.to_owned(), |ratio| format!("{ratio:.2}")),
        promise(row),
        held,
    ]
}

fn statistics(unit: Unit, of: &Statistics) -> String {
    let median = quantity(unit, of.median);
    if of.runs == 1 {
        return format!("{median} (1 run)");
    }
    let (low, high) = (quantity(unit, of.lower_quartile), quantity(unit, of.upper_quartile));
    format!("{median} ({low} to {high}; {})", of.runs)
}

fn promise(row: &Row) -> String {
    match row.promise {
        Promise::AtMost(limit) => format!("≤ {}", quantity(row.unit, limit)),
        Promise::AtLeast(limit) => format!("≥ {}", quantity(row.unit, limit)),
        Promise::Ratio { factor, plus } => {
            let limit = row.alternative.as_ref().map_or(0.0, |other| factor * other.measured.median + plus);
            let added = if plus > 0.0 { format!(" + {}", quantity(row.unit, plus)) } else { String::new() };
            format!("≤ {factor} ×{added}\n= {}", quantity(row.unit, limit))
        }
        Promise::Nothing => NOTHING.to_owned(),
    }
}

/// A number with the unit that leaves it readable.
pub(crate) fn quantity(unit: Unit, value: f64) -> String {
    const KIB: f64 = 1024.0;
    const MIB: f64 = 1024.0 * KIB;
    match unit {
        Unit::Bytes if value >= MIB => format!("{:.2} MiB", value / MIB),
        Unit::Bytes => format!("{:.0} KiB", value / KIB),
        Unit::Milliseconds if value >= 10_000.0 => format!("{:.1} s", value / 1000.0),
        Unit::Milliseconds if value >= 100.0 => format!("{value:.0} ms"),
        Unit::Milliseconds if value >= 10.0 => format!("{value:.1} ms"),
        Unit::Milliseconds => format!("{value:.2} ms"),
        Unit::PerSecond if value >= 100.0 => format!("{value:.0}/s"),
        Unit::PerSecond => format!("{value:.1}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::stats::Sample;

    #[test]
    fn the_table_shows_median_spread_runs_alternative_ratio_and_verdict() {
        let sample = |values: &[f64]| Sample::new(values.to_vec()).unwrap();
        let mut summary = Summary::new(Machine {
            cores: 2,
            processor: "a processor".to_owned(),
            memory_mib: 2048,
            kernel: "6.1".to_owned(),
            load_before: "0.1 0.2 0.3".to_owned(),
        });
        summary.rows.push(Row::compared(
            "dispatch",
            Unit::Milliseconds,
            &sample(&[900.0, 1000.0, 1100.0]),
            ("docker run", &sample(&[500.0, 500.0])),
            Promise::Ratio { factor: 1.15, plus: 150.0 },
        ));
        let limit = Promise::AtMost(3_145_728.0);
        summary.rows.push(Row::alone("size", Unit::Bytes, &sample(&[2_097_152.0]), limit, Vec::new()));
        let rate = sample(&[12.34]);
        let rate =
            Row::alone("rate", Unit::PerSecond, &rate, Promise::Nothing, Vec::new()).beside("another 9/s");
        summary.rows.push(rate);
        summary.miss("worktree", "git is not installed");
        summary.finish("1 1 1".to_owned());

        let mut table = Table::new();
        table.set_width(WIDTH);
        let lines: Vec<String> = fill(table, &summary)
            .lines()
            .map(|line| line.split(['│', '┆']).map(str::trim).collect::<Vec<_>>().join("|"))
            .collect();
        for expected in [
            "|dispatch|1000 ms (950 ms to 1050 ms; 3)|docker run|2.00|≤ 1.15 × + 150 ms|BROKEN|",
            "|||500 ms (500 ms to 500 ms; 2)||= 725 ms||",
            "|size|2.00 MiB (1 run)|–|–|≤ 3.00 MiB|held|",
            "|rate|12.3/s (1 run)|measured elsewhere, not in this run: another|–|–|–|",
            "|||9/s||||",
            "|worktree|not measured|–|–|–|UNKNOWN|",
            "not measured: worktree: git is not installed",
            "Machine: 2 cores, a processor, 2048 MiB, Linux 6.1; load 0.1 0.2 0.3 before, 1 1 1 after.",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}\nis not in\n{}", lines.join("\n"));
        }
        assert!(summary.is_broken() && summary.is_incomplete());
    }
}
