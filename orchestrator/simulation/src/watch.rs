//! Word of changed files, from the agents that change them.

use std::path::Path;

use cloud_code_engine::{Watch, Watches};
use tokio::sync::mpsc;

use crate::world::World;

/// Notices of a world.
pub(crate) struct SimWatches(pub(crate) World);

struct Ends {
    world: World,
    id: u64,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.world.unwatch(self.id);
    }
}

impl Watches for SimWatches {
    fn watch(&self, folder: &Path, wake: mpsc::Sender<()>) -> std::io::Result<Watch> {
        let id = self.0.watch(folder, wake);
        Ok(Watch::new(Ends { world: self.0.clone(), id }))
    }
}
