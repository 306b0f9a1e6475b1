//! What tasks used, added up for their issues, projects and days.

use async_trait::async_trait;
use cloud_code_model::{Balance, Payer, ScopeKind, Spent};
use jiff::Timestamp;

use crate::StoreError;

/// The balances of a task's accounts, in the order of [`ScopeKind::ALL`].
pub type Balances = [(ScopeKind, Balance); 4];

/// Charges and grants. Each call is one transaction.
#[async_trait]
pub trait Spending: Send + Sync {
    /// Notes what a task used in all so far, and charges what is new of it to each of its accounts. The same figures again
    /// change nothing, so a look after a crash charges nothing twice.
    async fn charge(&self, payer: &Payer, so_far: Spent) -> Result<Balances, StoreError>;
    /// The balances as they are.
    async fn balances(&self, payer: &Payer) -> Result<Balances, StoreError>;
    /// Allows accounts of a payer as much again, all or none, and returns which. A yes that was counted already, found by
    /// its key, allows nothing more: what it allowed then is returned.
    async fn grant(
        &self,
        payer: &Payer,
        scopes: &[ScopeKind],
        key: &str,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<Vec<ScopeKind>, StoreError>;
}
