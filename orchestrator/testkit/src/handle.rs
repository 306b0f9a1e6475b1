//! A running scripted model, for tests: start it, point a CLI at it, read what was asked, drop it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::journal::{Journal, RequestRecord};
use crate::script::Script;
use crate::server::Server;

/// A scripted model that listens. It has a thread and a runtime of its own, so it serves tests with and without one,
/// and dropping it ends every connection, those that a script hangs for ever too.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    journal: Arc<Journal>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where to listen and what to keep. The default: a free port of the loopback, no file.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A file that gets one JSON line a request. It is begun anew.
    pub journal: Option<PathBuf>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), journal: None }
    }
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The journal's file cannot be made.
    #[error("cannot write the journal {path}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No thread or runtime.
    #[error("cannot start the server's thread")]
    Thread(#[source] std::io::Error),
}

impl ScriptedModel {
    /// Starts on a free port of the loopback.
    pub fn start(script: Script) -> Result<Self, StartError> {
        Self::start_with(script, ServeOptions::default())
    }

    /// Starts as the options say. It listens when this returns.
    pub fn start_with(script: Script, options: ServeOptions) -> Result<Self, StartError> {
        let address = options.listen;
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let file = options
            .journal
            .map(|path| File::create(&path).map_err(|source| StartError::Journal { path, source }))
            .transpose()?;
        let journal = Arc::new(Journal::new(file));
        let router = Server::new(script, Arc::clone(&journal)).router();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(listen)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("scripted-model".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        // It ends only with the listener, and then nothing more can be said to anybody.
                        _ = async { axum::serve(listener, router).await } => {}
                        // An error means that the handle is gone: the same.
                        _ = stopped => {}
                    }
                });
                // Connections are tasks of the runtime: they end with it.
            })
            .map_err(StartError::Thread)?;
        Ok(Self { address, journal, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, without a path: what `ANTHROPIC_BASE_URL` takes. Codex wants `/v1` after it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.journal.records()
    }

    /// Waits until the requests satisfy a condition, and returns them; `None` when the time is over.
    pub fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&[RequestRecord]) -> bool,
    ) -> Option<Vec<RequestRecord>> {
        self.journal.wait_until(limit, condition)
    }

    /// Why the journal's file is not complete, if it is not.
    pub fn journal_problem(&self) -> Option<String> {
        self.journal.broken()
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server was a test's failure already; a second one here would hide it.
            let _ended = thread.join();
        }
    }
}
