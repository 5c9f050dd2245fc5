//! Descriptions of the errors with which a Redis server rejects a command.

use redis::RedisError;

/// Error codes of Redis, each with a description that states what to change.
const SERVER_ERRORS: [(&str, &str); 14] = [
    (
        "READONLY",
        "is a replica and takes no jobs; use the address of the primary, or redis+sentinel:// with the addresses of its sentinels",
    ),
    ("MOVED", CLUSTER),
    ("ASK", "is moving the key to another node of the cluster"),
    ("CROSSSLOT", CLUSTER),
    ("CLUSTERDOWN", "is a node of a cluster that is down"),
    ("OOM", "has used up its memory and takes no jobs; raise maxmemory"),
    ("NOAUTH", "requires a password"),
    ("WRONGPASS", "refuses the user name or password"),
    ("NOPERM", "does not let the user use a command or a key that is needed"),
    ("MISCONF", "cannot save its data to disk and takes no jobs"),
    ("NOREPLICAS", "has too few replicas and takes no jobs"),
    ("LOADING", "is loading its data"),
    ("MASTERDOWN", "is a replica without its primary"),
    ("BUSY", "is busy with a script"),
];
const CLUSTER: &str =
    "is a node of a cluster without the key; use redis+cluster:// with the addresses of its nodes";

/// Returns the description of an error, followed by the server's message.
/// `None` if the server did not respond with one of [`SERVER_ERRORS`].
pub(super) fn describe_server_error(cause: &RedisError) -> Option<String> {
    let errors = cause.clone().into_server_errors()?;
    let (_, error) = errors.first()?;
    let (code, description) = SERVER_ERRORS.into_iter().find(|(code, _)| *code == error.code())?;
    Some(match error.details() {
        Some(details) => format!("it {description} ({code} {details})"),
        None => format!("it {description} ({code})"),
    })
}

/// Returns the description of an error, or its text.
pub(super) fn describe(cause: &RedisError) -> String {
    describe_server_error(cause).unwrap_or_else(|| cause.to_string())
}

/// Returns whether the server responded with this error code.
pub(super) fn has_error_code(cause: &RedisError, code: &str) -> bool {
    let errors = cause.clone().into_server_errors();
    errors.is_some_and(|errors| errors.first().is_some_and(|(_, error)| error.code() == code))
}
