//! Bodies as they lie on disk.
//!
//! Webhooks are JSON full of repeated addresses: LZ4 leaves a fourth of them, at a cost far below that of the bytes it
//! saves, each of which is written twice and flushed twice. Stronger packing was rejected: it takes longer than the disk.

use std::borrow::Cow;

/// Shorter bodies gain nothing.
const LEAST: usize = 512;
/// Longer bodies are stored as they are: packing would hold up the thread it runs on for milliseconds. Such a body is a
/// push of thousands of files, which is rare.
const MOST: usize = 1024 * 1024;

/// How a body is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it came.
    Plain,
    /// One LZ4 block behind its unpacked length.
    Lz4,
}

impl Packing {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Lz4 => "lz4",
        }
    }
}

/// A body for the disk.
pub(super) fn pack(body: &[u8]) -> (Packing, Cow<'_, [u8]>) {
    if !(LEAST..=MOST).contains(&body.len()) {
        return (Packing::Plain, Cow::Borrowed(body));
    }
    let packed = lz4_flex::compress_prepend_size(body);
    match packed.len() < body.len() {
        true => (Packing::Lz4, Cow::Owned(packed)),
        false => (Packing::Plain, Cow::Borrowed(body)),
    }
}

/// A body from the disk; an empty one is one that was dropped.
pub(super) fn unpack(packing: &str, stored: &[u8]) -> Result<Vec<u8>, String> {
    if stored.is_empty() || packing == Packing::Plain.as_str() {
        return Ok(stored.to_vec());
    }
    if packing != Packing::Lz4.as_str() {
        return Err(format!("packed as `{packing}`"));
    }
    let (length, block) = lz4_flex::block::uncompressed_size(stored).map_err(|e| e.to_string())?;
    // A row that was changed by hand must not ask for any amount of memory.
    if length > MOST {
        return Err(format!("{length} bytes long"));
    }
    lz4_flex::decompress(block, length).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_comes_back_and_json_is_stored_shorter() {
        let json = r#"{"url":"https://api.github.com/repos/acme/shop/issues/1"},"#.repeat(200).into_bytes();
        let noise: Vec<u8> = (0..5_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let long = vec![b'x'; MOST + 1];
        for body in [&json[..], &noise, &long, b"", b"{}"] {
            let (packing, stored) = pack(body);
            assert_eq!(unpack(packing.as_str(), &stored).unwrap(), body);
        }
        let (packing, stored) = pack(&json);
        assert!(packing == Packing::Lz4 && stored.len() * 4 < json.len(), "{}", stored.len());
        assert_eq!(pack(&long).0, Packing::Plain);
    }

    #[test]
    fn a_row_that_was_damaged_is_an_error() {
        let (_, stored) = pack(&[b'x'; 4_000]);
        assert!(unpack("lz4", stored.get(..8).unwrap()).is_err());
        assert!(unpack("lz4", &[0xff; 20]).is_err());
        assert!(unpack("zip", &stored).is_err());
        assert_eq!(unpack("lz4", b"").unwrap(), b"");
    }
}
