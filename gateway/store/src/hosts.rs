//! The hosts of the database URL, which of them is in use, and what each of them is.
//!
//! [`super::primary_search`] decides when they are examined.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, MySqlConnection};
use telemetry::LogThrottle;
use tokio::sync::{Notify, watch};

use super::primary::IS_READ_ONLY;

/// Maximum time to examine a host.
const PATIENCE: Duration = Duration::from_secs(2);
/// A wait for a connection that shows that the host may be lost.
pub(super) const SUSPICIOUS_WAIT: Duration = Duration::from_millis(200);

/// Queries whether the table exists. A node of Galera without a quorum refuses to read any table.
const HAS_INSTALLATION: &str = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND \
    table_name = 'installation'";

/// A host of the URL.
#[derive(Clone)]
pub(super) struct Host {
    /// Host and port, for messages.
    pub(super) shown: String,
    pub(super) options: MySqlConnectOptions,
}

/// What a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It accepts changes.
    Primary,
    /// It is read-only.
    Replica,
    /// It has the tables of another installation.
    OtherDatabase,
}

/// The role of each host, or why it cannot be examined.
pub(super) type Examined = Vec<Result<Role, sqlx::Error>>;

/// The hosts of the URL, and the one that is in use.
pub(super) struct Hosts {
    state: Mutex<State>,
    /// Wakes the search.
    pub(super) wanted: Notify,
    /// The number of searches.
    pub(super) searches: watch::Sender<u64>,
    pub(super) log: LogThrottle,
}

pub(super) struct State {
    pub(super) hosts: Arc<[Host]>,
    pub(super) current: usize,
    /// Whether the latest search has found no primary, and the current host as a replica.
    pub(super) admits_replica: bool,
}

impl Hosts {
    /// Creates the state of a store that is connected to `current`, which has this role.
    pub(super) fn new(hosts: Vec<Host>, current: usize, role: Role) -> Self {
        let state = State { hosts: hosts.into(), current, admits_replica: role != Role::Primary };
        Self {
            state: Mutex::new(state),
            wanted: Notify::new(),
            searches: watch::Sender::new(0),
            log: LogThrottle::default(),
        }
    }

    /// Uses other hosts from now on. `lead` leads the pools to the current one.
    pub(super) fn replace(
        &self,
        hosts: Vec<Host>,
        current: usize,
        role: Role,
        lead: impl FnOnce(&MySqlConnectOptions),
    ) {
        // No search leads them elsewhere in between.
        let mut state = self.lock();
        lead(&hosts[current].options);
        *state = State { hosts: hosts.into(), current, admits_replica: role != Role::Primary };
    }

    /// Returns the driver's options for the current host.
    pub(super) fn options(&self) -> MySqlConnectOptions {
        let state = self.lock();
        state.hosts[state.current].options.clone()
    }

    /// Returns the host, if there is one.
    pub(super) fn only(&self) -> Option<Host> {
        let state = self.lock();
        state.hosts.first().filter(|_| state.hosts.len() == 1).cloned()
    }

    /// Returns whether there is more than one host.
    pub(super) fn are_several(&self) -> bool {
        self.lock().hosts.len() > 1
    }

    /// Starts a search, unless there is one host.
    pub(super) fn suspect(&self) {
        if self.are_several() {
            self.wanted.notify_one();
        }
    }

    /// Returns whether a new connection may be used. A read-only server is examined first.
    pub(super) async fn admit(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        if !self.are_several() || sqlx::query_scalar::<_, i64>(IS_READ_ONLY).fetch_one(connection).await? == 0
        {
            return Ok(());
        }
        let mut searches = self.searches.subscribe();
        if !self.lock().admits_replica {
            self.suspect();
            let _ = tokio::time::timeout(PATIENCE, searches.changed()).await;
        }
        match self.lock().admits_replica {
            true => Ok(()),
            false => Err(sqlx::Error::Configuration("the server is a replica".into())),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the host to use: the current one or the first one that accepts changes.
pub(super) fn primary(found: &Examined, current: usize) -> Option<usize> {
    let is_primary = |n: &usize| matches!(found.get(*n), Some(Ok(Role::Primary)));
    Some(current).filter(is_primary).or_else(|| (0..found.len()).find(is_primary))
}

/// Examines all hosts at once. `installation` is the one that they have to contain, if it is known.
pub(super) async fn examine(hosts: &[Host], installation: Option<[u8; 16]>) -> Examined {
    join_all(hosts.iter().map(|host| async move {
        match tokio::time::timeout(PATIENCE, role(host, installation)).await {
            Ok(role) => role,
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }))
    .await
}

async fn role(host: &Host, installation: Option<[u8; 16]>) -> Result<Role, sqlx::Error> {
    let mut connection = MySqlConnection::connect_with(&host.options).await?;
    let read_only: i64 = sqlx::query_scalar(IS_READ_ONLY).fetch_one(&mut connection).await?;
    let has_tables: i64 = sqlx::query_scalar(HAS_INSTALLATION).fetch_one(&mut connection).await?;
    let mut role = if read_only == 0 { Role::Primary } else { Role::Replica };
    if let Some(expected) = installation {
        let id: Option<Vec<u8>> = match has_tables {
            0 => None,
            _ => sqlx::query_scalar("SELECT id FROM installation").fetch_optional(&mut connection).await?,
        };
        if id.as_deref() != Some(&expected[..]) {
            role = Role::OtherDatabase;
        }
    }
    drop(connection.close().await);
    Ok(role)
}

/// Describes what each host is, for messages.
pub(super) fn describe(hosts: &[Host], found: &Examined) -> String {
    let each = hosts.iter().zip(found).map(|(host, found)| match found {
        Ok(Role::Primary) => format!("{}: primary", host.shown),
        Ok(Role::Replica) => format!("{}: read-only", host.shown),
        Ok(Role::OtherDatabase) => format!("{}: another database", host.shown),
        Err(error) => format!("{}: {error}", host.shown),
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_primary_is_kept_and_a_replica_is_never_chosen() {
        let down = || Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into()));
        let (primary_host, replica, other) =
            (|| Ok(Role::Primary), || Ok(Role::Replica), || Ok(Role::OtherDatabase));
        for (found, current, next) in [
            (vec![primary_host(), replica()], 0, Some(0)),
            (vec![replica(), primary_host()], 0, Some(1)),
            (vec![down(), primary_host()], 0, Some(1)),
            // Several accept changes: the nodes of a cluster.
            (vec![primary_host(), primary_host()], 1, Some(1)),
            (vec![primary_host(), primary_host(), down()], 2, Some(0)),
            (vec![down(), replica()], 0, None),
            (vec![down(), other()], 0, None),
        ] {
            assert_eq!(primary(&found, current), next, "{found:?} {current}");
        }
    }
}
