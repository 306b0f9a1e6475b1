//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::figures::FigureName;

/// Measures the promised figures, each beside a named alternative in the same run.
#[derive(Debug, Parser)]
#[command(
    name = "cloud-code-bench",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 every promise held, 1 one is broken, 2 wrong usage or a figure could not be measured."
)]
pub(crate) struct Args {
    /// Only these figures [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<FigureName>,
    /// How often each side of a figure is run [default: as many as the figure needs].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) runs: Option<u32>,
    /// Look at the idle agent for 10 s instead of a minute, no heartbeat falls into it; measure load, readopt and start with
    /// fewer tasks than are promised.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// The image of the figures that need Docker.
    #[arg(long, value_name = "IMAGE", default_value = "cloud-code/base:latest")]
    pub(crate) image: String,
    /// Where cloud-code and cloud-code-agent are [default: this program's folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Args {
    /// The figures to measure, in the order of the table.
    pub(crate) fn figures(&self) -> impl Iterator<Item = FigureName> {
        FigureName::ALL.into_iter().filter(|name| self.only.is_empty() || self.only.contains(name))
    }

    /// How the result is printed.
    pub(crate) fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Table }
    }
}
