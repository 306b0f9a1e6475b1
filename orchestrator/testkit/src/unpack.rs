//! Request bodies, packed or not, with a cap on what they unpack to.

use std::io::Read;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};

/// The largest request body, unpacked. A CLI sends its whole conversation with every request, a few MiB at most;
/// what is larger is a mistake, and must not take the machine's memory.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Why a body cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyProblem {
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body cannot be unpacked as {encoding}: {message}")]
    Packed { encoding: &'static str, message: String },
    #[error("the body is packed as `{0}`, which is not known here")]
    UnknownPacking(String),
    #[error("the body has more than {MAX_BODY_BYTES} bytes unpacked")]
    TooLarge,
}

/// The body without its packing. codex packs with zstd when it is logged in with an account.
pub(crate) fn unpacked(headers: &HeaderMap, body: &Bytes) -> Result<Vec<u8>, BodyProblem> {
    let packing =
        headers.get(header::CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match packing.as_deref() {
        None | Some("identity" | "") => Ok(body.to_vec()),
        Some("gzip") => capped(flate2::read::GzDecoder::new(body.as_ref()), "gzip"),
        Some("zstd") => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(body.as_ref())
                .map_err(|error| BodyProblem::Packed { encoding: "zstd", message: error.to_string() })?;
            capped(decoder, "zstd")
        }
        Some(other) => Err(BodyProblem::UnknownPacking(other.to_owned())),
    }
}

fn capped(reader: impl Read, encoding: &'static str) -> Result<Vec<u8>, BodyProblem> {
    let mut unpacked = Vec::new();
    reader
        .take(MAX_BODY_BYTES as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| BodyProblem::Packed { encoding, message: error.to_string() })?;
    if unpacked.len() > MAX_BODY_BYTES { Err(BodyProblem::TooLarge) } else { Ok(unpacked) }
}
