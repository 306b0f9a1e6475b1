//! A store in memory: what the traits of `cloud-code-store` promise, kept in tables of this process. It passes the same
//! stories as the databases do, but for those of their limits. It outlives the engine that uses it, as a database does.
//!
//! Each call goes through a [`Door`], which may be slow, refuse, take the answer away after the effect, or never open.

mod deliveries;
mod forge;
mod queue;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cloud_code_model::{Attempt, IntentRecord, Issue, Move, Note, Pause, Project, Spent, TaskRecord, Thread};
use cloud_code_store::{Delivery, StoreError};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only looks.
    Read,
    /// It changes something.
    Write,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is given.
    Given,
    /// The effect stands, and the caller is told of an error.
    Lost,
    /// The effect stands, and the caller never hears of it.
    Never,
}

/// What stands between a caller and the tables.
#[async_trait]
pub trait Door: Send + Sync {
    /// Before the effect. An error is the answer, and nothing was done.
    async fn before(&self, call: &'static str, access: Access) -> Result<Answer, StoreError>;
    /// After the effect, which stands.
    async fn after(&self, call: &'static str, answer: Answer) -> Result<(), StoreError>;
}

/// A door that is always open.
#[derive(Debug, Clone, Copy)]
pub struct Open;

#[async_trait]
impl Door for Open {
    async fn before(&self, _: &'static str, _: Access) -> Result<Answer, StoreError> {
        Ok(Answer::Given)
    }
    async fn after(&self, _: &'static str, _: Answer) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The tables, in the order in which rows came.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) issues: Vec<Issue>,
    pub(crate) tasks: Vec<TaskRecord>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) intents: Vec<IntentRecord>,
    pub(crate) threads: BTreeMap<(String, u64), Thread>,
    pub(crate) notes: Vec<NoteRow>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) cursors: BTreeMap<String, String>,
    pub(crate) last_seq: u64,
    pub(crate) pauses: BTreeMap<String, Pause>,
    pub(crate) spending: BTreeMap<String, Spent>,
    pub(crate) grants: BTreeSet<(String, String)>,
    pub(crate) moves: Vec<Move>,
}

/// A note with what became of it.
#[derive(Debug, Clone)]
pub(crate) struct NoteRow {
    pub(crate) note: Note,
    pub(crate) remote: Option<u64>,
    pub(crate) gave_up: Option<String>,
}

/// The store. Clones are handles on the same tables.
#[derive(Clone)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    door: Arc<dyn Door>,
}

impl MemoryStore {
    /// Empty tables behind a door.
    pub fn new(door: Arc<dyn Door>) -> Self {
        Self { tables: Arc::default(), door }
    }

    /// The tables themselves, past the door.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read<T>(&self, call: &'static str, look: impl FnOnce(&Tables) -> T) -> Result<T, StoreError> {
        let answer = self.door.before(call, Access::Read).await?;
        let found = look(&self.tables());
        self.door.after(call, answer).await?;
        Ok(found)
    }

    async fn write<T>(
        &self,
        call: &'static str,
        change: impl FnOnce(&mut Tables) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let answer = self.door.before(call, Access::Write).await?;
        let changed = change(&mut self.tables())?;
        self.door.after(call, answer).await?;
        Ok(changed)
    }
}
