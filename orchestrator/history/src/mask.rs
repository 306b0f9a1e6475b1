//! Takes secrets out of bytes on their way into the history.
//!
//! Line by line, so that no file has to be held whole. A private key spans lines: from its first line on everything is
//! left out until its last. A line that is not UTF-8 keeps its bytes unless a secret stands in it; a patch must stay a
//! patch.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};

/// A line beyond this is let out in parts. Too low tears secrets of long lines, too high holds memory.
const MAX_LINE: u64 = 256 * 1024;
const KEY_BEGINS: &str = "-----BEGIN ";
const KEY_ENDS: &str = "-----END ";
const KEY_IS_PRIVATE: &str = "PRIVATE KEY-----";
const KEY_LEFT_OUT: &[u8] = b"[private key removed]\n";

/// Whoever knows the secrets of this installation.
pub trait Mask: Send + Sync {
    /// The text without them; the same text if there were none.
    fn clean<'t>(&self, text: &'t str) -> Cow<'t, str>;
}

/// Knows no secret: for tests and for what was masked before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmasked;

impl Mask for Unmasked {
    fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        Cow::Borrowed(text)
    }
}

/// Copies `from` to `to` without secrets.
pub(crate) fn copy(mut from: impl BufRead, mut to: impl Write, mask: &dyn Mask) -> io::Result<()> {
    let mut line = Vec::new();
    let mut in_key = false;
    loop {
        line.clear();
        let read = io::Read::take(&mut from, MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return to.flush();
        }
        let text = String::from_utf8_lossy(&line);
        let ends = text.rfind(KEY_ENDS);
        if in_key {
            in_key = ends.is_none();
            continue;
        }
        let begins = text.rfind(KEY_BEGINS).filter(|at| text[*at..].contains(KEY_IS_PRIVATE));
        in_key = matches!((begins, ends), (Some(begin), end) if end.is_none_or(|end| end < begin));
        if in_key {
            let before = begins.and_then(|at| text.get(..at)).unwrap_or_default();
            to.write_all(mask.clean(before).as_bytes())?;
            to.write_all(KEY_LEFT_OUT)?;
            continue;
        }
        match mask.clean(&text) {
            Cow::Borrowed(_) => to.write_all(&line)?,
            Cow::Owned(clean) if clean == text => to.write_all(&line)?,
            Cow::Owned(clean) => to.write_all(clean.as_bytes())?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Mask for Known {
        fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
            Cow::Owned(text.replace("hunter2hunter2", "[gone]"))
        }
    }

    fn copied(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        copy(bytes, &mut out, &Known).unwrap();
        out
    }

    #[test]
    fn a_secret_goes_and_foreign_bytes_stay() {
        assert_eq!(copied(b"a hunter2hunter2 b\nplain"), b"a [gone] b\nplain");
        assert_eq!(copied(b"\xff\xfe latin\n"), b"\xff\xfe latin\n");
        assert!(!copied(b"\xff hunter2hunter2\n").windows(7).any(|w| w == b"hunter2"));
    }

    #[test]
    fn a_private_key_goes_to_its_last_line() {
        let text = b"before\n+-----BEGIN RSA PRIVATE KEY-----\n+MIIabc\n+def\n+-----END RSA PRIVATE KEY-----\nafter\n";
        assert_eq!(String::from_utf8(copied(text)).unwrap(), "before\n+[private key removed]\nafter\n");
        let public = b"-----BEGIN PUBLIC KEY-----\nMIIabc\n-----END PUBLIC KEY-----\n";
        assert_eq!(copied(public), public);
    }

    #[test]
    fn a_line_without_an_end_is_copied_whole() {
        let long = vec![b'x'; 3 * MAX_LINE as usize + 5];
        assert_eq!(copied(&long), long);
    }
}
