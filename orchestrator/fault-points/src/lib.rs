#![doc = include_str!("../README.md")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The variable that arms one.
pub const VARIABLE: &str = "CLOUD_CODE_FAULT_POINT";
/// What is made in the folder when the program is held.
pub const HELD: &str = "held";
/// What lets it go on.
pub const GO: &str = "go";

/// How often a held program looks whether it may go on.
const LOOK: Duration = Duration::from_millis(10);

macro_rules! points {
    ($($variant:ident = $name:literal, $about:literal;)+) => {
        /// A moment between two effects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $(#[doc = $about] $variant,)+
        }

        impl Point {
            /// Every one, in the order of a task's life.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name, as [`VARIABLE`] takes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What is so at that moment.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }
        }
    };
}

points! {
    DeliveryRead = "intake.delivery_read", "a delivery was read and judged; its request is not stored";
    IntentStored = "intake.intent_stored", "its request is stored; the delivery is not settled";
    ReactionWritten = "talk.reaction_written", "the reaction stands; that is not noted";
    ThreadNoted = "request.thread_noted", "the thread is noted; nothing is made for the request";
    MirrorFetched = "request.mirror_fetched", "the repository is fetched; issue and task are not stored";
    TaskMade = "request.task_made", "issue and task are stored, and the thread names them; the request is not settled";
    TaskTaken = "task.taken", "the task's turn has come; nothing exists outside the store";
    WorkspacePrepared = "task.workspace_prepared", "worktree and folders are made";
    ManifestWritten = "task.manifest_written", "the CLI's manifest is written; tasking.yaml is not";
    TaskingWritten = "task.tasking_written", "tasking.yaml is written";
    AttemptBegun = "container.attempt_begun", "the attempt is stored; its container is not made";
    ContainerCreated = "container.created", "the container is made; the attempt does not name it";
    ContainerNoted = "container.noted", "the attempt names it; it is not started";
    ContainerStarted = "container.started", "it was started; the task does not say so";
    TaskStarted = "task.started", "the task says that it runs";
    ReportKept = "task.report_kept", "the agent's last report is stored; the task does not say that it ended";
    TaskEnded = "task.ended", "the task says how the agent ended it; nothing is imported";
    AttemptFinished = "import.attempt_finished", "the attempt is closed; the commits are not taken";
    WorkTaken = "import.work_taken", "the commits are on the mirror's branch; the task does not say so";
    HistoryWritten = "history.written", "the attempt's files are written beside their place in the history";
    HistoryPlaced = "history.placed", "they are in their place; the control directory is not tidied, nothing is pruned";
    TaskImported = "task.imported", "the task says so; nothing is published";
    TaskWoken = "task.woken", "a failed attempt is to be followed by another; nothing exists for that";
    BaseCaughtUp = "publish.base_caught_up", "the branch was held against the newest base; nothing is pushed";
    Pushed = "publish.pushed", "the branch is at the forge; that is not noted";
    PullWritten = "publish.pull_written", "the pull request stands; that is not noted";
    PullNoted = "publish.pull_noted", "the thread names it; the task does not say that it is done";
    TaskPublished = "task.published", "the task says that it is done";
    ContainerRemoved = "container.removed", "the container of the ended task is removed";
    MergeSaid = "merge.said", "somebody's word on merging is stored; the request is not settled";
    MergeDecided = "merge.decided", "nothing is in the way of a merge; the forge is not asked for it";
    PullMerged = "merge.merged", "the pull request is merged; that is not noted";
    MergeNoted = "merge.noted", "the thread says so; the workspace still stands";
    NoteWritten = "talk.note_written", "a comment that is written once stands; that is not noted";
    StatusWritten = "talk.status_written", "the status comment stands; that is not noted";
    LabelWritten = "talk.label_written", "the label stands; that is not noted";
    CheckWritten = "talk.check_written", "the check stands; that is not noted";
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Debug)]
struct Armed {
    point: Point,
    folder: PathBuf,
    /// Passes that are still to come; it holds at the last.
    left: AtomicUsize,
}

impl Armed {
    /// Reads `NAME[@N]:FOLDER`. What cannot be read arms nothing, and is told.
    fn parse(text: &str) -> Option<Self> {
        let (point, folder) = text.split_once(':')?;
        let (name, nth) = point.split_once('@').unwrap_or((point, "1"));
        let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
        let nth = nth.parse().ok().filter(|nth| *nth > 0)?;
        Some(Self { point, folder: PathBuf::from(folder), left: AtomicUsize::new(nth) })
    }

