//! Answers of one installation that need not be sent twice: an unchanged one costs nothing of the hourly limit.
//!
//! Own and small, as octocrab's keys by address alone, is shared by all installations of a client and never forgets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;

/// Addresses that are remembered: the polls of some dozen repositories and the issues that are worked on.
const MAX_ENTRIES: usize = 512;
/// Bytes of all remembered bodies.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) etag: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Arc<[u8]>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<String, (u64, Remembered)>,
    bytes: usize,
    uses: u64,
}

#[derive(Default)]
pub(super) struct EtagCache(Mutex<Inner>);

impl EtagCache {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, path: &str) -> Option<Remembered> {
        let mut inner = self.inner();
        inner.uses += 1;
        let now = inner.uses;
        let (used, remembered) = inner.entries.get_mut(path)?;
        *used = now;
        Some(remembered.clone())
    }

    pub(super) fn put(&self, path: &str, remembered: Remembered) {
        let mut inner = self.inner();
        inner.uses += 1;
        let now = inner.uses;
        inner.bytes += remembered.body.len();
        if let Some((_, old)) = inner.entries.insert(path.to_owned(), (now, remembered)) {
            inner.bytes -= old.body.len();
        }
        while inner.entries.len() > MAX_ENTRIES || inner.bytes > MAX_BYTES {
            let oldest =
                inner.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(path, _)| path.clone());
            let Some((_, gone)) = oldest.and_then(|path| inner.entries.remove(&path)) else { break };
            inner.bytes -= gone.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(size: usize) -> Remembered {
        Remembered { etag: "e".to_owned(), headers: HeaderMap::new(), body: vec![0; size].into() }
    }

    #[test]
    fn it_forgets_what_was_used_longest_ago() {
        let cache = EtagCache::default();
        for number in 0..MAX_ENTRIES {
            cache.put(&number.to_string(), remembered(1));
        }
        assert!(cache.get("0").is_some());
        cache.put("one more", remembered(1));
        assert!(cache.get("0").is_some());
        assert!(cache.get("1").is_none());
        cache.put("huge", remembered(MAX_BYTES));
        assert!(cache.get("0").is_none());
        assert_eq!(cache.inner().bytes, MAX_BYTES);
        cache.put("huge", remembered(2));
        assert_eq!(cache.inner().bytes, 2);
    }
}
