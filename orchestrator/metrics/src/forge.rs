//! What a forge said of our limits and keys, as it said it last. Nothing is asked for this: every answer carries it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What one account may still ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// In a window.
    pub limit: u64,
    /// Left in this one.
    pub remaining: u64,
    /// When the next one begins, as a Unix time.
    pub reset_at: u64,
}

/// Whether an account's key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The forge took it.
    Taken,
    /// The forge knows it no more.
    Refused,
}

/// The accounts that were spoken for: `own` is the App itself or the token, beside it `installation-N`.
#[derive(Debug, Default)]
pub struct Accounts {
    known: Mutex<BTreeMap<String, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    quotas: BTreeMap<String, Quota>,
    credentials: Option<Credentials>,
}

impl Accounts {
    /// The forge told what is left of a resource (`core`, `graphql`).
    pub fn quota(&self, account: &str, resource: &str, quota: Quota) {
        self.change(account, |known| {
            known.quotas.insert(resource.to_owned(), quota);
        });
    }

    /// The forge took or refused the key.
    pub fn credentials(&self, account: &str, credentials: Credentials) {
        self.change(account, |known| known.credentials = Some(credentials));
    }

    /// The accounts whose key was refused last.
    pub fn refused(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = known.iter().filter(|(_, account)| account.credentials == Some(Credentials::Refused));
        refused.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn each_quota(&self, mut tell: impl FnMut(&str, &str, Quota)) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, account) in known.iter() {
            for (resource, quota) in &account.quotas {
                tell(name, resource, *quota);
            }
        }
    }

    pub(crate) fn each_credentials(&self, mut tell: impl FnMut(&str, Credentials)) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, account) in known.iter() {
            if let Some(credentials) = account.credentials {
                tell(name, credentials);
            }
        }
    }

    fn change(&self, account: &str, change: impl FnOnce(&mut Account)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(account) {
            Some(account) => change(account),
            None => change(known.entry(account.to_owned()).or_default()),
        }
    }
}
