//! What a person sees when the program cannot go on: one line `error: …` that names what is wrong,
//! and one line `hint: …` that says what to do about it.

use std::io::Write;
use std::process::ExitCode;

/// Why the program ends without having done what it was asked for.
#[derive(Debug)]
pub(crate) struct Error {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Error {
    /// The command line or the environment is wrong: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: 2 }
    }

    /// Something around the program is not as it must be: exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: 1 }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do about it; empty without a hint.
    #[cfg(test)]
    pub(crate) fn hint_text(&self) -> &str {
        self.hint.as_deref().unwrap_or_default()
    }

    /// Prints it to stderr and says how to exit. When stderr is gone there is nobody left to tell.
    pub(crate) fn report(&self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "error: {}", one_line(&self.message));
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "hint: {}", one_line(hint));
        }
        ExitCode::from(self.code)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(&self.message))
    }
}

/// Messages of libraries may span lines; scripts that read ours may rely on one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
