/// The reason why a call failed. The caller retries or continues without the broker.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, did not respond in time, or rejected the command. The message states which.
    #[error("{0}")]
    Unavailable(String),
    /// The server responds but lacks a required feature. The message names it.
    #[error("{0}")]
    Unsupported(String),
    /// The URL of the server is not usable. The message states what to change.
    #[error("{0}")]
    InvalidUrl(String),
}
