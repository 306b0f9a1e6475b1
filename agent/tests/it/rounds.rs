use cloud_code_task_schema::{FailureKind, TaskReportStatus};

use crate::house::{House, task};

const CLAUDE: &str = r#"
    say() { echo "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s-1\"}"; echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"$1\",\"session_id\":\"s-1\"}"; }
    echo "$@" >> $NOTES/calls; cat > $NOTES/prompt.$(wc -l < $NOTES/calls)
"#;
const KEYS: &str = "output: claude-stream-json\nresume: ['--resume={session_id}']\n";

#[test]
fn a_red_check_goes_back_to_the_session_until_it_is_green() {
    let script =
        format!("{CLAUDE} case \"$*\" in *resume*) echo good > work;; *) echo bad > work;; esac; say Done");
    let house = House::with_manifest(&script, KEYS);
    house.assign(
        1,
        &[task("one", "verify: ['touch artefact; grep good work || { echo it is bad; exit 3; }', 'true']")],
    );
    house.run_once();
    let report = house.report("one");
    assert_eq!(report.status, TaskReportStatus::Completed, "{:?}", report.failure);
    let told: Vec<_> = report.verify.iter().map(|report| (report.round, report.exit_code)).collect();
    assert_eq!(told, [(1, Some(3)), (1, Some(0)), (2, Some(0)), (2, Some(0))]);
    assert_eq!(house.note("calls").unwrap(), "\n--resume=s-1\n");
    let prompt = house.note("prompt.2").unwrap();
    assert!(prompt.contains("exited with code 3") && prompt.contains("    it is bad"), "{prompt}");
    let paths: Vec<&str> = report.files_modified.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["work"], "what a check leaves behind is not the CLI's work");
}

#[test]
fn checks_that_stay_red_keep_the_work() {
    let script = format!("{CLAUDE} date +%N > work; say Done");
    let house = House::with_manifest(&script, KEYS);
    house.assign(1, &[task("one", "verify: ['false'], verify_rounds: 1")]);
    house.run_once();
    let report = house.report("one");
    assert_eq!(
        (report.status, report.failure.unwrap().kind),
        (TaskReportStatus::Failed, FailureKind::VerifyFailed)
    );
    assert_eq!((report.verify.len(), report.commits.len(), house.starts()), (2, 1, 2));
}

#[test]
fn a_check_cannot_outlive_the_wall_clock_or_the_task() {
    let house = House::new("echo x > file");
    house.assign(
        1,
        &[task(
            "one",
            "verify: ['setsid sleep 600 & echo $! > $HOME/pid; sleep 600'], limits: {timeout: 1s}",
        )],
    );
    house.run_once();
    let report = house.report("one");
    assert_eq!(
        (report.status, report.failure.unwrap().kind),
        (TaskReportStatus::TimedOut, FailureKind::Timeout)
    );
    assert!(!crate::house::process_is_alive(&house.read("home/pid")));
    assert_eq!(report.commits.len(), 1);
}
