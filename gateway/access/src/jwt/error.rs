use std::borrow::Cow;

/// The reason for which a token is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// It is not valid.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// It is not valid for now: the issuer may have a new key.
    #[error("{0}")]
    UnknownKey(&'static str),
    /// It was valid until its end.
    #[error("the token has expired")]
    Expired,
    /// The keys of the issuer could not be read.
    #[error("the keys of the token issuer cannot be read at present")]
    IssuerUnavailable,
}

impl TokenError {
    /// Creates the error of a token that is not valid.
    pub(super) fn refused(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(reason.into())
    }
}
