//! Colours: only on a terminal, unless the user decides otherwise.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;

/// When output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Also in files and pipes.
    Always,
    /// Without colours.
    Never,
}

/// The choice of the command line. The terminal belongs to the process, and so does the choice for it.
static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// An output of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Results.
    Stdout,
    /// Logs, explanations and progress.
    Stderr,
}

/// Sets the choice of the command line, once.
pub(crate) fn set_color(choice: ColorChoice) {
    let _ = CHOICE.set(choice);
}

/// Returns whether an output has colours.
pub(crate) fn is_colored(stream: Stream) -> bool {
    let is_terminal = match stream {
        Stream::Stdout => std::io::stdout().is_terminal(),
        Stream::Stderr => std::io::stderr().is_terminal(),
    };
    let choice = CHOICE.get().copied().unwrap_or_default();
    decide(choice, std::env::var_os("NO_COLOR").as_deref(), is_terminal)
}

/// `--color` wins over NO_COLOR, which has an effect with any value but an empty one (<https://no-color.org>).
fn decide(choice: ColorChoice, no_color: Option<&OsStr>, is_terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && no_color.is_none_or(OsStr::is_empty),
    }
}

/// Returns the code of the colour of a status or state; `None` for other words.
pub(super) fn of_word(word: &str) -> Option<&'static str> {
    match word {
        "completed" | "active" | "connected" | "running" | "ok" | "succeeded" => Some("32"),
        "failed" | "disabled" | "revoked" | "lost" | "suspended" | "unavailable" => Some("31"),
        "retrying" | "failing" | "paused" | "draining" | "degraded" | "expired" => Some("33"),
        "processing" => Some("34"),
        "pending" | "waiting" => Some("36"),
        "cancelled" | "disconnected" => Some("2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_decided_by_flag_variable_and_terminal() {
        let set = Some(OsStr::new("1"));
        for (choice, no_color, is_terminal, expected) in [
            (ColorChoice::Auto, None, true, true),
            (ColorChoice::Auto, Some(OsStr::new("")), true, true),
            (ColorChoice::Auto, set, true, false),
            (ColorChoice::Auto, Some(OsStr::new("0")), true, false),
            (ColorChoice::Auto, None, false, false),
            (ColorChoice::Always, set, false, true),
            (ColorChoice::Never, None, true, false),
        ] {
            assert_eq!(decide(choice, no_color, is_terminal), expected, "{choice:?} {no_color:?}");
        }
    }
}
