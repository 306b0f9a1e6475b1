//! What the server, the couriers and a test's handle have in common.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::faults::Faults;
use crate::hold::Gate;
use crate::journal::Journal;
use crate::openapi::Description;
use crate::state::World;
use crate::webhooks::Mail;

/// The world and everything around it. Each lock is held for one step and never over an await.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    mail: Mutex<Mail>,
    faults: Mutex<Faults>,
    pub(crate) gate: Gate,
    pub(crate) journal: Journal,
    /// Absent only in the demo, which runs without third-party files.
    pub(crate) description: Option<Description>,
    violations: Mutex<Vec<String>>,
    drift: Mutex<Vec<String>>,
    pub(crate) pushes: tokio::sync::Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test thread that panicked under the lock has failed already; the others may still look.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(world: World, mail: Mail, description: Option<Description>) -> Self {
        Self {
            world: Mutex::new(world),
            mail: Mutex::new(mail),
            faults: Mutex::default(),
            gate: Gate::default(),
            journal: Journal::default(),
            description,
            violations: Mutex::default(),
            drift: Mutex::default(),
            pushes: tokio::sync::Mutex::default(),
        }
    }

    /// Looks at or changes the world, and makes deliveries of what happened.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut World) -> R) -> R {
        let mut world = lock(&self.world);
        let result = act(&mut world);
        for post in std::mem::take(&mut world.posts) {
            for mut delivery in world.deliveries_of(post) {
                self.mail().accept(&mut delivery);
                world.deliveries.push(delivery);
            }
        }
        for id in std::mem::take(&mut world.redeliver) {
            if let Some(mut delivery) = world.redelivery_of(id) {
                self.mail().accept(&mut delivery);
                world.deliveries.push(delivery);
            }
        }
        result
    }

    pub(crate) fn mail(&self) -> MutexGuard<'_, Mail> {
        lock(&self.mail)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn violations(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.violations)
    }

    pub(crate) fn drift(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.drift)
    }
}
