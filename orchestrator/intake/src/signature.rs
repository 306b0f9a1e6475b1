//! Is a delivery from the forge? The only question that may be asked before its body is believed.
//!
//! GitHub signs the raw bytes of the body with HMAC-SHA256 and writes the result in lower-case hex behind `sha256=`.
//! Nothing may touch the bytes first: JSON that was parsed and written again has another signature.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// Why a delivery is not believed. None of them says which secret was tried, or how close it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The header is not there: the webhook has no secret.
    #[error("the delivery is not signed: give the webhook a secret")]
    Missing,
    /// SHA-1 only. GitHub sends both; whoever sends only the old one is not GitHub of today.
    #[error("the delivery is signed with SHA-1 only: `X-Hub-Signature-256` is needed")]
    Sha1,
    /// Not `sha256=` and 64 lower-case hex digits.
    #[error("the signature is not `sha256=` with 64 lower-case hex digits")]
    Malformed,
    /// Nothing to compare with. An empty secret counts as none: anybody can sign with it.
    #[error("no webhook secret is set, so no delivery can be believed")]
    NoSecret,
    /// Another secret, or another body.
    #[error("the signature fits none of the webhook secrets")]
    Mismatch,
}

/// Checks a whole body. Several secrets are for rotation: one that fits is enough.
pub fn verify(raw_body: &[u8], header: Option<&str>, secrets: &[SecretString]) -> Result<(), SignatureError> {
    let mut verifier = Verifier::new(header, secrets)?;
    verifier.update(raw_body);
    verifier.finish()
}

/// Checks a body while it streams in, so that 25 MiB of a stranger need not be hashed in one go.
pub struct Verifier {
    claimed: [u8; 32],
    macs: Vec<Hmac<Sha256>>,
}

impl Verifier {
    /// Reads the header first: a delivery without a usable one needs no body.
    pub fn new(header: Option<&str>, secrets: &[SecretString]) -> Result<Self, SignatureError> {
        let claimed = claimed(header.ok_or(SignatureError::Missing)?)?;
        let macs: Vec<_> = secrets
            .iter()
            .map(|secret| secret.expose_secret().as_bytes())
            .filter(|secret| !secret.is_empty())
            .filter_map(|secret| Hmac::new_from_slice(secret).ok())
            .collect();
        if macs.is_empty() { Err(SignatureError::NoSecret) } else { Ok(Self { claimed, macs }) }
    }

    /// The next bytes of the body, exactly as they came.
    pub fn update(&mut self, chunk: &[u8]) {
        for mac in &mut self.macs {
            mac.update(chunk);
        }
    }

    /// The answer. Each comparison takes constant time, and every secret is tried whatever the others said.
    pub fn finish(self) -> Result<(), SignatureError> {
        let claimed = self.claimed;
        let fits = self.macs.into_iter().fold(false, |fits, mac| mac.verify_slice(&claimed).is_ok() | fits);
        if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
    }
}

fn claimed(header: &str) -> Result<[u8; 32], SignatureError> {
    if header.starts_with("sha1=") {
        return Err(SignatureError::Sha1);
    }
    let hex = header.strip_prefix("sha256=").ok_or(SignatureError::Malformed)?.as_bytes();
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return Err(SignatureError::Malformed);
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = match pair {
            [high, low] => digit(*high)? << 4 | digit(*low)?,
            _ => return Err(SignatureError::Malformed),
        };
    }
    Ok(bytes)
}

fn digit(byte: u8) -> Result<u8, SignatureError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(SignatureError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    #[test]
    fn the_published_vector_fits() {
        assert_eq!(verify(BODY, Some(SIGNATURE), &secrets(&["It's a Secret to Everybody"])), Ok(()));
    }

    #[test]
    fn any_of_several_secrets_is_enough() {
        for order in [["old", "It's a Secret to Everybody"], ["It's a Secret to Everybody", "new"]] {
            assert_eq!(verify(BODY, Some(SIGNATURE), &secrets(&order)), Ok(()));
        }
        assert_eq!(verify(BODY, Some(SIGNATURE), &secrets(&["old", "new"])), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_streamed_body_is_the_same_body() {
        let secrets = secrets(&["It's a Secret to Everybody"]);
        for size in 1..=BODY.len() {
            let mut verifier = Verifier::new(Some(SIGNATURE), &secrets).unwrap();
            BODY.chunks(size).for_each(|chunk| verifier.update(chunk));
            assert_eq!(verifier.finish(), Ok(()));
        }
    }

    #[test]
    fn a_changed_byte_anywhere_is_refused() {
        let secrets = secrets(&["It's a Secret to Everybody"]);
        for at in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[at] ^= 1;
            assert_eq!(verify(&body, Some(SIGNATURE), &secrets), Err(SignatureError::Mismatch));
        }
        for at in "sha256=".len()..SIGNATURE.len() {
            let mut header = SIGNATURE.to_owned();
            let other = if &header[at..=at] == "0" { "1" } else { "0" };
            header.replace_range(at..=at, other);
            assert_eq!(verify(BODY, Some(&header), &secrets), Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn what_is_no_signature_is_named() {
        let secrets = secrets(&["It's a Secret to Everybody"]);
        let upper = SIGNATURE.to_uppercase().replace("SHA256", "sha256");
        let short = &SIGNATURE[..SIGNATURE.len() - 1];
        let long = format!("{SIGNATURE}0");
        let spaced = format!(" {SIGNATURE}");
        for (header, error) in [
            (None, SignatureError::Missing),
            (Some("sha1=f7bc83f430538424b13298e6aa6fb143ef4d59a1"), SignatureError::Sha1),
            (Some(""), SignatureError::Malformed),
            (Some("sha256="), SignatureError::Malformed),
            (Some(&SIGNATURE["sha256=".len()..]), SignatureError::Malformed),
            (Some(&*upper), SignatureError::Malformed),
            (Some(short), SignatureError::Malformed),
            (Some(&*long), SignatureError::Malformed),
            (Some(&*spaced), SignatureError::Malformed),
            (
                Some("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1é"),
                SignatureError::Malformed,
            ),
        ] {
            assert_eq!(verify(BODY, header, &secrets), Err(error), "{header:?}");
        }
    }

    #[test]
    fn an_empty_secret_is_no_secret() {
        assert_eq!(verify(BODY, Some(SIGNATURE), &[]), Err(SignatureError::NoSecret));
        assert_eq!(verify(BODY, Some(SIGNATURE), &secrets(&["", ""])), Err(SignatureError::NoSecret));
    }
}
