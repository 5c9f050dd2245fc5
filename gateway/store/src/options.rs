//! The settings of a store.

use std::time::Duration;

/// Sizes and limits of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for reads, and the same number for writes (SQLite always writes over one).
    pub connections: u32,
    /// Maximum duration of a read or a transaction; half of it may be the wait for a connection. COMMIT gets the same
    /// time again: only the loss of its response leaves the outcome unknown.
    pub deadline: Duration,
    /// Whether the file of an embedded database is created when it does not exist.
    pub create: bool,
    /// Whether the driver sets `sql_mode`, `time_zone` and the character set on each new connection to MySQL.
    ///
    /// Vitess refuses the first, and every setting makes its sessions more expensive.
    pub driver_settings: bool,
    /// Whether events are written to the event log.
    pub event_log: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 8,
            deadline: Duration::from_secs(4),
            create: true,
            driver_settings: true,
            event_log: true,
        }
    }
}
