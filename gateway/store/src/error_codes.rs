//! What the error codes of the servers mean.
//!
//! A code that is not listed is a defect of this program. Every error is listed that a correct statement can get from a
//! server that is misconfigured, overloaded, part of a cluster or replaced by another one.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

/// What an error of the server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The transaction was rolled back, or can be, and can be repeated.
    Conflict,
    /// A row stayed locked.
    Locked,
    ConnectionLimit,
    ReadOnly,
    Full,
    /// The user lacks a privilege, or the server no longer accepts its password.
    Denied,
    /// The server prepares no more statements.
    StatementLimit,
    /// The server ended a statement that ran for too long.
    StatementTime,
    /// A statement or a row is longer than the server accepts.
    PacketLimit,
    /// The server has a setting, or lacks tables, with which no order can be written.
    Misconfigured,
    Away,
    Defect,
}

/// Deadlock or failed certification (Galera, at COMMIT too), and (MariaDB) a row that changed since it was read; Group
/// Replication rolled the transaction back at COMMIT; a table was altered: as detected by a snapshot, and by a prepared
/// statement; the codes of XA for a deadlock and a timeout; a lock wait timeout at the counter of a table.
const CONFLICTS: [u16; 8] = [1213, 1020, 3101, 1412, 1615, 1613, 1614, 1467];
/// Lock wait timeout; a lock with NOWAIT.
const LOCKED: [u16; 2] = [1205, 3572];
/// Too many connections: of the server, of the user (two codes); no thread for another one.
const CONNECTION_LIMIT: [u16; 4] = [1040, 1203, 1226, 1135];
/// Read-only: by option, by mode, by transaction, the table, InnoDB.
const READ_ONLY: [u16; 5] = [1290, 1836, 1792, 1036, 1874];
/// Table full, disk full (two codes).
const FULL: [u16; 3] = [1114, 1021, 20];
/// A file cannot be written (two codes), "got error … from storage engine": the message states the cause.
const DISK: [u16; 3] = [3, 1026, 1030];
/// What a message contains when the disk, or the server's quota, is full.
const NO_SPACE: [&str; 6] =
    ["Errcode: 28 ", "errno: 28 ", "error 28 ", "Errcode: 122 ", "errno: 122 ", "error 122 "];
/// Access denied to a database, for a user (two plugins), to a table, to a column, to an operation, to a routine; a
/// host that may not connect; a locked account; an expired password (three codes).
const DENIED: [u16; 12] = [1044, 1045, 1698, 1142, 1143, 1227, 1370, 1130, 3118, 1820, 1862, 3955];
const STATEMENT_LIMIT: [u16; 1] = [1461];
/// MariaDB's `max_statement_time`, MySQL's `max_execution_time`.
const STATEMENT_TIME: [u16; 2] = [1969, 3024];
/// `max_allowed_packet`: of a statement, of a result.
const PACKET_LIMIT: [u16; 2] = [1153, 1162];
/// `binlog_format=STATEMENT` (two codes), a table or an isolation level that Group Replication refuses, GTID
/// consistency; no such database, no such table, a missing column.
const MISCONFIGURED: [u16; 7] = [1665, 1598, 3098, 1785, 1049, 1146, 1054];
/// - Shutting down, killed, connection killed, closed after being idle, aborted.
/// - Galera: the node is not in a primary component, or is joining ("unknown command"), and an error at COMMIT.
/// - Group Replication: a hook refused the statement; the new primary still applies a backlog (timeout, killed, member
///   in error state).
/// - Out of memory (three codes).
/// - A host that is blocked after failures; the network between the parts of the server.
/// - What a proxy reports for its server: gone, lost, unreachable (three codes), no connection in time.
const AWAY: [u16; 26] = [
    1053, 1317, 1927, 4031, 1152, 1184, // the connection
    1047, 1180, 3100, 3796, 3797, 3798, // clusters
    1037, 1038, 1041, 1129, 1158, 1159, 1160, 1161, // resources
    2002, 2003, 2006, 2013, 2055, 9001, // proxies
];

/// Vitess reports its own errors with the code of an unknown error. The message states the cause.
const UNKNOWN: u16 = 1105;
/// The shard of the statement has no primary that responds.
const SHARD_AWAY: [&str; 6] = [
    "no healthy tablet available",
    "operation not allowed in state",
    "primary is not serving",
    "code = Unavailable",
    "code = DeadlineExceeded",
    "code = Canceled",
];
/// vttablet has ended the transaction, or has started since.
const SHARD_CONFLICT: &str = "code = Aborted";

/// SQLite: busy, locked.
const SQLITE_CONFLICTS: [i32; 2] = [5, 6];
/// SQLite: read-only.
const SQLITE_READ_ONLY: i32 = 8;
/// SQLite: the disk, or the largest size of the file, is full.
const SQLITE_FULL: i32 = 13;
/// SQLite: I/O error, cannot open.
const SQLITE_AWAY: [i32; 2] = [10, 14];

