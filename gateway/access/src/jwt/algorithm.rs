//! The algorithms of signatures.

use std::fmt;
use std::str::FromStr;

/// An algorithm of a signature. There are no others: `none` and those with a shared secret cannot be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, and keys of 2048 to 8192 bits.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Returns the name in the header of a token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The string is not the name of an algorithm.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("expected RS256, ES256 or EdDSA")]
pub struct InvalidAlgorithm;

/// Names are case-sensitive (RFC 7515).
impl FromStr for Algorithm {
    type Err = InvalidAlgorithm;

    fn from_str(string: &str) -> Result<Self, InvalidAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == string).ok_or(InvalidAlgorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_algorithms_have_names() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        for other in ["none", "HS256", "PS256", "ES384", "rs256", "Ed25519", ""] {
            assert_eq!(other.parse::<Algorithm>(), Err(InvalidAlgorithm), "{other}");
        }
    }
}
