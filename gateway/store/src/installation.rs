//! What all gateways of one database share.

use std::fmt;

use domain::LeasePrefix;

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
