//! Addresses made of names that others chose.

/// One segment of a path or a value of a query.
pub(super) fn segment(text: &str) -> String {
    encode(text, "-_.~")
}

/// A path that keeps its slashes.
pub(super) fn path(text: &str) -> String {
    encode(text, "-_.~/")
}

fn encode(text: &str, plain: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        assert_eq!(segment("cloud-code: queued"), "cloud-code%3A%20queued");
        assert_eq!(segment("helper[bot]/../x?y=1#z"), "helper%5Bbot%5D%2F..%2Fx%3Fy%3D1%23z");
        assert_eq!(path("docs/ä b.md"), "docs/%C3%A4%20b.md");
    }
}
