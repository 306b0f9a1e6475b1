//! Containers of ours that nobody remembers. They are named, not removed: sweeping everything that looks unknown at
//! start-up is how healthy work gets killed, so the caller decides with the store in hand.

use std::collections::HashSet;

use cloud_code_model::InstanceId;

use crate::{ContainerFacts, ContainerId, Labels, Runtime, RuntimeError};

/// All containers of `instance`, running or not, whose id is not in `known`.
pub async fn leftovers(
    runtime: &dyn Runtime,
    instance: &InstanceId,
    known: &HashSet<ContainerId>,
) -> Result<Vec<ContainerFacts>, RuntimeError> {
    let mut found = runtime.find(&Labels::of_instance(instance.clone())).await?;
    found.retain(|facts| !known.contains(&facts.id));
    Ok(found)
}
