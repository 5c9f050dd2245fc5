use std::io;
use std::path::Path;

/// The reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// The path of the file.
        file: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The content of the file is not usable.
    #[error("{file} {problem}")]
    Content {
        /// The path of the file.
        file: String,
        /// The problem and the change; it continues a sentence that starts with the file.
        problem: String,
    },
    /// The system has no certificate authorities.
    #[error(
        "the system has no certificate authorities: install ca-certificates, or name a file of authorities"
    )]
    NoAuthorities,
}

impl Error {
    pub(crate) fn content(file: &Path, problem: impl Into<String>) -> Self {
        Self::Content { file: file.display().to_string(), problem: problem.into() }
    }
}
