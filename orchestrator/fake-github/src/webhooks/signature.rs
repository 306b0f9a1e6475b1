use std::collections::BTreeMap;
use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use super::{Delivery, Target};

/// The headers of a delivery, the signatures over its body among them.
pub(super) fn headers(delivery: &Delivery) -> BTreeMap<String, String> {
    let body = body(delivery);
    let (kind, id) = match delivery.target {
        Target::App(app) => ("integration", app),
        Target::Repository { repository, .. } => ("repository", repository),
    };
    let mut headers = BTreeMap::from([
        ("Accept".to_owned(), "*/*".to_owned()),
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("User-Agent".to_owned(), "GitHub-Hookshot/fa4e000".to_owned()),
        ("X-GitHub-Delivery".to_owned(), delivery.guid.clone()),
        ("X-GitHub-Event".to_owned(), delivery.event.clone()),
        ("X-GitHub-Hook-ID".to_owned(), delivery.hook_id.to_string()),
        ("X-GitHub-Hook-Installation-Target-Type".to_owned(), kind.to_owned()),
        ("X-GitHub-Hook-Installation-Target-ID".to_owned(), id.to_string()),
    ]);
    if let Some(secret) = &delivery.secret {
        headers.insert("X-Hub-Signature-256".to_owned(), format!("sha256={}", sha256(secret, &body)));
        headers.insert("X-Hub-Signature".to_owned(), format!("sha1={}", sha1(secret, &body)));
    }
    headers
}

/// The bytes that are signed and sent.
pub(super) fn body(delivery: &Delivery) -> Vec<u8> {
    delivery.payload.to_string().into_bytes()
}

fn sha256(secret: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

fn sha1(secret: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of GitHub's page on validating deliveries.
    #[test]
    fn the_signature_is_githubs() {
        assert_eq!(
            sha256("It's a Secret to Everybody", b"Hello, World!"),
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
