//! Logs on stderr, as text for people or JSON for machines.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::error::Error;

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for readers.
    Text,
    /// One JSON object in each line, for machines.
    Json,
}

/// The filter without RUST_LOG: this program from `info`, libraries from `warn`.
const DEFAULT_FILTER: &str =
    "warn,orders=info,gateway=info,processor=info,broker=info,connection=info,subscriber=info";

/// Starts logging. Earlier log lines are dropped.
pub(crate) fn install(format: LogFormat) -> Result<(), Error> {
    let (wanted, _) = filter();
    let filter = EnvFilter::try_new(&wanted).map_err(|error| {
        Error::usage(format!("RUST_LOG is {wanted:?}: {error}"))
            .hint("use a level or a list such as info or warn,gateway=debug")
    })?;
    // A line that cannot be written is dropped. The subscriber would report it with `eprintln`, which panics in the
    // task that logs if stderr is closed.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let installed = match format {
        LogFormat::Text => lines
            .with_ansi(std::io::stderr().is_terminal() && wants_colors(std::env::var_os("NO_COLOR")))
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| Error::failed(format!("cannot start logging: {error}")))
}

/// Checks that NO_COLOR is unset or empty (<https://no-color.org>).
fn wants_colors(no_color: Option<OsString>) -> bool {
    no_color.is_none_or(|value| value.is_empty())
}

/// Returns the log filter and its source.
pub(crate) fn filter() -> (String, &'static str) {
    match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.trim().is_empty() => (wanted, "environment"),
        _ => (DEFAULT_FILTER.to_owned(), "default"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_with_a_value_disables_colours() {
        assert!(wants_colors(None) && wants_colors(Some("".into())));
        assert!(!wants_colors(Some("1".into())) && !wants_colors(Some("0".into())));
    }
}
