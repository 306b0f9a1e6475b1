#![doc = include_str!("../README.md")]

mod agent;
mod args;
mod binary;
mod clock;
mod docker;
mod figures;
mod gate;
mod helpers;
mod house;
mod interrupt;
mod machine;
mod measure;
mod proc;
mod repository;
mod result;
mod scene;
mod stats;
mod table;
mod wait;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Output};
use crate::result::Summary;
use crate::scene::Scene;

/// A promise is broken.
const EXIT_BROKEN: u8 = 1;
/// A figure could not be measured. clap ends with the same code on wrong usage.
const EXIT_NOT_MEASURED: u8 = 2;
/// Somebody ended the bench: 128 and the number of SIGINT, as shells say it.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // The helpers first: nothing else may add to their memory or their start.
    if let Some(code) = helpers::run() {
        return code;
    }
    match bench(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell when standard error is gone too.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(EXIT_NOT_MEASURED)
        }
    }
}

fn bench(args: &Args) -> anyhow::Result<ExitCode> {
    let machine = machine::facts();
    interrupt::listen()?;
    let scene = Scene::set_up(args)?;
    let mut summary = Summary::new(machine);
    for figure in args.figures() {
        scene.say(&format!("measuring {}", figure.name()));
        match figure.measure(&scene) {
            Ok(measured) => summary.add(measured),
            Err(_) if interrupt::is_wanted() => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
            Err(error) => summary.miss(figure.name(), &format!("{error:#}")),
        }
        scene.remove_containers();
    }
    summary.finish(machine::load());
    drop(scene);
    let mut out = io::stdout().lock();
    match args.output() {
        Output::Table => writeln!(out, "{}", table::render(&summary))?,
        Output::Json => writeln!(out, "{}", serde_json::to_string(&summary)?)?,
    }
    Ok(if summary.is_broken() {
        ExitCode::from(EXIT_BROKEN)
    } else if summary.is_incomplete() {
        ExitCode::from(EXIT_NOT_MEASURED)
    } else {
        ExitCode::SUCCESS
    })
}
