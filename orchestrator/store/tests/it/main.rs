//! The store's stories, each told of an SQLite file, of a PostgreSQL server and, where it is no database's own, of the
//! simulation's memory: what holds in a simulated life holds because the memory keeps the same promises.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod deliveries;
mod forge;
mod history;
mod home;
mod leases;
mod migrations;
mod queue;
mod rows;
mod story;
mod wakes;

use cloud_code_model::{
    Brief, DEFAULT_CLI, Issue, NewTask, Project, ProjectName, ProjectSettings, QueuePlace,
};
use cloud_code_store::Store;
use cloud_code_task_schema::Mode;
use jiff::Timestamp;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn project() -> Project {
    Project { name: "shop".parse().unwrap(), repo: "/srv/git/shop".into(), created_at: at(1) }
}

pub(crate) fn issue(key: &str) -> Issue {
    Issue {
        project: "shop".parse().unwrap(),
        key: key.parse().unwrap(),
        title: "Fix the login".into(),
        branch: format!("cloud-code/{key}").parse().unwrap(),
        base: "main".parse().unwrap(),
        base_sha: "4e18bcb7".into(),
        start_sha: None,
        settings_sha: None,
        created_at: at(2),
        cleaned_at: None,
    }
}

pub(crate) fn task(id: &str, key: &str) -> NewTask {
    NewTask {
        id: id.parse().unwrap(),
        project: "shop".parse().unwrap(),
        issue: key.parse().unwrap(),
        title: "Fix the login".into(),
        description: "Do it; `'\"$(x)` stays text".into(),
        brief: Brief::default(),
        mode: Mode::Edit,
        continues: None,
        handoff: None,
        plan: ProjectSettings::default().plan("/srv/git/shop".into(), DEFAULT_CLI.parse().unwrap()),
        requested_by: None,
        intent: None,
        queue: QueuePlace::default(),
        created_at: at(3),
    }
}

pub(crate) async fn with_project(store: &impl Store) -> ProjectName {
    store.put_project(&project()).await.unwrap();
    project().name
}
