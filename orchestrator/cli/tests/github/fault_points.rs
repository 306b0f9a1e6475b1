//! At every moment between two effects, the worst that can happen there; the conversation ends as if it had not.
//!
//! Each cell of the table is a story of its own: `serve` is held at a moment, something terrible happens, `serve` goes on or
//! is started again, and then there is one branch, one pull request, one status comment, one reaction, nothing is left of it
//! on the machine, and every run of the coding CLI was needed and paid for once.

pub(crate) mod engine;
mod left;
pub(crate) mod scene;
mod table;
mod worst;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cloud_code_fault_points::Point;

use self::engine::Engine;
use self::scene::Scene;
use self::worst::{Struck, Worst, strikes};
use crate::crashes::in_parallel_on;

/// Threads that wait. Each cell spends most of its time in the pauses of the service.
const AT_ONCE: usize = 5;
/// Docker engines, each of which is stopped under one story at a time.
const ENGINES: usize = 3;

/// What the suite goes over: all of it, or what somebody who looks into one cell names.
fn wanted(point: Point) -> bool {
    std::env::var("FAULT_POINT").map_or(true, |names| names.split(',').any(|name| point.name() == name))
}

/// One cell, from the question to the last look.
fn one(point: Point, worst: Worst, engine: Option<&Engine>) -> Struck {
    let struck = strikes(point, worst);
    if matches!(struck, Struck::Nothing(_)) {
        return struck;
    }
    let mut scene = Scene::set(point, worst, struck, engine);
    scene.comes_to_the_moment();
    scene.is_struck();
    scene.ends_once();
    struck
}

fn all_cells(worsts: &[Worst]) {
    let jobs: Vec<(Point, Worst)> = worsts
        .iter()
        .flat_map(|worst| {
            Point::ALL.iter().copied().filter(|point| wanted(*point)).map(|point| (point, *worst))
        })
        .collect();
    let needs_engine = worsts.iter().any(|worst| worst.needs_engine());
    let engines: Mutex<Vec<Engine>> =
        Mutex::new(if needs_engine { (0..ENGINES).map(|_| Engine::new()).collect() } else { Vec::new() });
    let threads = if needs_engine { ENGINES } else { AT_ONCE };
    let told = in_parallel_on(threads, jobs.len(), |job| {
        let (point, worst) = jobs[job];
        let begun = Instant::now();
        let engine = if worst.needs_engine() { engines.lock().unwrap().pop() } else { None };
        let struck = catch_unwind(AssertUnwindSafe(|| one(point, worst, engine.as_ref())));
        engines.lock().unwrap().extend(engine);
        let took = begun.elapsed();
        println!("{:5} {point:26} {:26} {took:>8.1?}", if struck.is_ok() { "" } else { "RED" }, worst.name());
        (point, worst, struck.ok(), took)
    });
    let all: Duration = told.iter().map(|(.., took)| *took).sum();
    println!("{} cells, {:.0} s of stories", told.len(), all.as_secs_f64());
    let red: Vec<String> = told
        .iter()
        .filter(|(_, _, struck, _)| struck.is_none())
        .map(|(point, worst, ..)| format!("{point}: {}", worst.name()))
        .collect();
    assert_eq!(red, Vec::<String>::new(), "these cells ended otherwise; what they say stands above");
}

#[test]
fn serve_killed_at_any_moment_changes_nothing() {
    all_cells(&[Worst::ServeKilled]);
}

#[test]
fn an_agent_killed_at_any_moment_is_followed_by_one_that_goes_on() {
    all_cells(&[Worst::AgentKilled]);
}

#[test]
fn a_container_removed_at_any_moment_costs_what_it_was_doing_and_no_more() {
    all_cells(&[Worst::ContainerRemoved]);
}

#[test]
fn docker_restarted_at_any_moment_holds_things_up_and_no_more() {
    all_cells(&[Worst::DockerRestarted]);
}

#[test]
fn an_answer_lost_at_any_moment_repeats_no_effect() {
    all_cells(&[Worst::AnswerLost]);
}

#[test]
fn nothing_to_be_opened_at_any_moment_holds_things_up_for_as_long() {
    all_cells(&[Worst::NoDescriptors]);
}

#[test]
fn a_disk_full_at_any_moment_holds_things_up_until_there_is_room() {
    all_cells(&[Worst::DiskFull]);
}
