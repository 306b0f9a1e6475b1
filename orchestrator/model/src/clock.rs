//! Time and ids are given to the code, never taken by it: a test decides both.

use cloud_code_task_schema::TaskId;
use jiff::Timestamp;

/// What time it is.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// New ids.
pub trait IdSource: Send + Sync {
    /// A fresh ULID as a task id. Later ids sort after earlier ones.
    fn task_id(&self) -> TaskId;
}
