//! At every moment between two effects, the worst that can happen there; the conversation ends as if it had not.

use cloud_code_fake_github::Fault as AtForge;
use cloud_code_fault_points::Point;
use cloud_code_store::ForgeStore as _;

use crate::crashes::{asks, has_ended, in_parallel};
use crate::stage::{SHOP, Stage};

/// What goes wrong while `serve` is held at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worst {
    /// `serve` is killed, and started again.
    ServeKilled,
    /// The next thing that is written to the forge takes effect, and its answer is lost.
    AnswerLost,
}

impl Worst {
    const ALL: [Self; 2] = [Self::ServeKilled, Self::AnswerLost];

    const fn name(self) -> &'static str {
        match self {
            Self::ServeKilled => "kill -9 of serve",
            Self::AnswerLost => "the next answer of the forge is lost",
        }
    }
}

/// Whether it came to pass: after the last moments nothing is written whose answer could be lost.
fn one(point: Point, worst: Worst) -> bool {
    let mut stage = Stage::set(Default::default());
    // An answer to a note that is written once, for the moment after it.
    stage.arms(point);
    stage.serves();
    let (issue, comment) = asks(&stage, "Counting is broken.");
    stage.is_held();
    happens(&mut stage, worst);
    stage.wait_for("the end", || has_ended(&stage, issue).then_some(()));
    stage.is_done_once(issue, comment);
    stage.holds();
    worst == Worst::ServeKilled || stage.github.faults_waiting() < 2
}

/// A comment that is written once: a conversation that ends in a pull request has none. Nothing is written after it whose
/// answer could be lost.
#[test]
fn an_answer_is_written_once_though_serve_is_killed_before_it_is_noted() {
    let mut stage = Stage::set(Default::default());
    stage.arms(Point::NoteWritten);
    stage.serves();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code help");
    stage.is_held();
    happens(&mut stage, Worst::ServeKilled);
    stage.wait_for("the answer to be noted", || {
        let waiting = stage.stored(|store| async move { store.waiting_notes().await.unwrap().len() });
        (waiting == 0).then_some(())
    });
    assert_eq!(stage.answers(issue).len(), 1);
    stage.holds();
}

/// Does it, while `serve` is held.
fn happens(stage: &mut Stage, worst: Worst) {
    match worst {
        Worst::ServeKilled => {
            stage.is_killed();
            stage.serves();
        }
        Worst::AnswerLost => {
            for method in ["POST", "PATCH"] {
                stage.github.fault(method, "/repos/**", AtForge::EffectThenCut);
            }
            stage.goes_on();
        }
    }
}

#[test]
fn whatever_happens_between_two_effects_ends_once() {
    // That one has a story of its own, above.
    let points: Vec<Point> =
        Point::ALL.iter().copied().filter(|point| *point != Point::NoteWritten).collect();
    let jobs: Vec<(Point, Worst)> =
        points.iter().flat_map(|point| Worst::ALL.map(|worst| (*point, worst))).collect();
    let came_to_pass = in_parallel(jobs.len(), |job| {
        let (point, worst) = jobs[job];
        let came = one(point, worst);
        println!(
            "| {point:26} | {:40} | {} |",
            worst.name(),
            if came { "ended once" } else { "nothing to lose" }
        );
        came
    });
    let missed = came_to_pass.iter().filter(|came| !**came).count();
    assert!(missed <= 3, "{missed} faults met nothing");
}
