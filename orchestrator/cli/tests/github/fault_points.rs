//! At every moment between two effects, the worst that can happen there; the conversation ends as if it had not.

use cloud_code_fake_github::Fault as AtForge;
use cloud_code_fault_points::Point;

use crate::crashes::{asks, has_ended, in_parallel};
use crate::stage::Stage;

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

fn one(point: Point, worst: Worst) {
    let mut stage = Stage::set(Default::default());
    // An answer to a note that is written once, for the moment after it.
    stage.arms(point);
    stage.serves();
    let (issue, comment) = asks(&stage, "Counting is broken.");
    stage.is_held();
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
    stage.wait_for("the end", || has_ended(&stage, issue).then_some(()));
    stage.is_done_once(issue, comment);
    stage.holds();
}

#[test]
fn whatever_happens_between_two_effects_ends_once() {
    // A conversation like this writes no comment of that kind; `waiting` and `questions` do.
    let points: Vec<Point> =
        Point::ALL.iter().copied().filter(|point| *point != Point::NoteWritten).collect();
    let jobs: Vec<(Point, Worst)> =
        points.iter().flat_map(|point| Worst::ALL.map(|worst| (*point, worst))).collect();
    in_parallel(jobs.len(), |job| {
        let (point, worst) = jobs[job];
        println!("{point}: {}", worst.name());
        one(point, worst);
    });
}
