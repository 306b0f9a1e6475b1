//! The clocks of a task: the wall clock over everything, the start clock until the first output, the idle clock
//! between outputs. CLIs have none that work: a silent provider holds them for half an hour to for ever.

use std::time::Duration;

use cloud_code_task_schema::{Failure, FailureKind, HumanDuration, Limits};
use tokio::time::Instant;

/// Which clock ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The whole task took too long.
    Wall,
    /// Nothing was printed at all, and nothing was done.
    Start,
    /// Nothing was printed for too long, no file changed and the processor rested.
    Idle,
}

impl Clock {
    /// As the report says it.
    pub(crate) fn failure(self, limits: &Limits) -> Failure {
        let (kind, told, limit) = match self {
            Self::Wall => (FailureKind::Timeout, "the task was not done within", limits.timeout),
            Self::Start => {
                let told = "the CLI did not begin: it printed nothing and did not use the processor for";
                (FailureKind::StartTimeout, told, limits.start_timeout)
            }
            Self::Idle => {
                let told = "the CLI printed nothing, changed no file and did not use the processor for";
                (FailureKind::Idle, told, limits.idle_timeout)
            }
        };
        Failure::new(kind, format!("{told} {limit}"))
    }
}

/// The wall clock of a task's attempt, shared by all its processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    ends_at: Instant,
}

impl WallClock {
    /// Starts now.
    pub(crate) fn start(timeout: HumanDuration) -> Self {
        Self { ends_at: Instant::now() + timeout.as_duration() }
    }

    /// The same, or one that ends sooner.
    pub(crate) fn at_most(self, left: Duration) -> Self {
        Self { ends_at: self.ends_at.min(Instant::now() + left) }
    }

    /// What is left; zero when it ran out.
    pub(crate) fn left(self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }
}

/// The clocks of one process.
#[derive(Debug)]
pub(crate) struct Clocks {
    wall: WallClock,
    /// Whether something was printed.
    has_begun: bool,
    /// The start, the last output, or work without output.
    active_at: Instant,
    start_timeout: Duration,
    idle_timeout: Duration,
}

impl Clocks {
    /// Starts now.
    pub(crate) fn start(wall: WallClock, limits: &Limits) -> Self {
        Self {
            wall,
            has_begun: false,
            active_at: Instant::now(),
            start_timeout: limits.start_timeout.as_duration(),
            idle_timeout: limits.idle_timeout.as_duration(),
        }
    }

    /// Something was printed.
    pub(crate) fn note_output(&mut self) {
        self.has_begun = true;
        self.active_at = Instant::now();
    }

    /// It worked in silence. Returns whether that is news.
    pub(crate) fn note_work(&mut self, at: Instant) -> bool {
        let is_news = self.active_at < at;
        if is_news {
            self.active_at = at;
        }
        is_news
    }

    /// Which clock runs out next, and when.
    pub(crate) fn next(&self) -> (Instant, Clock) {
        let silence = match self.has_begun {
            false => (self.active_at + self.start_timeout, Clock::Start),
            true => (self.active_at + self.idle_timeout, Clock::Idle),
        };
        if self.wall.ends_at <= silence.0 { (self.wall.ends_at, Clock::Wall) } else { silence }
    }
}
