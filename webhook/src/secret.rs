//! The key that signs requests. It is erased from the memory after its use, and Debug redacts it.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::OsRng;
use rand::{RngCore as _, TryRngCore as _};
use secrecy::{ExposeSecret, SecretSlice};

const PREFIX: &str = "whsec_";
/// The length of a new secret.
const NEW_BYTES: usize = 32;
/// The lengths that the standard permits.
pub(crate) const BYTES: RangeInclusive<usize> = 24..=64;

/// A key of 24 to 64 bytes, written `whsec_` and base64.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

/// The reason why a string is not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// The prefix is missing.
    #[error("must begin with whsec_")]
    Prefix,
    /// The rest is not base64.
    #[error("must have standard base64 with padding after whsec_")]
    Encoding,
    /// The key is too short or too long.
    #[error("must have 24 to 64 bytes in base64 after whsec_; it has {0}")]
    Length(usize),
}

impl Secret {
    /// Creates a secret of 32 random bytes.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn generate() -> Self {
        let mut bytes = vec![0; NEW_BYTES];
        OsRng.unwrap_err().fill_bytes(&mut bytes);
        Self(bytes.into())
    }

    /// Uses these bytes as the key.
    ///
    /// # Errors
    /// If there are fewer than 24 or more than 64.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidSecret> {
        let secret = SecretSlice::from(bytes);
        let length = secret.expose_secret().len();
        if BYTES.contains(&length) { Ok(Self(secret)) } else { Err(InvalidSecret::Length(length)) }
    }

    /// Returns the key.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// Returns the written form, `whsec_…`, for the owner of the endpoint.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.as_bytes()))
    }
}

impl FromStr for Secret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret::Prefix)?;
        Self::from_bytes(STANDARD.decode(encoded).map_err(|_| InvalidSecret::Encoding)?)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_secret_can_be_written_and_parsed() {
        let secret = Secret::generate();
        assert_eq!(secret.as_bytes().len(), NEW_BYTES);
        let written = secret.expose();
        assert_eq!(written.parse::<Secret>().unwrap().as_bytes(), secret.as_bytes());
        assert_ne!(written, Secret::generate().expose());
        assert!(!format!("{secret:?}").contains(&written[PREFIX.len()..]));
    }

    #[test]
    fn invalid_secret_is_refused_with_its_reason() {
        let written = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        for (text, problem) in [
            (String::new(), InvalidSecret::Prefix),
            ("change-me".to_owned(), InvalidSecret::Prefix),
            (STANDARD.encode([7; 32]), InvalidSecret::Prefix),
            (format!("{PREFIX}?"), InvalidSecret::Encoding),
            (format!("{}\n", written(32)), InvalidSecret::Encoding),
            (PREFIX.to_owned(), InvalidSecret::Length(0)),
            (written(23), InvalidSecret::Length(23)),
            (written(65), InvalidSecret::Length(65)),
        ] {
            assert_eq!(text.parse::<Secret>().unwrap_err(), problem, "{text:?}");
        }
        for bytes in [24, 32, 64] {
            assert_eq!(written(bytes).parse::<Secret>().unwrap().as_bytes().len(), bytes);
        }
    }
}
