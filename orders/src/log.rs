//! Logs on stderr, as text for people or JSON for machines.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::error::Error;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What is logged when RUST_LOG says nothing: ours from `info`, everybody else's from `warn`.
const DEFAULT_FILTER: &str = "warn,orders=info,gateway=info,processor=info,broker=info";

/// Starts logging. Before this, log lines go nowhere.
pub(crate) fn install(format: LogFormat) -> Result<(), Error> {
    let (wanted, _) = filter();
    let filter = EnvFilter::try_new(&wanted).map_err(|error| {
        Error::usage(format!("RUST_LOG is {wanted:?}: {error}"))
            .hint("use a level or a list such as info or warn,gateway=debug")
    })?;
    // A line that cannot be written is dropped. Saying so would go to stderr as well, where `eprintln`
    // panics when the reader is gone, in whichever task happened to log.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let installed = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| Error::failed(format!("cannot start logging: {error}")))
}

/// What is logged, and where that is from.
pub(crate) fn filter() -> (String, &'static str) {
    match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.trim().is_empty() => (wanted, "environment"),
        _ => (DEFAULT_FILTER.to_owned(), "default"),
    }
}
