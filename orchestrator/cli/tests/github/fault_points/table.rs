//! The table of docs/TESTING.md, kept by a test. Every line of it is a story of this suite that ended so.

use std::fmt::Write as _;
use std::fs;

use cloud_code_fault_points::Point;

use super::worst::{Struck, Worst, strikes};
use crate::stage::top;

/// The variable that rewrites the table.
const UPDATE: &str = "UPDATE_FAULT_POINTS";
const BEGIN: &str = "<!-- fault points: begin -->\n";
const END: &str = "<!-- fault points: end -->";
/// The least that was promised.
const LEAST_POINTS: usize = 25;

#[test]
fn the_table_of_the_documents_says_what_is_tested() {
    let path = top().join("docs/TESTING.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("docs/TESTING.md has a place for the table");
    let (_, after) = rest.split_once(END).expect("the place ends");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    assert_eq!(
        page, wanted,
        "docs/TESTING.md is out of date: {UPDATE}=1 cargo test -p cloud-code-cli --test github fault_points::table"
    );
}

#[test]
fn every_fault_strikes_at_as_many_points_as_was_promised() {
    for worst in Worst::ALL {
        let real = Point::ALL.iter().filter(|point| !matches!(strikes(**point, worst), Struck::Nothing(_)));
        assert!(real.count() >= LEAST_POINTS, "{}", worst.name());
    }
}

fn table() -> String {
    let mut text = String::from("| moment: what is so |");
    for worst in Worst::ALL {
        write!(text, " {} |", worst.name()).unwrap();
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(Worst::ALL.len()));
    text.push('\n');
    for point in Point::ALL {
        write!(text, "| `{point}`: {} |", point.about()).unwrap();
        for worst in Worst::ALL {
            write!(text, " {} |", strikes(*point, worst).told()).unwrap();
        }
        text.push('\n');
    }
    text
}
