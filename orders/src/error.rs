//! The error that ends the program: one line `error: …` with the problem, and one line `hint: …` with what to do.

use std::io::Write;
use std::process::ExitCode;

/// The meaning of an error for a script: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The program or its surroundings.
    Failed,
    /// The command line, a setting or a value.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// A permission, the present state, a quota or the user.
    Refused,
    /// A gateway or the database does not respond: the command can be repeated later.
    Unavailable,
}

impl Kind {
    /// Every kind, in the order of the exit codes, with its meaning for the reference.
    #[cfg(test)]
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (
            Self::Failed,
            "failure, with the cause on stderr; for `doctor` also a finding, for `health` a part that is not ready, for `watch` a failed order",
        ),
        (Self::Usage, "invalid command line, setting or value"),
        (Self::NotFound, "what the command names does not exist"),
        (
            Self::Refused,
            "refused: by a missing permission, the present state, a quota or the answer to a question; for `watch` a cancelled order",
        ),
        (
            Self::Unavailable,
            "the gateway or the database does not respond or is overloaded; the command can be repeated later",
        ),
    ];

    /// Returns the exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unavailable => 5,
        }
    }
}

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Error {
    message: String,
    hint: Option<String>,
    kind: Kind,
}

impl Error {
    /// Creates an error of the command line or the environment: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Creates an error of the program or its surroundings: exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Creates an error about something that does not exist: exit code 3.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Creates an error about something that is not permitted, or not in the present state: exit code 4.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Creates an error of this kind.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, kind }
    }

    /// Returns the kind.
    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns whether the same command can succeed later.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Adds a hint: what the user can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds where the problem is, before the message.
    pub(crate) fn prefix(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Returns the hint, or an empty string.
    #[cfg(test)]
    pub(crate) fn hint_text(&self) -> &str {
        self.hint.as_deref().unwrap_or_default()
    }

    /// Prints the error to stderr, and returns the exit code. A closed stderr is ignored.
    pub(crate) fn report(&self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "error: {}", join_lines(&self.message));
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "hint: {}", join_lines(hint));
        }
        ExitCode::from(self.kind.code())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&join_lines(&self.message))
    }
}

/// The errors of a command that continues after an error.
#[derive(Debug, Default)]
pub(crate) struct Failures(Vec<Kind>);

impl Failures {
    /// Adds an error.
    pub(crate) fn add(&mut self, error: &Error) {
        self.0.push(error.kind);
    }

    /// Returns the number of errors.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the result of a command for `total` things. The kind is that of the errors if it is the same for all.
    pub(crate) fn result(&self, total: usize, problem: &str) -> Result<(), Error> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let kind = if self.0.iter().all(|kind| kind == first) { *first } else { Kind::Failed };
        Err(Error::new(kind, format!("{} of {total} {problem}", self.0.len()))
            .hint("the output above has the reason for each"))
    }
}

/// Joins the lines of a message: messages of libraries can span lines, and scripts rely on one line.
fn join_lines(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_numbered_by_meaning() {
        let codes: Vec<u8> = Kind::ALL.iter().map(|(kind, _)| kind.code()).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_same_errors_have_one_kind() {
        let result = |errors: &[Error]| {
            let mut failures = Failures::default();
            errors.iter().for_each(|error| failures.add(error));
            failures.result(3, "x").map_err(|error| error.kind())
        };
        assert_eq!(result(&[]), Ok(()));
        assert_eq!(result(&[Error::not_found("a"), Error::not_found("b")]), Err(Kind::NotFound));
        assert_eq!(result(&[Error::not_found("a"), Error::refused("b")]), Err(Kind::Failed));
    }
}
