//! The headers of a delivery: what it is, and the key under which it is taken only once.
//!
//! GitHub's GUID names an *event*. Every hook that subscribes to the event gets the same one, and a redelivery keeps
//! it. So the key is the GUID together with the hook's target; the GUID alone would drop what a second App is told.

use std::fmt;

/// Longest header that is kept. The longest real one is the GUID with 36 bytes.
const MAX_VALUE: usize = 64;

/// What the headers of a delivery say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryHeaders {
    /// The event's name, as `issue_comment`.
    pub event: String,
    /// GitHub's id of the event.
    pub guid: String,
    /// What the hook is installed on: `integration` (an App), `repository` or `organization`.
    pub target_type: String,
    /// The id of that.
    pub target_id: u64,
}

/// A header that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// `X-GitHub-Event`.
    Event,
    /// `X-GitHub-Delivery`.
    Guid,
    /// `X-GitHub-Hook-Installation-Target-Type`.
    TargetType,
    /// `X-GitHub-Hook-Installation-Target-ID`.
    TargetId,
    /// `Content-Type`.
    ContentType,
}

impl Header {
    /// As HTTP libraries look it up.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "x-github-event",
            Self::Guid => "x-github-delivery",
            Self::TargetType => "x-github-hook-installation-target-type",
            Self::TargetId => "x-github-hook-installation-target-id",
            Self::ContentType => "content-type",
        }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why headers are not those of a delivery. The values are not repeated: they are a stranger's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// Not there.
    #[error("the header `{0}` is missing: this is no delivery of GitHub")]
    Missing(Header),
    /// Longer than any real one.
    #[error("the header `{0}` is longer than {MAX_VALUE} bytes")]
    TooLong(Header),
    /// Characters that a real one never has.
    #[error("the header `{0}` is not as GitHub writes it")]
    Malformed(Header),
    /// The hook sends forms.
    #[error("the body is not JSON: set the webhook's content type to `application/json`")]
    NotJson,
}

impl DeliveryHeaders {
    /// Reads them through `get`, which looks a lower-case name up and is at home in any HTTP library.
    pub fn read<'a>(get: impl Fn(&'static str) -> Option<&'a [u8]>) -> Result<Self, DeliveryError> {
        let value = |header: Header| -> Result<&'a str, DeliveryError> {
            let bytes = get(header.name()).ok_or(DeliveryError::Missing(header))?;
            if bytes.len() > MAX_VALUE {
                return Err(DeliveryError::TooLong(header));
            }
            str::from_utf8(bytes).map_err(|_| DeliveryError::Malformed(header))
        };
        let word = |header: Header, allowed: fn(&u8) -> bool| -> Result<String, DeliveryError> {
            let text = value(header)?;
            if !text.is_empty() && text.as_bytes().iter().all(allowed) {
                Ok(text.to_owned())
            } else {
                Err(DeliveryError::Malformed(header))
            }
        };
        // Digits too: there is a `projects_v2_item`.
        let is_event = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        let event = word(Header::Event, is_event)?;
        let guid = word(Header::Guid, |byte| byte.is_ascii_alphanumeric() || *byte == b'-')?;
        let target_type = word(Header::TargetType, |byte| byte.is_ascii_lowercase() || *byte == b'_')?;
        let target_id = word(Header::TargetId, u8::is_ascii_digit)?;
        let target_id = target_id.parse().map_err(|_| DeliveryError::Malformed(Header::TargetId))?;
        let content = value(Header::ContentType)?.split(';').next().unwrap_or_default().trim();
        if !content.eq_ignore_ascii_case("application/json") {
            return Err(DeliveryError::NotJson);
        }
        Ok(Self { event, guid, target_type, target_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(Header, &[u8]); 5] = [
        (Header::Event, b"issue_comment"),
        (Header::Guid, b"72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        (Header::TargetType, b"integration"),
        (Header::TargetId, b"79929171"),
        (Header::ContentType, b"application/json"),
    ];

    fn read(changed: Header, value: Option<&[u8]>) -> Result<DeliveryHeaders, DeliveryError> {
        DeliveryHeaders::read(|name| {
            if name == changed.name() {
                return value;
            }
            GOOD.iter().find(|(header, _)| header.name() == name).map(|(_, value)| *value)
        })
    }

    #[test]
    fn a_delivery_is_read() {
        assert_eq!(
            read(Header::ContentType, Some(b"application/json; charset=utf-8")).unwrap(),
            DeliveryHeaders {
                event: "issue_comment".to_owned(),
                guid: "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned(),
                target_type: "integration".to_owned(),
                target_id: 79_929_171,
            }
        );
    }

    #[test]
    fn each_header_is_needed_and_bounded() {
        for (header, _) in GOOD {
            assert_eq!(read(header, None), Err(DeliveryError::Missing(header)));
            assert_eq!(read(header, Some(&[b'1'; 65])), Err(DeliveryError::TooLong(header)));
            assert_eq!(read(header, Some(b"\xff")), Err(DeliveryError::Malformed(header)));
        }
    }

    #[test]
    fn strange_values_are_refused() {
        for (header, value) in [
            (Header::Event, "Issue Comment"),
            (Header::Event, ""),
            (Header::Guid, "../../etc"),
            (Header::TargetType, "integration\n"),
            (Header::TargetId, "-1"),
            (Header::TargetId, "99999999999999999999999"),
        ] {
            assert_eq!(
                read(header, Some(value.as_bytes())),
                Err(DeliveryError::Malformed(header)),
                "{value}"
            );
        }
        let form = read(Header::ContentType, Some(b"application/x-www-form-urlencoded"));
        assert_eq!(form, Err(DeliveryError::NotJson));
    }
}
