//! SQL. Nothing outside this module knows any.
use domain::Timestamp;

use crate::Error;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store;

#[allow(clippy::unused_async, clippy::unimplemented)]
impl Store {
    /// The database's time.
    pub fn now(&self) -> Timestamp {
        unimplemented!()
    }
    /// Asks the database something; for readiness.
    pub async fn ping(&self) -> Result<(), Error> {
        unimplemented!()
    }
}
