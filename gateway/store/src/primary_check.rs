//! Checks whether the server is still the primary, and closes the connections if not.

use super::primary::IS_READ_ONLY;
use super::statement::Statement;
use super::{Dialect, Error, Outage, Shard};

impl Shard {
    /// Queries whether the server has become read-only, and abandons it if so.
    ///
    /// For a gateway whose connections are never idle and that has nothing to write.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn check_primary(&self) -> Result<(), Error> {
        // vtgate finds the primary of a shard itself.
        if self.inner.dialect == Dialect::Sqlite || self.inner.place.is_some() {
            return Ok(());
        }
        let read = self.read(|connection| Box::pin(Statement::new(IS_READ_ONLY).fetch(connection)));
        let rows = read.await?;
        if rows.first().map_or(Ok(0), |row| row.get::<i64>(0))? != 0 {
            if let Some(hosts) = &self.inner.hosts {
                hosts.suspect();
            }
            if self.inner.primary.may_leave() {
                self.close_idle_writers();
            }
        }
        Ok(())
    }

    /// Closes the idle connections that write.
    pub(super) fn close_idle_writers(&self) {
        self.inner.writers.close_idle();
        if let Some(numbering) = &self.inner.numbering {
            numbering.close_idle();
        }
    }

    /// Closes all connections, those of readers too, after the server has refused a change as read-only.
    ///
    /// When one connection leads to a former primary all do, and new ones may reach the new primary. With several hosts,
    /// also a lost one is searched for.
    pub(super) fn abandon_if_read_only<T>(&self, result: &Result<T, Error>) {
        self.suspect_host(result);
        if matches!(result, Err(Error::Unavailable(Outage::ReadOnly(_)))) {
            self.inner.primary.leave();
            self.close_idle_writers();
        }
    }
}
