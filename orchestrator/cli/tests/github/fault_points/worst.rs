//! What goes wrong, and whom it strikes at which moment.

use cloud_code_fault_points::Point;

/// What goes wrong while `serve` is held at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worst {
    /// `serve` is killed, and started again.
    ServeKilled,
    /// An agent is killed, and what it started goes on without it.
    AgentKilled,
    /// Somebody removes a container, whether it runs or not.
    ContainerRemoved,
    /// Docker is stopped with all that runs in it, and started when `serve` has noticed.
    DockerRestarted,
    /// The next thing that is written to the forge takes effect, and its answer is lost.
    AnswerLost,
    /// The disk of the home folder is full, until `serve` has noticed or has got through.
    DiskFull,
    /// `serve` can open nothing more, no file, no connection and no program, for some seconds.
    NoDescriptors,
}

impl Worst {
    /// Every one, in the order of the table.
    pub(super) const ALL: [Self; 7] = [
        Self::ServeKilled,
        Self::AgentKilled,
        Self::ContainerRemoved,
        Self::DockerRestarted,
        Self::AnswerLost,
        Self::DiskFull,
        Self::NoDescriptors,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ServeKilled => "`kill -9` of `serve`",
            Self::AgentKilled => "`kill -9` of an agent",
            Self::ContainerRemoved => "container removed",
            Self::DockerRestarted => "Docker restarted",
            Self::AnswerLost => "next answer lost",
            Self::DiskFull => "disk full",
            Self::NoDescriptors => "no descriptors",
        }
    }

    pub(super) const fn needs_engine(self) -> bool {
        matches!(self, Self::ContainerRemoved | Self::DockerRestarted)
    }
}

/// Whom it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Struck {
    /// `serve`, or what it has in hand at that moment.
    Serve,
    /// The agent that works on the very task.
    Agent,
    /// The container of the very task, which does not run.
    Container,
    /// The agent of another issue, because the task has none at that moment.
    Neighbour,
    /// Nothing, and why.
    Nothing(&'static str),
}

impl Struck {
    /// As a cell says it.
    pub(super) const fn told(self) -> &'static str {
        match self {
            Self::Serve => "once",
            Self::Agent => "once, 2nd attempt",
            Self::Container => "once, idle container",
            Self::Neighbour => "once, another's agent",
            Self::Nothing(why) => why,
        }
    }
}

/// What there is of the task at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    /// No container.
    Nothing,
    /// A container that was not started yet, or that ended.
    Still,
    /// An agent that works; the loop that is held is another one, or waits for it.
    Agent,
}

pub(super) const fn there(point: Point) -> There {
    match point {
        Point::DeliveryRead | Point::ThreadNoted | Point::MirrorFetched => There::Nothing,
        Point::TaskTaken | Point::WorkspacePrepared | Point::ManifestWritten => There::Nothing,
        Point::TaskingWritten | Point::AttemptBegun => There::Nothing,
        // The last attempt's is removed, the next one's is not made.
        Point::TaskWoken => There::Nothing,
        // It ended, and a question for help has none.
        Point::ContainerRemoved | Point::CheckWritten | Point::NoteWritten => There::Nothing,
        // Nothing stands while a pull request waits.
        Point::MergeSaid | Point::MergeDecided | Point::PullMerged | Point::MergeNoted => There::Nothing,
        Point::ContainerCreated | Point::ContainerNoted => There::Still,
        Point::ReportKept | Point::TaskEnded | Point::AttemptFinished => There::Still,
        Point::HistoryWritten | Point::HistoryPlaced => There::Still,
        Point::WorkTaken | Point::TaskImported | Point::BaseCaughtUp => There::Still,
        Point::Pushed | Point::PullWritten | Point::PullNoted | Point::TaskPublished => There::Still,
        Point::IntentStored | Point::ReactionWritten | Point::TaskMade => There::Agent,
        Point::ContainerStarted | Point::TaskStarted => There::Agent,
        Point::StatusWritten | Point::LabelWritten => There::Agent,
    }
}

/// Whether it is a moment of a merge.
pub(super) const fn is_of_merge(point: Point) -> bool {
    matches!(point, Point::MergeSaid | Point::MergeDecided | Point::PullMerged | Point::MergeNoted)
}

/// Whom it strikes at that moment.
pub(super) const fn strikes(point: Point, worst: Worst) -> Struck {
    match (worst, there(point)) {
        (Worst::AnswerLost, _) if matches!(point, Point::CheckWritten | Point::NoteWritten) => {
            Struck::Nothing("nothing is written after it")
        }
        // A CLI that cannot write its files fails, and its agent with it.
        (Worst::DiskFull, There::Agent) => Struck::Agent,
        (Worst::ServeKilled | Worst::AnswerLost | Worst::DiskFull | Worst::NoDescriptors, _) => Struck::Serve,
        (Worst::AgentKilled | Worst::ContainerRemoved | Worst::DockerRestarted, There::Agent) => {
            Struck::Agent
        }
        (Worst::AgentKilled, There::Still | There::Nothing) => Struck::Neighbour,
        (Worst::ContainerRemoved | Worst::DockerRestarted, There::Still) => Struck::Container,
        (Worst::ContainerRemoved | Worst::DockerRestarted, There::Nothing) => Struck::Neighbour,
    }
}
