//! Servers that speak the protocol of MySQL and on which orders are not safe.
//!
//! They accept every statement of this program and take other locks than MySQL, so nothing else would show the danger.

use super::ConnectError;

/// Queries the version. Such a server states its name in one of these.
pub(super) const VERSION: &str = "SELECT CONCAT_WS(' ', VERSION(), @@version_comment)";

/// The names of the servers, and why orders are not safe there.
const UNSAFE: [(&str, &str); 2] = [
    (
        "TiDB",
        "it accepts FOR UPDATE SKIP LOCKED and takes no lock, so gateways would take the same orders at once",
    ),
    (
        "OceanBase",
        "it does not support shared locks of rows, so orders would start while the queue is paused",
    ),
];

/// Returns the error of a server that states this version, if orders are not safe there.
pub(super) fn refusal(version: &str) -> Option<ConnectError> {
    unsafe_engine(version).map(|(name, reason)| ConnectError::UnsafeEngine { name, reason })
}

/// Returns whether the server that states this version is vtgate.
pub(super) fn is_vitess(version: &str) -> bool {
    version.contains("Vitess")
}

fn unsafe_engine(version: &str) -> Option<(&'static str, &'static str)> {
    let version = version.to_ascii_lowercase();
    UNSAFE.into_iter().find(|(name, _)| version.contains(&name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_recognised_by_their_versions() {
        let name = |version| unsafe_engine(version).map(|(name, _)| name);
        for (version, expected) in [
            ("8.0.11-TiDB-v8.5.6 TiDB Server (Apache License 2.0) Community Edition", Some("TiDB")),
            // The setting `server-version` hides the name in the version.
            ("8.0.40 TiDB Server (Apache License 2.0) Community Edition, MySQL 8.0 compatible", Some("TiDB")),
            ("5.7.25-OceanBase_CE-v4.3.5.0 OceanBase_CE 4.3.5.0", Some("OceanBase")),
            ("5.7.25-OceanBase-v4.4.2.2", Some("OceanBase")),
            ("10.11.19-MariaDB-0+deb12u1-log Debian 12", None),
            ("9.7.4-2 (Debian)", None),
            ("8.4.2 MySQL Community Server - GPL", None),
            ("8.0.36-28.1 Percona XtraDB Cluster (GPL)", None),
            ("8.0.43-Vitess Version: 24.0.4", None),
            ("8.0.39 Source distribution", None),
        ] {
            assert_eq!(name(version), expected, "{version}");
            assert_eq!(is_vitess(version), version.contains("Vitess Version"), "{version}");
        }
    }
}
