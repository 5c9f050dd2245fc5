//! Reads the identity of the installation.

use super::statement::Statement;
use super::{Error, Installation, Shard};

impl Shard {
    /// Returns the identity, which is read once.
    ///
    /// # Errors
    /// [`Error`]; the tables must be up to date.
    pub async fn installation(&self) -> Result<Installation, Error> {
        // Only the first shard has the identity.
        let first = self.inner.first.as_ref().unwrap_or(self);
        let read = || {
            first.read(|connection| {
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
        first.inner.installation.get_or_try_init(read).await.copied()
    }
}
