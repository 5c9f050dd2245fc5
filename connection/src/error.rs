//! The errors of connections.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tonic::{Code, Status};

use crate::STEP_TIMEOUT;

/// A setting is invalid.
#[derive(Debug, thiserror::Error)]
#[error("{setting} {problem}")]
pub struct InvalidSetting {
    /// The name of the setting.
    pub setting: &'static str,
    /// The required change; the message continues a sentence that starts with the setting's name.
    pub problem: String,
}

impl InvalidSetting {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }
}

/// The reason why a gateway cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name of the gateway has no address.
    #[error("{host} cannot be resolved: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The connection cannot be opened.
    #[error("{addr}: {}", format_causes(.source))]
    Transport {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        source: tonic::transport::Error,
    },
    /// The gateway has refused the first call.
    #[error("{addr}: {}", format_status(.source))]
    Refused {
        /// The address.
        addr: SocketAddr,
        /// The refusal.
        source: Box<Status>,
    },
    /// The gateway shuts down.
    #[error("{addr}: it shuts down")]
    Draining {
        /// The address.
        addr: SocketAddr,
    },
    /// The gateway has answered with an unexpected message.
    #[error("{addr}: answered with something else than Welcome")]
    NoWelcome {
        /// The address.
        addr: SocketAddr,
    },
    /// There was no answer in time.
    #[error("{what}: no answer within {STEP_TIMEOUT:?}")]
    TimedOut {
        /// The called server.
        what: String,
    },
}

impl ConnectError {
    /// Returns whether another credential would help.
    #[must_use]
    pub fn is_refused_credential(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.code() == Code::Unauthenticated)
    }
}

/// Formats the refusal of a gateway, or the reason why a connection broke, such as a refused client certificate.
pub fn format_status(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => format!("{}: {}", status.message(), format_causes(cause)),
        None => status.message().to_owned(),
    }
}

/// Formats an error and its causes in one line; the outermost message is often only "transport error".
pub fn format_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !line.ends_with(&message) {
            // A write to a String cannot fail.
            let _ = write!(line, ": {message}");
        }
        cause = error.source();
    }
    line
}
