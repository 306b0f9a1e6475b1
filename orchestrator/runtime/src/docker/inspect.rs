//! From the engine's answers to facts. What it says is believed in meaning, not in form: a field that does not read is
//! left out, never guessed.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum as Status,
    ContainerStatsResponse, ImageInspect, ImageSummary, SystemInfo,
};
use jiff::Timestamp;

use crate::{
    ContainerFacts, ContainerId, ContainerState, ContainerUsage, Exit, ImageFacts, ImageId, Labels,
    RuntimeInfo, RuntimeKind, Stdin,
};

/// What one look at a container tells.
pub(super) struct Seen {
    pub(super) facts: ContainerFacts,
    pub(super) stdin: Stdin,
}

/// `None` when the labels are not ones we write.
pub(super) fn read(answer: ContainerInspectResponse) -> Option<Seen> {
    let config = answer.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let facts = ContainerFacts {
        id: ContainerId::new(answer.id?),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        labels: read_labels(&labels)?,
        started_at: state.started_at.as_deref().and_then(time),
        state: read_state(&state),
    };
    let stdin = if config.open_stdin == Some(true) { Stdin::Secrets } else { Stdin::Closed };
    Some(Seen { facts, stdin })
}

pub(super) fn read_labels(labels: &HashMap<String, String>) -> Option<Labels> {
    Labels::from_map(|key| labels.get(key).map(String::as_str))
}

fn read_state(state: &EngineState) -> ContainerState {
    match state.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING) => {
            ContainerState::Running
        }
        Some(Status::EXITED) => ContainerState::Exited(Exit {
            code: state.exit_code.and_then(|code| i32::try_from(code).ok()),
            oom_killed: state.oom_killed == Some(true),
            finished_at: state.finished_at.as_deref().and_then(time),
        }),
        Some(Status::DEAD | Status::REMOVING) => ContainerState::Dead,
        Some(Status::CREATED | Status::EMPTY) | None => ContainerState::Created,
    }
}

/// The engine writes year 1 for "never".
fn time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|at| *at > Timestamp::UNIX_EPOCH)
}

pub(super) fn read_image(answer: ImageInspect) -> Option<ImageFacts> {
    Some(ImageFacts {
        id: ImageId::new(answer.id?),
        tags: answer.repo_tags.unwrap_or_default(),
        size_bytes: answer.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        labels: answer.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect(),
        created_at: answer.created.as_deref().and_then(time),
    })
}

pub(super) fn read_image_summary(answer: ImageSummary) -> ImageFacts {
    ImageFacts {
        id: ImageId::new(answer.id),
        tags: answer.repo_tags.into_iter().filter(|tag| tag != "<none>:<none>").collect(),
        size_bytes: u64::try_from(answer.size).unwrap_or(0),
        labels: answer.labels.into_iter().collect(),
        created_at: Timestamp::from_second(answer.created).ok(),
    }
}

/// `None` when there is no memory figure, which is how the engine shows a container that does not run.
pub(super) fn read_usage(answer: ContainerStatsResponse) -> Option<ContainerUsage> {
    let memory = answer.memory_stats?;
    let used = memory.usage?;
    let stats = memory.stats.unwrap_or_default();
    // cgroup v1 counts children under `total_`; v2 has one figure.
    let cache = stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")).copied().unwrap_or(0);
    let nanos = answer.cpu_stats.and_then(|cpu| cpu.cpu_usage).and_then(|cpu| cpu.total_usage).unwrap_or(0);
    Some(ContainerUsage {
        memory_bytes: used.saturating_sub(cache),
        cpu_time: Duration::from_nanos(nanos),
        pids: answer.pids_stats.and_then(|pids| pids.current).unwrap_or(0),
    })
}

/// Who the engine is, and what of our promises it cannot keep.
pub(super) fn read_info(info: SystemInfo, api_version: String) -> RuntimeInfo {
    let mut runtime_classes: Vec<String> = info.runtimes.unwrap_or_default().into_keys().collect();
    runtime_classes.sort();
    let security = info.security_options.unwrap_or_default();
    let has = |name: &str| {
        security.iter().any(|option| option.split(',').any(|part| part == format!("name={name}")))
    };
    let storage = info.driver.unwrap_or_default();
    let system = info.operating_system.unwrap_or_default();
    let lacks = [
        (info.memory_limit == Some(false), "this kernel does not enforce memory limits"),
        (
            info.swap_limit == Some(false),
            "this kernel does not count swap: a memory limit can be exceeded by swapping",
        ),
        (info.pids_limit == Some(false), "this kernel does not enforce limits on the number of processes"),
        (info.cpu_cfs_quota == Some(false), "this kernel does not enforce processor limits"),
        (!has("seccomp"), "the engine runs without seccomp: more of the kernel is open to what runs inside"),
        (has("rootless"), "the engine is rootless: user ids inside are not those of the workspace's files"),
        (has("userns"), "the engine maps user ids: those inside are not those of the workspace's files"),
        (storage == "vfs", "the storage driver is vfs: each container copies its whole image"),
        (
            system.contains("Docker Desktop"),
            "the engine runs in a virtual machine: file changes arrive late, the slow poll takes over",
        ),
    ];
    let lacks = lacks.into_iter().filter(|(so, _)| *so).map(|(_, text)| text.to_owned());
    RuntimeInfo {
        kind: RuntimeKind::Docker,
        version: info.server_version.unwrap_or_default(),
        api_version: Some(api_version),
        cgroup_version: info
            .cgroup_version
            .map(|version| version.to_string())
            .filter(|text| !text.is_empty()),
        storage: Some(storage),
        runtime_classes,
        warnings: lacks.collect(),
    }
}
