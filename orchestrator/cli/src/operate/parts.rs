//! What `/readyz` asks of this installation, besides the store.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use cloud_code_metrics::{accounts, pulses};
use cloud_code_model::{ByteSize, RuntimeKind};
use cloud_code_runtime::Runtime;
use cloud_code_server::{Keys, Loops, Part, free_bytes};

use crate::app::App;

/// The parts; `kinds` are the runtimes of the projects that are served.
pub(crate) fn parts(app: &App, kinds: &[RuntimeKind]) -> Result<Vec<Arc<dyn Part>>> {
    // Below it no task begins, so nobody is to send more.
    let floor = app.queue_limits()?.min_free_disk;
    let mut parts: Vec<Arc<dyn Part>> = vec![
        Arc::new(Disk { home: app.home.clone(), floor }),
        Arc::new(Keys(accounts())),
        Arc::new(Loops(pulses())),
    ];
    if kinds.contains(&RuntimeKind::Docker) {
        parts.push(Arc::new(Docker(app.runtime(RuntimeKind::Docker)?)));
    }
    Ok(parts)
}

/// The disk of the home folder has room.
struct Disk {
    home: PathBuf,
    floor: ByteSize,
}

#[async_trait]
impl Part for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }
    async fn trouble(&self) -> Option<String> {
        match free_bytes(&self.home) {
            Some(free) if free < self.floor.bytes() => {
                Some(format!("{} MiB are free, and {} MiB must be", free >> 20, self.floor.bytes() >> 20))
            }
            Some(_) => None,
            None => Some("the home folder cannot be read".to_owned()),
        }
    }
}

/// The Docker engine answers.
struct Docker(Arc<dyn Runtime>);

#[async_trait]
impl Part for Docker {
    fn name(&self) -> &'static str {
        "runtime"
    }
    async fn trouble(&self) -> Option<String> {
        let error = self.0.check().await.err()?;
        tracing::debug!(error = %error, "the Docker engine cannot be asked");
        Some("the Docker engine does not answer".to_owned())
    }
}