pub(super) fn kind(error: &(dyn DatabaseError + 'static)) -> Kind {
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return mysql_kind(mysql.number(), mysql.message());
    }
    // SQLite: the extended code; its lowest byte is the primary one.
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    match code {
        Some(code) if SQLITE_CONFLICTS.contains(&code) => Kind::Conflict,
        Some(SQLITE_READ_ONLY) => Kind::ReadOnly,
        Some(SQLITE_FULL) => Kind::Full,
        Some(code) if SQLITE_AWAY.contains(&code) => Kind::Away,
        _ => Kind::Defect,
    }
}

fn mysql_kind(number: u16, message: &str) -> Kind {
    if DISK.contains(&number) {
        return if NO_SPACE.iter().any(|text| message.contains(text)) { Kind::Full } else { Kind::Away };
    }
    if number == UNKNOWN {
        return match () {
            () if SHARD_AWAY.iter().any(|text| message.contains(text)) => Kind::Away,
            () if message.contains(SHARD_CONFLICT) => Kind::Conflict,
            () => Kind::Defect,
        };
    }
    let table: [(&[u16], Kind); 11] = [
        (&CONFLICTS, Kind::Conflict),
        (&LOCKED, Kind::Locked),
        (&CONNECTION_LIMIT, Kind::ConnectionLimit),
        (&READ_ONLY, Kind::ReadOnly),
        (&FULL, Kind::Full),
        (&DENIED, Kind::Denied),
        (&STATEMENT_LIMIT, Kind::StatementLimit),
        (&STATEMENT_TIME, Kind::StatementTime),
        (&PACKET_LIMIT, Kind::PacketLimit),
        (&MISCONFIGURED, Kind::Misconfigured),
        (&AWAY, Kind::Away),
    ];
    table.iter().find(|(codes, _)| codes.contains(&number)).map_or(Kind::Defect, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages are those of MariaDB.
    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        for (number, text, kind) in [
            (1114, "The table 'orders' is full", Kind::Full),
            (1021, "Disk full (/tmp/#sql); waiting for someone to free some space...", Kind::Full), // prose:allow
            (3, "Error writing file '/tmp/ML' (Errcode: 28 \"No space left on device\")", Kind::Full),
            (3, "Error writing file '/tmp/ML' (Errcode: 5 \"Input/output error\")", Kind::Away),
            (1026, "Error writing file 'binlog' (errno: 28 \"No space left on device\")", Kind::Full),
            (1030, "Got error 28 \"No space left on device\" from storage engine InnoDB", Kind::Full),
            (1030, "Got error 122 \"Disk quota exceeded\" from storage engine InnoDB", Kind::Full),
            (1030, "Got error 128 \"Out of memory in engine\" from storage engine InnoDB", Kind::Away),
        ] {
            assert_eq!(mysql_kind(number, text), kind, "{number} {text}");
        }
    }

    #[test]
    fn a_shard_that_does_not_respond_is_no_defect() {
        for (text, kind) in [
            (
                "target: orders.80-.primary: no healthy tablet available for 'keyspace:\"orders\" shard:\"80-\"'",
                Kind::Away,
            ),
            (
                "target: orders.80-.primary: vttablet: rpc error: code = ClusterEvent desc = operation not allowed in state NOT_SERVING",
                Kind::Away,
            ),
            ("vttablet: rpc error: code = Unavailable desc = error reading from server: EOF", Kind::Away),
            ("vttablet: rpc error: code = Aborted desc = transaction 17: not found", Kind::Conflict),
            (
                "vttablet: rpc error: code = InvalidArgument desc = You have an error in your SQL",
                Kind::Defect,
            ),
        ] {
            assert_eq!(mysql_kind(UNKNOWN, text), kind, "{text}");
        }
    }

    #[test]
    fn conditions_of_clusters_and_managed_servers_are_no_defects() {
        for (number, kind) in [
            (1047, Kind::Away),
            (1213, Kind::Conflict),
            (1467, Kind::Conflict),
            (3101, Kind::Conflict),
            (3100, Kind::Away),
            (3796, Kind::Away),
            (1290, Kind::ReadOnly),
            (1836, Kind::ReadOnly),
            (1792, Kind::ReadOnly),
            (1205, Kind::Locked),
            (1180, Kind::Away),
            (1461, Kind::StatementLimit),
            (1969, Kind::StatementTime),
            (3024, Kind::StatementTime),
            (1615, Kind::Conflict),
            (1412, Kind::Conflict),
            (1041, Kind::Away),
            (1153, Kind::PacketLimit),
            (1142, Kind::Denied),
            (1143, Kind::Denied),
            (1044, Kind::Denied),
            (1045, Kind::Denied),
            (1665, Kind::Misconfigured),
            (1598, Kind::Misconfigured),
            (1064, Kind::Defect),
        ] {
            assert_eq!(mysql_kind(number, ""), kind, "{number}");
        }
    }
}
