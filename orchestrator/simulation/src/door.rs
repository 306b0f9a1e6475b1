//! What chance does to the store's answers.

use async_trait::async_trait;
use cloud_code_store::StoreError;

use crate::memory::{Access, Answer, Door};
use crate::world::{Fault, World};

/// A door that chance keeps.
pub(crate) struct StoreDoor(pub(crate) World);

const READ: &[Fault] = &[Fault::CrashBefore, Fault::Refuse, Fault::Slow];
/// A database elsewhere may commit and lose the line, so an error is no proof that nothing was done.
const WRITE: &[Fault] = &[
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::CrashAfter,
    Fault::Refuse,
    Fault::Lose,
    Fault::Slow,
    Fault::Full,
];

#[async_trait]
impl Door for StoreDoor {
    async fn before(&self, call: &'static str, access: Access) -> Result<Answer, StoreError> {
        let menu = match access {
            Access::Read => READ,
            Access::Write => WRITE,
        };
        match self.0.fault(call, menu).await {
            Some(Fault::Refuse | Fault::Limit) => Err(StoreError::Busy { seconds: 10 }),
            Some(Fault::Full) => Err(StoreError::DiskFull),
            Some(Fault::Lose) => Ok(Answer::Lost),
            Some(Fault::CrashAfter) => Ok(Answer::Never),
            Some(Fault::CrashBefore | Fault::Slow) | None => {
                self.0.goes_on().await;
                Ok(Answer::Given)
            }
        }
    }

    async fn after(&self, call: &'static str, answer: Answer) -> Result<(), StoreError> {
        match answer {
            Answer::Given => Ok(()),
            Answer::Lost => Err(StoreError::Busy { seconds: 10 }),
            Answer::Never => {
                self.0.crash_here(call).await;
                Ok(())
            }
        }
    }
}
