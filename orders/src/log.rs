//! Logs on stderr, as text for people or JSON for machines.

mod json_line;
mod text_line;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

use self::json_line::JsonLine;
use self::text_line::TextLine;
use crate::error::Error;
use crate::output::{Stream, is_colored};

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for readers.
    Text,
    /// One JSON object in each line, for machines.
    Json,
}

/// The filter without RUST_LOG: this program from `info`, libraries from `warn`. The pool of sqlx logs an error for each attempt to
/// connect, of which the store reports the result.
const DEFAULT_FILTER: &str = "warn,sqlx_core::pool=off,\
    orders=info,gateway=info,processor=info,broker=info,connection=info,subscriber=info";

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
        LogFormat::Text => {
            let colored = is_colored(Stream::Stderr);
            lines.with_ansi(colored).event_format(TextLine::new(colored)).try_init()
        }
        LogFormat::Json => lines.fmt_fields(JsonFields::new()).event_format(JsonLine).try_init(),
    };
    installed.map_err(|error| Error::failed(format!("cannot start logging: {error}")))
}

/// Returns the log filter and its source.
pub(crate) fn filter() -> (String, &'static str) {
    match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.trim().is_empty() => (wanted, "environment"),
        _ => (DEFAULT_FILTER.to_owned(), "default"),
    }
}
