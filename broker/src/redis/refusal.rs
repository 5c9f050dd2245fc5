//! What a server means that answers and refuses, in words that say what to change.

use redis::RedisError;

/// The words by which servers begin such an answer.
const WORDS: [(&str, &str); 14] = [
    ("READONLY", "is a replica and takes no jobs; use the address of the primary"),
    ("MOVED", CLUSTER),
    ("ASK", CLUSTER),
    ("CROSSSLOT", CLUSTER),
    ("CLUSTERDOWN", CLUSTER),
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
const CLUSTER: &str = "is a node of a cluster, which is not supported; use a server without cluster mode";

/// What the answer means, followed by the answer; `None` when the server did not answer with one of these words.
pub(super) fn explained(cause: &RedisError) -> Option<String> {
    let errors = cause.clone().into_server_errors()?;
    let (_, error) = errors.first()?;
    let (word, meaning) = WORDS.into_iter().find(|(word, _)| *word == error.code())?;
    Some(match error.details() {
        Some(details) => format!("it {meaning} ({word} {details})"),
        None => format!("it {meaning} ({word})"),
    })
}

/// Whether the server answered with this word.
pub(super) fn is(cause: &RedisError, word: &str) -> bool {
    let errors = cause.clone().into_server_errors();
    errors.is_some_and(|errors| errors.first().is_some_and(|(_, error)| error.code() == word))
}
