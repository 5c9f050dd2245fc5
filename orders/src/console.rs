//! Standard output, for results such as a schema or a banner. Logs and errors go to stderr.

use std::io::{ErrorKind, Write};

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