    /// Whether this pass is the one to hold at.
    fn is_due(&self, point: Point) -> bool {
        let count = |left: usize| left.checked_sub(1);
        point == self.point && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) == Ok(1)
    }

    async fn hold(&self) {
        tracing::warn!(fault.point = %self.point, "held on request");
        if let Err(error) = std::fs::write(self.folder.join(HELD), "") {
            tracing::error!(error = %error, "{VARIABLE} names no folder that can be written to");
            return;
        }
        while !is_there(&self.folder.join(GO)) {
            tokio::time::sleep(LOOK).await;
        }
        tracing::warn!(fault.point = %self.point, "goes on");
    }
}

fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(false)
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let read = || {
        let text = std::env::var(VARIABLE).ok()?;
        let armed = Armed::parse(&text);
        if armed.is_none() {
            tracing::error!("{VARIABLE} is not NAME:FOLDER with the name of a fault point: nothing is armed");
        }
        armed
    };
    ARMED.get_or_init(read).as_ref()
}

/// What becomes of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It goes on.
    GoOn,
    /// It never does: whoever decided so takes the whole program's state away from under it.
    Never,
}

type Watcher = Rc<dyn Fn(Point) -> Pass>;

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// A watch over this thread's passes. It ends when this is dropped.
#[derive(Debug)]
pub struct Watched {
    /// It is this thread's.
    _thread: std::marker::PhantomData<*const ()>,
}

/// Has every pass of this thread decided. For a test that plays many lives of the program on one thread.
#[must_use = "it ends when this is dropped"]
pub fn watch(watcher: impl Fn(Point) -> Pass + 'static) -> Watched {
    WATCHER.with_borrow_mut(|now| *now = Some(Rc::new(watcher)));
    Watched { _thread: std::marker::PhantomData }
}

impl Drop for Watched {
    fn drop(&mut self) {
        WATCHER.with_borrow_mut(|now| *now = None);
    }
}

fn decided(point: Point) -> Pass {
    let watcher = WATCHER.with_borrow(Clone::clone);
    watcher.map_or(Pass::GoOn, |watcher| watcher(point))
}

/// The program is at this moment. Returns at once, unless a test wants it to hold here.
pub async fn reach(point: Point) {
    if decided(point) == Pass::Never {
        std::future::pending::<()>().await;
    }
    if let Some(armed) = armed()
        && armed.is_due(point)
    {
        armed.hold().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_their_room() {
        let names: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        let rooms =
            ["intake", "request", "task", "container", "import", "history", "publish", "merge", "talk"];
        for name in names {
            assert!(rooms.contains(&name.split_once('.').unwrap().0), "{name}");
        }
    }

    #[test]
    fn what_names_no_point_arms_nothing() {
        for text in ["", "publish.pushed", "publish.pushed@0:/x", "publish.pushed@x:/x", "elsewhere:/x"] {
            assert!(Armed::parse(text).is_none(), "{text}");
        }
    }

    #[tokio::test]
    async fn it_holds_at_the_pass_it_was_told_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let armed = Armed::parse(&format!("publish.pushed@2:{}", folder.path().display())).unwrap();
        let due =
            [Point::PullNoted, Point::Pushed, Point::Pushed, Point::Pushed].map(|point| armed.is_due(point));
        assert_eq!(due, [false, false, true, false]);

        let held = folder.path().join(HELD);
        let watch = async {
            while !is_there(&held) {
                tokio::time::sleep(LOOK).await;
            }
            std::fs::write(folder.path().join(GO), "").unwrap();
        };
        let ended =
            tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(armed.hold(), watch) });
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_watched_thread_passes_where_it_is_let() {
        let watched = watch(|point| if point == Point::Pushed { Pass::Never } else { Pass::GoOn });
        reach(Point::PullNoted).await;
        let stopped = tokio::time::timeout(Duration::from_millis(20), reach(Point::Pushed)).await;
        assert!(stopped.is_err());
        drop(watched);
        reach(Point::Pushed).await;
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_holds_nobody_up() {
        let armed = Armed::parse("publish.pushed:/nonexistent/folder").unwrap();
        tokio::time::timeout(Duration::from_secs(30), armed.hold()).await.unwrap();
    }
}
