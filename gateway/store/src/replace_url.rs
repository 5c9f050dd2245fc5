//! Replaces the user, the password and the host of an open database.

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, MySqlConnection};
use url::Url;

use super::address::{Address, Target};
use super::assembly::{explain, unreachable};
use super::connect::choose_host;
use super::hot_connections::HotConnections;
use super::session::PrepareError;
use super::{ConnectError, Shard, pools, session};

impl Shard {
    /// Uses another user, password, host or other options for every connection from now on.
    ///
    /// A connection is made first. The present connections are closed after their work. Returns when no further connection
    /// with the previous URL can be made.
    ///
    /// # Errors
    /// As `Store::connect`, and [`ConnectError::OtherDatabase`] if the URL leads to another one. The present connections
    /// then stay in use.
    pub async fn replace_url(&self, url: &str) -> Result<(), ConnectError> {
        let address = Address::parse(url)?;
        let (Target::MySql(urls), Some(present)) = (&address.target, &self.inner.hosts) else {
            return Err(ConnectError::OtherDatabase);
        };
        if self.inner.database_name.as_deref() != urls.first().map(Url::path) {
            return Err(ConnectError::OtherDatabase);
        }
        let installation = self.installation().await.map_err(|error| self.unreachable(error))?;
        let (hosts, current, role) = choose_host(&address, urls, &self.inner.options).await?;
        let read = async {
            let mut connection = MySqlConnection::connect_with(&hosts[current].options).await?;
            session::prepare(&mut connection).await?;
            let id: Vec<u8> =
                sqlx::query_scalar("SELECT id FROM installation").fetch_one(&mut connection).await?;
            drop(connection.close().await);
            Ok(id)
        };
        let id = match tokio::time::timeout(self.inner.options.deadline, read).await {
            Ok(read) => read.map_err(|error: PrepareError| explain(&address, error))?,
            Err(_) => return Err(unreachable(&address.shown, "no answer in time")),
        };
        if id != installation.id {
            return Err(ConnectError::OtherDatabase);
        }
        present.replace(hosts, current, role, |options| self.lead_to(options));
        self.inner.address.store(address.shown);
        // A connection that was being made still has the previous options, and counts as new.
        tokio::time::sleep(pools::acquire_timeout(&self.inner.options)).await;
        self.abandon_connections();
        Ok(())
    }

    /// Makes every connection with these options from now on.
    pub(super) fn lead_to(&self, options: &MySqlConnectOptions) {
        let numbering = self.inner.numbering.as_ref().map(HotConnections::pool);
        let others = [&self.inner.readers, &self.inner.lane.pool, self.inner.writers.pool()];
        for pool in others.into_iter().chain(numbering) {
            pool.set_mysql_options(options);
        }
        self.abandon_connections();
    }

    fn abandon_connections(&self) {
        self.inner.primary.leave();
        self.close_idle_writers();
        self.inner.readers.close_idle();
        self.inner.lane.pool.close_idle();
    }
}
