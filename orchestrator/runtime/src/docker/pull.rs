//! Fetching an image that is made elsewhere, such as a base. Anonymous only: this machine's registry logins stay with
//! the `docker` program.

use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::DockerRuntime;
use crate::tail::printable;
use crate::{Runtime, RuntimeError};

/// One step of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// The layer; `None` for what concerns the whole image.
    pub layer: Option<String>,
    /// What happens to it.
    pub status: String,
    /// Bytes done; 0 when not counted.
    pub done_bytes: u64,
    /// Bytes in all; 0 when not known.
    pub total_bytes: u64,
}

impl DockerRuntime {
    /// Fetches an image and reports each step. Dropping the future cancels it.
    pub async fn pull_image(
        &self,
        image: &str,
        mut progress: impl FnMut(PullProgress) + Send,
    ) -> Result<(), RuntimeError> {
        let reference = with_tag(image);
        let options = CreateImageOptionsBuilder::default().from_image(&reference).build();
        let failed = |message: String| RuntimeError::PullFailed { image: image.to_owned(), message };
        let mut answers = self.client().await?.create_image(Some(options), None, None);
        while let Some(answer) = answers.next().await {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    return Err(match self.failure(error, "pulling an image").into_runtime_error() {
                        RuntimeError::Refused { message, .. }
                        | RuntimeError::EngineFault { message, .. }
                        | RuntimeError::Conflict { message } => failed(printable(&message)),
                        other => other,
                    });
                }
            };
            if let Some(message) = answer.error_detail.and_then(|detail| detail.message) {
                let error = Error::DockerStreamError { error: message.clone() };
                return Err(match self.failure(error, "pulling an image").into_runtime_error() {
                    full @ RuntimeError::DiskFull { .. } => full,
                    _ => failed(printable(&message)),
                });
            }
            let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
            let detail = answer.progress_detail.unwrap_or_default();
            progress(PullProgress {
                layer: answer.id,
                status: printable(&answer.status.unwrap_or_default()),
                done_bytes: bytes(detail.current),
                total_bytes: bytes(detail.total),
            });
        }
        // The stream's end is not yet success: the image must be there.
        match self.image(image).await? {
            Some(_) => Ok(()),
            None => Err(failed("the registry's answer ended without the image".to_owned())),
        }
    }
}

/// Without a tag or digest the engine would fetch every tag of the repository.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_means_latest_and_a_port_is_no_tag() {
        assert_eq!(with_tag("debian"), "debian:latest");
        assert_eq!(with_tag("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(with_tag("localhost:5000/a:1"), "localhost:5000/a:1");
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }
}
