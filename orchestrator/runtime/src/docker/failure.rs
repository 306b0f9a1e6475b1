//! From the library's errors to ours: the only place that reads a status code of the engine.

use std::error::Error as _;
use std::io;

use bollard::errors::Error;

use crate::{ContainerId, RuntimeError};

const INSTALL_HINT: &str = "install it (Debian, Ubuntu: `sudo apt-get install docker.io`) and start it \
    (`sudo systemctl start docker`); or use the local runtime, which is no sandbox";

/// The engine passes ENOSPC on only as text, inside a plain 500; this is the C library's wording of it.
const NO_SPACE: &str = "no space left on device";

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const FIRST_SERVER_ERROR: u16 = 500;

/// True when the engine answered that what was named does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: NOT_FOUND, .. })
}

/// True when the engine answered that the state does not allow it (not running, name taken, removal under way).
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: CONFLICT, .. })
}

/// An error of the library, and what we were doing.
pub(super) struct Failure<'a> {
    pub(super) error: Error,
    pub(super) doing: &'static str,
    pub(super) socket: &'a str,
}

impl Failure<'_> {
    /// For a request about one container: "not found" means it is gone.
    pub(super) fn about(self, id: &ContainerId) -> RuntimeError {
        if is_not_found(&self.error) {
            return RuntimeError::Gone { id: id.to_string() };
        }
        self.into_runtime_error()
    }

    pub(super) fn into_runtime_error(self) -> RuntimeError {
        let Self { error, doing, socket } = self;
        match error {
            Error::SocketNotFoundError(_) => unreachable_at(socket, None),
            Error::RequestTimeoutError => RuntimeError::EngineTimeout { doing },
            Error::DockerResponseServerError { message, .. }
            | Error::DockerStreamError { error: message }
                if message.contains(NO_SPACE) =>
            {
                RuntimeError::DiskFull { message }
            }
            Error::DockerResponseServerError { status_code: CONFLICT, message } => {
                RuntimeError::Conflict { message }
            }
            Error::DockerResponseServerError { status_code, message } if status_code < FIRST_SERVER_ERROR => {
                RuntimeError::Refused { doing, message }
            }
            Error::DockerResponseServerError { message, .. } => RuntimeError::EngineFault { doing, message },
            other => match io_error_kind(&other) {
                Some(io::ErrorKind::PermissionDenied) => {
                    RuntimeError::EngineForbidden { socket: socket.to_owned() }
                }
                Some(kind @ (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)) => {
                    unreachable_at(socket, Some(kind.into()))
                }
                Some(
                    io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof,
                ) => RuntimeError::EngineLost { doing, message: with_causes(&other) },
                _ if is_of_http(&other) => RuntimeError::EngineLost { doing, message: with_causes(&other) },
                _ => RuntimeError::EngineFault { doing, message: with_causes(&other) },
            },
        }
    }
}

fn unreachable_at(socket: &str, source: Option<io::Error>) -> RuntimeError {
    RuntimeError::EngineUnreachable { socket: socket.to_owned(), hint: INSTALL_HINT.to_owned(), source }
}

/// The kind of the first I/O error among the causes; the HTTP client wraps it more than once.
fn io_error_kind(error: &Error) -> Option<io::ErrorKind> {
    if let Error::IOError { err } = error {
        return Some(err.kind());
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// An answer that did not come whole: the HTTP client says so in its own type, with no I/O error behind it.
const fn is_of_http(error: &Error) -> bool {
    matches!(error, Error::HyperResponseError { .. } | Error::HyperLegacyError { .. })
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(error: Error) -> RuntimeError {
        Failure { error, doing: "testing", socket: "/run/docker.sock" }.into_runtime_error()
    }

    fn answer(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn a_socket_that_may_not_be_used_names_the_group() {
        let error = map(Error::IOError { err: io::ErrorKind::PermissionDenied.into() });
        assert!(matches!(error, RuntimeError::EngineForbidden { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "this user may not use the Docker engine at /run/docker.sock\n  hint: run `sudo usermod -aG docker $USER` and log in again"
        );
    }

    #[test]
    fn a_connection_that_breaks_is_not_an_answer() {
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof]
        {
            let error = map(Error::IOError { err: kind.into() });
            assert!(matches!(error, RuntimeError::EngineLost { .. }), "{kind}: {error:?}");
        }
    }

    #[test]
    fn each_answer_becomes_the_decision_it_asks_for() {
        let full = "write /var/lib/docker/x: no space left on device";
        assert!(matches!(map(answer(500, full)), RuntimeError::DiskFull { .. }));
        assert!(matches!(
            map(Error::DockerStreamError { error: full.to_owned() }),
            RuntimeError::DiskFull { .. }
        ));
        assert!(matches!(map(answer(409, "busy")), RuntimeError::Conflict { .. }));
        assert!(matches!(map(answer(400, "wrong")), RuntimeError::Refused { .. }));
        assert!(matches!(map(answer(500, "broken")), RuntimeError::EngineFault { .. }));
        assert!(matches!(map(Error::RequestTimeoutError), RuntimeError::EngineTimeout { .. }));
        let gone = Failure { error: answer(404, "none"), doing: "testing", socket: "" }
            .about(&ContainerId::new("a"));
        assert!(matches!(gone, RuntimeError::Gone { .. }));
        let lost = map(Error::IOError { err: io::ErrorKind::ConnectionReset.into() });
        assert!(matches!(lost, RuntimeError::EngineLost { .. }), "{lost:?}");
    }
}
