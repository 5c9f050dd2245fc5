//! Standard output, for results such as a schema or a banner. Logs and errors go to stderr.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};

use crate::error::Error;

/// Prints a string that ends with a line break. A closed pipe, as in `orders schema | head`, is not an error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Prints an explanation to stderr, beside a result on stdout. A closed stderr is ignored.
pub(crate) fn explain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Checks that a question can be asked. `flag` answers it in advance.
pub(crate) fn require_terminal(flag: &str) -> Result<(), Error> {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the command asks before a change, and there is no terminal: {flag} is missing"
    ))
    .hint(format!("check the selection with --dry-run, then give {flag}")))
}

/// Asks a question on the terminal, whose answer is no unless it is y or yes.
pub(crate) fn confirm(question: &str) -> Result<bool, Error> {
    explain(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Error::failed(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
