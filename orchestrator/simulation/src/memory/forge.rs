//! Requests, threads and notes in memory.

use async_trait::async_trait;
use cloud_code_model::{
    Intent, IntentRecord, IssueKey, Note, ProjectName, Published, PullState, TaskEvent, TaskRecord, Thread,
    ThreadFacts, ThreadWritten,
};
use cloud_code_store::{Change, ForgeStore, StoreError};
use jiff::Timestamp;

use super::{MemoryStore, NoteRow, Tables};

impl Tables {
    fn intent_mut(&mut self, project: &ProjectName, key: &str) -> Option<&mut IntentRecord> {
        self.intents.iter_mut().find(|record| record.project == *project && record.intent.key == key)
    }

    fn settle(&mut self, project: &ProjectName, key: &str, outcome: &str) {
        if let Some(record) = self.intent_mut(project, key) {
            record.outcome.get_or_insert_with(|| outcome.to_owned());
        }
    }

    fn note_mut(&mut self, project: &ProjectName, key: &str) -> Option<&mut NoteRow> {
        self.notes.iter_mut().find(|row| row.note.project == *project && row.note.key == key)
    }

    fn waiting(&self, is_waiting: impl Fn(&IntentRecord) -> bool) -> Vec<IntentRecord> {
        let mut found: Vec<IntentRecord> =
            self.intents.iter().filter(|record| is_waiting(record)).cloned().collect();
        found.sort_by_key(|record| record.received_at);
        found
    }
}

fn place(project: &ProjectName, number: u64) -> (String, u64) {
    (project.to_string(), number)
}

#[async_trait]
impl ForgeStore for MemoryStore {
    async fn put_intent(
        &self,
        project: &ProjectName,
        intent: &Intent,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write("put_intent", |tables| {
            if tables.intent_mut(project, &intent.key).is_some() {
                return Ok(false);
            }
            tables.intents.push(IntentRecord {
                project: project.clone(),
                intent: intent.clone(),
                received_at: at,
                is_reacted: false,
                outcome: None,
            });
            Ok(true)
        })
        .await
    }

    async fn intent(&self, project: &ProjectName, key: &str) -> Result<Option<IntentRecord>, StoreError> {
        let is_it = |record: &&IntentRecord| record.project == *project && record.intent.key == key;
        self.read("intent", |tables| tables.intents.iter().find(is_it).cloned()).await
    }

    async fn waiting_intents(&self) -> Result<Vec<IntentRecord>, StoreError> {
        self.read("waiting_intents", |tables| tables.waiting(|record| record.outcome.is_none())).await
    }

    async fn settle_intent(
        &self,
        project: &ProjectName,
        key: &str,
        outcome: &str,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("settle_intent", |tables| {
            tables.settle(project, key, outcome);
            Ok(())
        })
        .await
    }

    async fn decide(
        &self,
        record: &TaskRecord,
        event: TaskEvent,
        key: &str,
        outcome: &str,
        at: Timestamp,
    ) -> Result<TaskRecord, StoreError> {
        self.write("decide", |tables| {
            let moved = tables.move_task(record, event, at)?;
            tables.settle(&record.task.project, key, outcome);
            Ok(moved)
        })
        .await
    }

    async fn unreacted_intents(&self) -> Result<Vec<IntentRecord>, StoreError> {
        self.read("unreacted_intents", |tables| tables.waiting(|record| !record.is_reacted)).await
    }

    async fn mark_reacted(&self, project: &ProjectName, key: &str, _: Timestamp) -> Result<(), StoreError> {
        self.write("mark_reacted", |tables| {
            if let Some(record) = tables.intent_mut(project, key) {
                record.is_reacted = true;
            }
            Ok(())
        })
        .await
    }

    async fn task_of_intent(
        &self,
        project: &ProjectName,
        key: &str,
    ) -> Result<Option<TaskRecord>, StoreError> {
        let is_it = |record: &&TaskRecord| {
            record.task.project == *project && record.task.intent.as_deref() == Some(key)
        };
        self.read("task_of_intent", |tables| tables.tasks.iter().find(is_it).cloned()).await
    }

    async fn thread(&self, project: &ProjectName, number: u64) -> Result<Option<Thread>, StoreError> {
        self.read("thread", |tables| tables.threads.get(&place(project, number)).cloned()).await
    }

