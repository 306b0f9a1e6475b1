//! What the kernel knows of this process.

use procfs::process::{LimitValue, Process};

/// The figures that every Prometheus client tells, under their common names. What cannot be read is left out.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) started_at: Option<f64>,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<f64>,
    pub(crate) open_fds: Option<f64>,
    pub(crate) max_fds: Option<f64>,
    pub(crate) threads: Option<f64>,
}

impl Figures {
    pub(crate) fn read() -> Self {
        let Ok(process) = Process::myself() else { return Self::default() };
        let stat = process.stat().ok();
        let ticks = procfs::ticks_per_second() as f64;
        let boot = procfs::boot_time_secs().ok().map(|seconds| seconds as f64);
        let max_fds = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most as f64),
            LimitValue::Unlimited => None,
        });
        Self {
            started_at: stat.as_ref().zip(boot).map(|(stat, boot)| boot + stat.starttime as f64 / ticks),
            cpu_seconds: stat.as_ref().map(|stat| (stat.utime + stat.stime) as f64 / ticks),
            resident_bytes: stat.as_ref().map(|stat| (stat.rss * procfs::page_size()) as f64),
            open_fds: process.fd_count().ok().map(|count| count as f64),
            max_fds,
            threads: stat.as_ref().map(|stat| stat.num_threads as f64),
        }
    }
}
