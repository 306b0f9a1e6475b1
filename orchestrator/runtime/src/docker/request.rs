//! From our spec to the engine's: strict by construction. What is not named here keeps the engine's default: the OOM
//! score, seccomp, the masked paths of /proc.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount as EngineMount,
    MountType, RestartPolicy, RestartPolicyNameEnum,
};

use crate::spec::{Executable, MountAccess};
use crate::{ContainerSpec, Mount, NetworkMode, RootFilesystem, RuntimeError, Stdin, Tmpfs};

/// Log files of one container. Two, so that a rotation never leaves nothing to show.
const LOG_FILES: u64 = 2;

/// Billionths of a core in a thousandth, the engine's unit and ours.
const NANO_PER_MILLI: i64 = 1_000_000;

pub(super) fn create_body(spec: &ContainerSpec) -> Result<ContainerCreateBody, RuntimeError> {
    let takes_stdin = matches!(spec.stdin, Stdin::Secrets);
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        // The whole argv is the entrypoint: an image's own entrypoint script never runs as our root PID 1.
        entrypoint: Some(spec.command.clone()),
        cmd: Some(Vec::new()),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(spec.labels.to_map().into_iter().collect()),
        user: Some(spec.user.clone()),
        working_dir: spec.working_dir.as_deref().map(path_text).transpose()?,
        open_stdin: Some(takes_stdin),
        stdin_once: Some(takes_stdin),
        attach_stdin: Some(takes_stdin),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        tty: Some(false),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(clamp(spec.stop_timeout.as_secs())),
        host_config: Some(host_config(spec)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(spec: &ContainerSpec) -> Result<HostConfig, RuntimeError> {
    let limits = &spec.limits;
    let memory = limits.memory_bytes.map(clamp);
    Ok(HostConfig {
        mounts: Some(spec.mounts.iter().map(bind).collect::<Result<_, _>>()?),
        tmpfs: Some(spec.tmpfs.iter().map(tmpfs).collect::<Result<_, _>>()?),
        memory,
        // Equal to the memory limit means: no swap beside it.
        memory_swap: memory,
        nano_cpus: limits.milli_cpus.map(|milli| i64::from(milli) * NANO_PER_MILLI),
        pids_limit: limits.pids.map(i64::from),
        shm_size: limits.shm_bytes.map(clamp),
        log_config: Some(log_config(limits.log_bytes)),
        network_mode: Some(network(&spec.network)),
        extra_hosts: (!spec.extra_hosts.is_empty()).then(|| spec.extra_hosts.clone()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.capabilities.iter().map(|capability| capability.name().to_owned()).collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        readonly_rootfs: Some(matches!(spec.root_filesystem, RootFilesystem::ReadOnly)),
        // The agent reaps; an init above it would hide it from the signals meant for PID 1.
        init: Some(false),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        cgroup_parent: spec.cgroup_parent.clone(),
        runtime: spec.runtime_class.clone(),
        ..HostConfig::default()
    })
}

/// A mount of type `bind`, not a `-v` string: the engine then refuses a source that does not exist, where `-v` makes
/// an empty folder owned by root in its place.
fn bind(mount: &Mount) -> Result<EngineMount, RuntimeError> {
    Ok(EngineMount {
        typ: Some(MountType::BIND),
        source: Some(path_text(&mount.source)?),
        target: Some(path_text(&mount.target)?),
        read_only: Some(matches!(mount.access, MountAccess::ReadOnly)),
        ..EngineMount::default()
    })
}

fn tmpfs(tmpfs: &Tmpfs) -> Result<(String, String), RuntimeError> {
    let exec = match tmpfs.executable {
        Executable::Yes => "exec",
        Executable::No => "noexec",
    };
    let options = format!("rw,nosuid,nodev,{exec},mode={:o},size={}", tmpfs.mode, tmpfs.size_bytes);
    Ok((path_text(&tmpfs.target)?, options))
}

fn log_config(log_bytes: Option<u64>) -> HostConfigLogConfig {
    let config = log_bytes.map(|bytes| {
        HashMap::from([
            ("max-size".to_owned(), (bytes / LOG_FILES).max(1).to_string()),
            ("max-file".to_owned(), LOG_FILES.to_string()),
        ])
    });
    HostConfigLogConfig { typ: Some("json-file".to_owned()), config }
}

fn network(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Named(name) => name.clone(),
    }
}

/// The engine's numbers are signed; ours beyond that mean "as much as there is".
fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn path_text(path: &Path) -> Result<String, RuntimeError> {
    path.to_str().map(str::to_owned).ok_or_else(|| RuntimeError::Refused {
        doing: "describing the container",
        message: format!("the path {} is not UTF-8", path.display()),
    })
}