    async fn thread_of_issue(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<Option<Thread>, StoreError> {
        let is_it =
            |thread: &&Thread| thread.project == *project && thread.facts.issue.as_ref() == Some(issue);
        self.read("thread_of_issue", |tables| tables.threads.values().find(is_it).cloned()).await
    }

    async fn thread_of_pull(&self, project: &ProjectName, pull: u64) -> Result<Option<Thread>, StoreError> {
        let is_it = |thread: &&Thread| {
            thread.project == *project
                && thread.published.pull.as_ref().is_some_and(|known| known.number == pull)
        };
        self.read("thread_of_pull", |tables| tables.threads.values().find(is_it).cloned()).await
    }

    async fn unmerged_threads(&self, project: &ProjectName) -> Result<Vec<Thread>, StoreError> {
        let is_one = |thread: &&Thread| {
            let pull = thread.published.pull.as_ref();
            thread.project == *project && pull.is_some_and(|pull| pull.state != PullState::Merged)
        };
        self.read("unmerged_threads", |tables| tables.threads.values().filter(is_one).cloned().collect())
            .await
    }

    async fn threads_after(
        &self,
        after: Option<(&ProjectName, u64)>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError> {
        let is_behind = |thread: &&Thread| {
            after.is_none_or(|(project, number)| (&thread.project, thread.number) > (project, number))
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = |tables: &Tables| tables.threads.values().filter(is_behind).take(limit).cloned().collect();
        self.read("threads_after", page).await
    }

    async fn make_thread(
        &self,
        project: &ProjectName,
        number: u64,
        facts: &ThreadFacts,
    ) -> Result<bool, StoreError> {
        self.write("make_thread", |tables| {
            let at = place(project, number);
            if tables.threads.contains_key(&at) {
                return Ok(false);
            }
            let (published, written) = (Published::default(), ThreadWritten::default());
            let facts = facts.clone();
            let thread = Thread { project: project.clone(), number, facts, published, written };
            tables.threads.insert(at, thread);
            Ok(true)
        })
        .await
    }

    async fn change_thread(
        &self,
        project: &ProjectName,
        number: u64,
        change: Change<'_, ThreadFacts>,
    ) -> Result<Option<Thread>, StoreError> {
        self.write("change_thread", |tables| {
            let thread = tables.threads.get_mut(&place(project, number));
            Ok(thread.map(|thread| {
                change(&mut thread.facts);
                thread.clone()
            }))
        })
        .await
    }

    async fn change_published(
        &self,
        project: &ProjectName,
        number: u64,
        change: Change<'_, Published>,
    ) -> Result<Option<Thread>, StoreError> {
        self.write("change_published", |tables| {
            let thread = tables.threads.get_mut(&place(project, number));
            Ok(thread.map(|thread| {
                change(&mut thread.published);
                thread.clone()
            }))
        })
        .await
    }

    async fn put_written(
        &self,
        project: &ProjectName,
        number: u64,
        written: &ThreadWritten,
    ) -> Result<(), StoreError> {
        self.write("put_written", |tables| {
            if let Some(thread) = tables.threads.get_mut(&place(project, number)) {
                thread.written = written.clone();
            }
            Ok(())
        })
        .await
    }

    async fn put_note(&self, note: &Note) -> Result<(), StoreError> {
        self.write("put_note", |tables| {
            if tables.note_mut(&note.project, &note.key).is_none() {
                tables.notes.push(NoteRow { note: note.clone(), remote: None, gave_up: None });
            }
            Ok(())
        })
        .await
    }

    async fn waiting_notes(&self) -> Result<Vec<Note>, StoreError> {
        self.read("waiting_notes", |tables| {
            let is_waiting = |row: &&NoteRow| row.remote.is_none() && row.gave_up.is_none();
            let mut found: Vec<Note> =
                tables.notes.iter().filter(is_waiting).map(|row| row.note.clone()).collect();
            found.sort_by_key(|note| note.created_at);
            found
        })
        .await
    }

    async fn note_written(&self, project: &ProjectName, key: &str, remote: u64) -> Result<(), StoreError> {
        self.write("note_written", |tables| {
            if let Some(row) = tables.note_mut(project, key) {
                row.remote = Some(remote);
            }
            Ok(())
        })
        .await
    }

    async fn written_note(&self, project: &ProjectName, key: &str) -> Result<Option<u64>, StoreError> {
        self.read("written_note", |tables| {
            let is_it = |row: &&NoteRow| row.note.project == *project && row.note.key == key;
            tables.notes.iter().find(is_it).and_then(|row| row.remote)
        })
        .await
    }

    async fn note_given_up(&self, project: &ProjectName, key: &str, why: &str) -> Result<(), StoreError> {
        self.write("note_given_up", |tables| {
            if let Some(row) = tables.note_mut(project, key).filter(|row| row.remote.is_none()) {
                row.gave_up = Some(why.to_owned());
            }
            Ok(())
        })
        .await
    }
}
