//! The statement by which an App says who it is.

use anyhow::{Result, anyhow};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

/// Begins a little early, for clocks that are a little off.
const EARLY: SignedDuration = SignedDuration::from_secs(60);
/// GitHub takes ten minutes at most.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(9);

#[derive(Serialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

/// Signed with the App's key.
pub(super) fn statement(id: u64, key: &SecretString, now: Timestamp) -> Result<SecretString> {
    let key = EncodingKey::from_rsa_pem(key.expose_secret().as_bytes())
        .map_err(|_| anyhow!("the App's private key is no RSA key in PEM"))?;
    let claims =
        Claims { iat: (now - EARLY).as_second(), exp: (now + GOOD_FOR).as_second(), iss: id.to_string() };
    let signed = encode(&Header::new(Algorithm::RS256), &claims, &key)
        .map_err(|_| anyhow!("the App's private key signs nothing"))?;
    Ok(SecretString::from(signed))
}
