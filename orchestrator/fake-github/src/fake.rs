//! The handle of a test: start it, seed it, break it, look at it, drop it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::faults::Fault;
use crate::hold::{Held, When};
use crate::journal::Request;
use crate::openapi::{Description, Missing};
use crate::person::Person;
use crate::shared::Shared;
use crate::state::World;
use crate::tls::Authority;
use crate::webhooks::{self, Delivery, Fate, Mail, Mode};

/// A free port on the loopback.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A GitHub that listens on the loopback. It has a runtime of its own, so a test that blocks does not block it, and
/// it is gone when dropped, its repositories too.
///
/// Methods that name a repository, an issue or a person panic when there is none: a story that names what is not
/// there is wrong.
#[derive(Debug)]
pub struct FakeGithub {
    pub(crate) shared: Arc<Shared>,
    /// `http://HOST:PORT`, or with TLS `https://`.
    origin: String,
    folder: TempDir,
    authority: Option<Authority>,
    /// Ended without waiting in `drop`, for a test may drop it inside a runtime.
    runtime: Option<Runtime>,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// GitHub's description of its API is not there.
    #[error(transparent)]
    ThirdParty(#[from] Missing),
    /// No certificate could be made.
    #[error("the fake GitHub has no certificate")]
    Certificate(#[from] rcgen::Error),
    /// rustls does not take it.
    #[error("the fake GitHub's certificate does not fit")]
    Tls(#[from] rustls::Error),
    /// No socket, no folder or no threads.
    #[error("the fake GitHub cannot start")]
    System(#[from] std::io::Error),
}

impl FakeGithub {
    /// Starts one on a free port. It checks every request against GitHub's description.
    ///
    /// # Panics
    /// When it cannot start; the message says what to do.
    pub async fn start() -> Self {
        Self::start_blocking()
    }

    /// As `start`, for a test without a runtime.
    ///
    /// # Panics
    /// When it cannot start; the message says what to do.
    pub fn start_blocking() -> Self {
        match Self::try_start(LOOPBACK, true) {
            Ok(fake) => fake,
            Err(error) => broken(&error.to_string()),
        }
    }

    /// As `start_blocking`, behind TLS with a certificate of an authority that no machine knows: `ca_pem` is its own.
    ///
    /// # Panics
    /// When it cannot start; the message says what to do.
    pub fn start_tls_blocking() -> Self {
        let started = Authority::new().and_then(|authority| Self::begin(LOOPBACK, true, Some(authority)));
        match started {
            Ok(fake) => fake,
            Err(error) => broken(&error.to_string()),
        }
    }

    /// Starts one on an address. Unchecked it needs no third-party files; that is for trying things by hand.
    pub fn try_start(listen: SocketAddr, checked: bool) -> Result<Self, StartError> {
        Self::begin(listen, checked, None)
    }

    fn begin(listen: SocketAddr, checked: bool, authority: Option<Authority>) -> Result<Self, StartError> {
        let description = if checked { Some(Description::load()?) } else { None };
        let folder = tempfile::Builder::new().prefix("fake-github").tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fake-github")
            .enable_all()
            .build()?;
        let socket = std::net::TcpListener::bind(listen)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (outbox, inbox) = mpsc::unbounded_channel();
        let scheme = if authority.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{address}");
        let world = World::new(folder.path().to_owned(), &origin);
        let shared = Arc::new(Shared::new(world, Mail::new(outbox), description));
        {
            let _entered = runtime.enter();
            let listener = TcpListener::from_std(socket)?;
            let tls = authority.as_ref().map(Authority::acceptor);
            runtime.spawn(crate::server::serve(listener, tls, Arc::clone(&shared)));
            runtime.spawn(webhooks::run(Arc::clone(&shared), inbox));
        }
        Ok(Self { shared, origin, folder, authority, runtime: Some(runtime) })
    }

    /// The API's base address, without a slash at the end. With `/api/v3` behind it, it works too.
    pub fn api_url(&self) -> String {
        self.origin.clone()
    }

    /// The base of pages and of clone addresses (`web_url/O/R.git`).
    pub fn web_url(&self) -> String {
        self.origin.clone()
    }

    /// The certificate of its authority, when it was started with TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// The address that git clones.
    pub fn clone_url(&self, repo: &str) -> String {
        format!("{}/{repo}.git", self.web_url())
    }

    /// The folder of its bare repositories.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Somebody; made when new.
    pub fn user(&self, login: &str) -> Person {
        let id = self.shared.with(|world| world.add_user(login, "User"));
        Person::new(Arc::clone(&self.shared), id)
    }

    /// Moves the fake's time forward, so that tokens expire and rate limits end.
    pub fn advance(&self, by: Duration) {
        self.shared.with(|world| world.clock.advance(by));
    }

    // ---- faults ----

    /// Breaks the next call that matches. `*` in the path stands for one segment, `**` for any number; the method may
    /// be `*`.
    pub fn fault(&self, method: &str, path: &str, fault: Fault) {
        self.fault_nth(method, path, 1, fault);
    }

    /// Breaks the n-th call that matches, counted from now; 1 is the next.
    pub fn fault_nth(&self, method: &str, path: &str, nth: usize, fault: Fault) {
        self.shared.faults().plan(method, path, nth, fault);
    }

    /// How many faults have not met their call. A story asserts 0, or it tested nothing.
    pub fn faults_waiting(&self) -> usize {
        self.shared.faults().waiting()
    }

    /// Stops at the n-th write from now (1 is the next), before or after its effect. Minting a token and fetching are
    /// no writes; a push is one.
    pub fn hold_write(&self, n: usize, when: When) {
        self.hold_nth("*", "**", n, when);
    }

    /// As `hold_write`, at the n-th write that matches from now; method and path as in `fault`.
    pub fn hold_nth(&self, method: &str, path: &str, n: usize, when: When) {
        self.shared.gate.arm(method, path, n, when);
    }

    /// Waits until a write is held, and says which.
    pub async fn held(&self) -> Held {
        self.shared.gate.held().await
    }

    /// Lets the held write go on. Nothing is held any more.
    pub fn release(&self) {
        self.shared.gate.release();
    }

    /// Cuts the held write's connection: before its effect it never happens, after it the answer is lost.
    pub fn cut_held(&self) {
        self.shared.gate.cut();
    }

    // ---- what was asked of it ----

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.journal.all()
    }

    /// The requests that change what people see, in order.
    pub fn mutations(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_mutation).collect()
    }

    /// What requests had that GitHub's description does not: a test asserts that this is empty.
    pub fn violations(&self) -> Vec<String> {
        self.shared.violations().clone()
    }

    /// Where the fake's own answers do not fit GitHub's description. The fake's tests assert that this is empty.
    pub fn drift(&self) -> Vec<String> {
        self.shared.drift().clone()
    }

    // ---- webhooks ----

    /// Points the webhook of every App to an address, with a secret.
    pub fn deliver_to(&self, url: &str, secret: &str) {
        self.shared.with(|world| {
            for app in &mut world.apps {
                app.hook_url = Some(url.to_owned());
                app.hook_secret = Some(secret.to_owned());
            }
        });
    }

    /// Every delivery made so far, whatever became of it, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.with(|world| world.deliveries.clone())
    }

    /// From now on deliveries wait for `send`, `send_times` or `send_held`.
    pub fn hold_deliveries(&self) {
        self.shared.mail().mode = Mode::Hold;
    }

    /// From now on deliveries are lost: logged as failed, never sent, as while nobody listens.
    pub fn lose_deliveries(&self) {
        self.shared.mail().mode = Mode::Lose;
    }

    /// The next `n` deliveries are lost.
    pub fn lose_next(&self, n: usize) {
        self.shared.mail().lose_next = n;
    }

    /// From now on deliveries are sent at once. What is held stays held.
    pub fn send_deliveries(&self) {
        self.shared.mail().mode = Mode::Send;
    }

    /// What is held back, in the order it happened.
    pub fn held_deliveries(&self) -> Vec<Delivery> {
        self.deliveries().into_iter().filter(|delivery| delivery.fate == Fate::Held).collect()
    }

    /// Sends one that is held, and waits for its answer. Sending in another order than they happened reorders them.
    pub async fn send(&self, delivery: &Delivery) -> Fate {
        self.shared.with(|world| {
            if let Some(delivery) = world.delivery_mut(delivery.id) {
                self.shared.mail().send(delivery);
            }
        });
        self.settled().await;
        self.fate(delivery.id)
    }

    /// Sends all that is held, in order, each after the answer to the one before.
    pub async fn send_held(&self) {
        for delivery in self.held_deliveries() {
            self.send(&delivery).await;
        }
    }

    /// Sends the same delivery `n` times at once, with one GUID; the answers' statuses, 0 for none. GitHub's log
    /// shows it once.
    pub async fn send_times(&self, delivery: &Delivery, n: usize) -> Vec<u16> {
        let current = self.shared.with(|world| world.delivery_mut(delivery.id).cloned());
        let delivery = current.unwrap_or_else(|| delivery.clone());
        let id = delivery.id;
        let copies = (0..n).map(|_| webhooks::send(&delivery));
        let fates = futures_util::future::join_all(copies).await;
        if let Some((fate, body)) = fates.first().cloned() {
            self.shared.with(|world| {
                if let Some(delivery) = world.delivery_mut(id) {
                    delivery.fate = fate;
                    delivery.answer_body = body;
                }
            });
        }
        fates
            .into_iter()
            .map(|(fate, _)| if let Fate::Answered(status) = fate { status } else { 0 })
            .collect()
    }

    /// Attempts a delivery again, as the button on GitHub's page does: the same GUID, another entry in the log.
    pub async fn redeliver(&self, delivery: &Delivery) {
        self.shared.with(|world| world.redeliver.push(delivery.id));
        self.settled().await;
    }

    /// Sends a payload that is none of this world's, as GitHub's published samples are, to the first App's hook, signed.
    ///
    /// # Panics
    /// When there is no App.
    pub async fn send_sample(&self, event: &str, payload: serde_json::Value) -> Fate {
        let delivery = self.shared.with(|world| {
            let app = world.apps.first().cloned().unwrap_or_else(|| broken("there is no App with a hook"));
            Delivery::sample(world.id(), world.guid(), &app, event, payload, world.now())
        });
        webhooks::send(&delivery).await.0
    }

    /// The log of deliveries forgets all of them, as after three days.
    pub fn forget_deliveries(&self) {
        self.shared.with(|world| world.deliveries.clear());
    }

    /// Waits until no delivery is on its way.
    pub async fn settled(&self) {
        let mut under_way = self.shared.mail().under_way.subscribe();
        // The sender lives as long as the fake.
        drop(under_way.wait_for(|count| *count == 0).await);
    }

    fn fate(&self, id: u64) -> Fate {
        let known = self.shared.with(|world| world.delivery_mut(id).map(|delivery| delivery.fate.clone()));
        known.unwrap_or_else(|| broken("there is no such delivery"))
    }
}

impl Drop for FakeGithub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends a story that asks for what is not there.
#[track_caller]
#[expect(
    clippy::panic,
    reason = "a story that names what is not there is a broken test, and must fail with its reason"
)]
pub(crate) fn broken(why: &str) -> ! {
    panic!("{why}")
}
