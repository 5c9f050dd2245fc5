//! What all gateways of one database share.

use std::fmt;

use domain::LeasePrefix;

use super::statement::Statement;
use super::{Error, Store};

/// The identity of an installation, which is all gateways on one database. It never changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Installation {
    /// Distinguishes it from other installations.
    pub id: [u8; 16],
    /// Known to its gateways only, and to readers of the database.
    pub secret: [u8; 32],
}

impl Installation {
    /// The prefix of lease tokens of a processor in the process that owns the database.
    pub fn lease_prefix(&self) -> LeasePrefix {
        LeasePrefix::new(u16::from_be_bytes([self.id[0], self.id[1]]))
    }
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Store {
    /// Returns the identity, which is read once.
    ///
    /// # Errors
    /// [`Error`]; the tables must be up to date.
    pub async fn installation(&self) -> Result<Installation, Error> {
        let read = || {
            self.read(|connection| {
                Box::pin(async move {
                    let rows =
                        Statement::new("SELECT id, secret FROM installation").fetch(connection).await?;
                    let row =
                        rows.first().ok_or_else(|| Error::Row("the table installation is empty".into()))?;
                    let (id, secret): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
                    match (id.try_into(), secret.try_into()) {
                        (Ok(id), Ok(secret)) => Ok(Installation { id, secret }),
                        _ => Err(Error::Row("the installation's id or secret has a wrong length".into())),
                    }
                })
            })
        };
        self.inner.installation.get_or_try_init(read).await.copied()
    }
}
