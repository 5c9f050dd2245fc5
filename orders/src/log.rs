//! Logs on stderr, as text for people or JSON for machines.

use std::ffi::OsString;
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
        LogFormat::Text => lines
            .with_ansi(std::io::stderr().is_terminal() && wants_colors(std::env::var_os("NO_COLOR")))
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| Error::failed(format!("cannot start logging: {error}")))
}

/// Colours are for terminals, and for those who have not set NO_COLOR to any text (<https://no-color.org>).
fn wants_colors(no_color: Option<OsString>) -> bool {
    no_color.is_none_or(|value| value.is_empty())
}

/// What is logged, and where that is from.
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
    fn no_color_with_any_text_turns_colours_off() {
        assert!(wants_colors(None) && wants_colors(Some("".into())));
        assert!(!wants_colors(Some("1".into())) && !wants_colors(Some("0".into())));
    }
}
