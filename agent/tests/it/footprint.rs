use cloud_code_task_schema::{AgentStatus, EventKind, TaskReportStatus};

use crate::house::{House, task};

fn memory(pid: i32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 256 MiB of short lines and one line of 32 MiB go through a few MiB of agent, and the log keeps both ends.
#[test]
fn endless_output_costs_neither_memory_nor_disk() {
    let mut house = House::new(
        "echo first; yes 0123456789012345678901234567890123456789 | head -c 268435456; head -c 33554432 /dev/zero | tr '\\0' x; echo; echo last; echo x > file; while [ ! -e $NOTES/go ]; do sleep 0.02; done",
    );
    house.extra = vec!["--max-log-bytes".into(), "1048576".into()];
    house.assign(1, &[task("one", "")]);
    let agent = house.start();
    crate::house::wait("the end of the output", || {
        house.read("control/logs/one.1.log").ends_with("\nlast\n").then_some(())
    });
    let peak = memory(agent.pid(), "VmHWM:");
    house.write("notes/go", "");
    let report = house.wait_ended("one");
    assert_eq!(report.status, TaskReportStatus::Completed);
    let log = house.read("control/logs/one.1.log");
    assert!(log.starts_with("first\n0123") && log.len() <= 1_048_576, "{}", log.len());
    assert!(house.read("control/events.jsonl").len() < 4 * 1024 * 1024);
    let cut: Vec<String> = house
        .events()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::LogTruncated { what, dropped_bytes } => {
                Some(format!("{what}: {}", dropped_bytes / 1_048_576))
            }
            _ => None,
        })
        .collect();
    assert_eq!(cut, ["a line of output: 31", "the raw log, between its beginning and its end: 287"]);
    assert!(peak < 24 * 1024, "the debug build of the agent took {peak} KiB");
}

#[test]
fn an_idle_agent_stays_small_and_quiet_after_its_work() {
    let house = House::new("echo x >> file; seq 1 5000");
    house.assign(1, &[task("one", ""), task("two", "")]);
    let agent = house.start();
    house.wait_ended("two");
    house.wait_report("idle", |reporting| reporting.status == AgentStatus::Idle);
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", agent.pid())).unwrap();
    let ticks = |stat: &str| -> u64 {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Anonymous memory is what the agent itself holds; the debug build's text is not of interest.
    let held = memory(agent.pid(), "RssAnon:");
    assert!(held < 2048, "{held} KiB");
    let before = ticks(&stat());
    let quiet_until = std::time::Instant::now() + std::time::Duration::from_secs(3);
    crate::house::wait("three quiet seconds", || (std::time::Instant::now() > quiet_until).then_some(()));
    assert!(ticks(&stat()) - before <= 1);
}
