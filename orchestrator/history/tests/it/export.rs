//! What is packed is what is kept and what the rows say.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use cloud_code_history::{Content, Existing, Export, ExportError, Rows, Story};
use cloud_code_model::{
    Attempt, Brief, DEFAULT_CLI, Issue, Move, NewTask, Outcome, OutcomeStatus, ProjectSettings, TaskEvent,
    TaskRecord,
};
use cloud_code_task_schema::{CostSource, Mode, Usage};
use serde_json::Value;

use crate::house::{House, OneSecret, ROOMY, SECRET, about, at, key};

fn rows() -> Rows {
    let issue = Issue {
        project: "shop".parse().unwrap(),
        key: "login".parse().unwrap(),
        title: format!("Fix {SECRET}"),
        branch: "cloud-code/login".parse().unwrap(),
        base: "main".parse().unwrap(),
        base_sha: "4e18bcb7".into(),
        start_sha: None,
        settings_sha: None,
        created_at: at(0),
        cleaned_at: None,
    };
    let mut settings = ProjectSettings::default();
    settings.env.insert("REGION".to_owned(), "a value".to_owned());
    let task = NewTask {
        id: "T1".parse().unwrap(),
        project: issue.project.clone(),
        issue: issue.key.clone(),
        title: issue.title.clone(),
        description: String::new(),
        brief: Brief::default(),
        mode: Mode::Edit,
        continues: None,
        handoff: None,
        plan: settings.plan("/srv/git/shop".into(), DEFAULT_CLI.parse().unwrap()),
        requested_by: Some("alice".into()),
        intent: None,
        queue: Default::default(),
        created_at: at(0),
    };
    let mut record = TaskRecord::queued(task);
    let mut moves = Vec::new();
    let outcome = Outcome { status: OutcomeStatus::Completed, failure: None, head: None };
    let events = [
        (TaskEvent::Taken, 2),
        (TaskEvent::Started { container: "c".into(), at: at(3) }, 3),
        (TaskEvent::Ended { outcome }, 63),
    ];
    for (event, second) in events {
        let next = record.after(event.clone(), at(second)).unwrap();
        moves.push(Move::between(&record, &event, &next));
        record = next;
    }
    let attempt = |number, started, finished| Attempt {
        task: record.task.id.clone(),
        number,
        container: None,
        started_at: at(started),
        finished_at: Some(at(finished)),
        result: Some("completed".into()),
    };
    Rows {
        issue,
        attempts: vec![attempt(1, 3, 30), attempt(2, 31, 63)],
        tasks: vec![record],
        moves,
        published: None,
    }
}

fn told(house: &House) -> (Rows, Story) {
    for (number, cost) in [(1, 0.25), (2, 0.75)] {
        let key = key("login", "T1", number);
        house.has(&format!("logs/T1.{number}.log"), format!("log {number} of {SECRET}\n"));
        let usage = Usage {
            cost_usd: cloud_code_task_schema::Usd::new(cost).ok(),
            cost_source: CostSource::Reported,
            ..Usage::default()
        };
        let about = cloud_code_history::AttemptFile { usage, ..about(&key, at(30 * i64::from(number))) };
        house.keeps(about, Content::Bytes(b"+ a line\n".to_vec()));
    }
    let rows = rows();
    let kept = house.history.attempts(&rows.issue.project, &rows.issue.key).unwrap();
    let story = Story::tell(&rows, &kept, vec![]);
    (rows, story)
}

fn unpacked(path: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(path).unwrap()));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert!(files.insert(name, text).is_none());
    }
    files
}

#[test]
fn a_story_counts_phases_and_what_each_attempt_cost() {
    let (_, story) = told(&House::new(ROOMY));
    let task = &story.tasks[0];
    let phases: Vec<_> = task
        .phases
        .iter()
        .map(|phase| (phase.event.as_str(), phase.status.as_str(), phase.took_ms))
        .collect();
    assert_eq!(
        phases,
        [
            ("asked", "queued", Some(2_000)),
            ("taken", "preparing", Some(1_000)),
            ("started", "running", Some(60_000)),
            ("ended", "importing", None)
        ]
    );
    assert_eq!(task.moves_left_out, 0);
    let costs: Vec<_> = task.attempts.iter().map(|attempt| attempt.cost.unwrap().usd.as_f64()).collect();
    assert_eq!(costs, [0.25, 0.5], "figures of an attempt are counted up, and told apart");
}

#[test]
fn an_export_holds_everything_and_no_secret_and_is_the_same_each_time() {
    let house = House::new(ROOMY);
    let (rows, story) = told(&house);
    let kept = house.history.attempts(&rows.issue.project, &rows.issue.key).unwrap();
    let export = Export { rows: &rows, story: &story, kept: &kept, mask: &OneSecret };
    let [first, second] = ["a.tar.gz", "b.tar.gz"].map(|name| house.dir.path().join(name));
    let count = export.write(&first, Existing::Refuse).unwrap();
    export.write(&second, Existing::Refuse).unwrap();
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());

    let files = unpacked(&first);
    assert_eq!(files.len() as u64, count);
    let attempt_files = |number: u32| {
        ["after.diff", "attempt.yaml", "cli.log"]
            .map(|name| format!("shop-login/attempts/T1.{number}/{name}"))
    };
    let mut expected: Vec<String> = [attempt_files(1), attempt_files(2)].concat();
    expected.extend(
        ["README.md", "dropped.json", "rows.json", "timeline.json"].map(|name| format!("shop-login/{name}")),
    );
    expected.sort();
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), expected);
    for (name, text) in &files {
        assert!(!text.contains(SECRET), "{name}");
        assert!(!text.contains("a value"), "{name} holds a variable's value");
    }
    assert!(files["shop-login/README.md"].contains("# shop#login"));
    assert!(files["shop-login/README.md"].contains("had not ended when this was packed"));
    assert_eq!(files["shop-login/attempts/T1.2/cli.log"], "log 2 of [secret removed]\n");
    let read: Value = serde_json::from_str(&files["shop-login/rows.json"]).unwrap();
    let mut stored = serde_json::to_value(&rows).unwrap();
    stored["issue"]["title"] = "Fix [secret removed]".into();
    stored["tasks"][0]["task"]["title"] = "Fix [secret removed]".into();
    stored["tasks"][0]["task"]["plan"]["env"]["REGION"] = "[value left out]".into();
    assert_eq!(read, stored);
}

#[test]
fn a_file_that_is_there_is_replaced_only_when_asked() {
    let house = House::new(ROOMY);
    let (rows, story) = told(&house);
    let export = Export { rows: &rows, story: &story, kept: &[], mask: &OneSecret };
    let path = house.dir.path().join("a.tar.gz");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(export.write(&path, Existing::Refuse), Err(ExportError::Exists { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    export.write(&path, Existing::Replace).unwrap();
    assert!(unpacked(&path).contains_key("shop-login/timeline.json"));
    let left: Vec<_> = fs::read_dir(house.dir.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(".exporting"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
