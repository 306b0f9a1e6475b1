#![doc = include_str!("../README.md")]

mod age;
mod budget;
mod clock;
mod forge_settings;
mod ids;
mod intent;
mod merging;
mod moves;
mod operate_settings;
mod plan;
mod queue;
mod records;
mod settings;
mod size;
mod state;
mod stop;
mod thread;

pub use age::{Age, InvalidAge};
pub use budget::{Allowance, Balance, BudgetSettings, Level, Payer, ScopeKind, Spent, levels, nearest};
pub use clock::{Clock, IdSource};
pub use forge_settings::{
    Access, AccessSettings, DEFAULT_PREFIX, DEFAULT_READY_LABEL, GateSettings, GithubAppSettings,
    GithubSettings, IntakeMode, PublishPlan, PublishSettings, RequiredAccess, ServerSettings,
    TriggerSettings, Triggers,
};
pub use ids::{InstanceId, InvalidName, IssueKey, ProjectName, fnv1a, slug};
pub use intent::{Actor, Ask, Command, ConfigKey, Intent, InvalidRepository, Place, RepositoryName, Subject};
pub use merging::{Approver, MergeHold, MergeMethod, MergeRefused, MergeVerdict, MergeWord, Merging};
pub use moves::{Move, MoveDetail};
pub use operate_settings::{LogFormat, LogSettings, TelemetrySettings};
pub use plan::{ImportPolicy, Network, ProjectPlan, Retries, RuntimeKind};
pub use queue::{Pause, PauseScope, ProjectQueueSettings, QueueLimits, QueuePlace, QueueSettings};
pub use records::{Attempt, Brief, Issue, NewTask, Project, TaskRecord, reads_only};
pub use settings::{
    ContainerSettings, DEFAULT_BRANCH_PREFIX, DEFAULT_CLI, DockerSettings, GlobalSettings, HistorySettings,
    ImportSettings, LimitSettings, ProjectSettings, StoreSettings,
};
pub use size::ByteSize;
pub use state::{Gate, IllegalTransition, Next, Outcome, OutcomeStatus, TaskEvent, TaskState, TaskStatus};
pub use stop::StopReason;
pub use thread::{
    IntentRecord, Note, Published, Pull, PullState, Reported, Thread, ThreadFacts, ThreadWritten,
};
