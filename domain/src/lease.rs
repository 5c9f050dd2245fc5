use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Identifies one lease of one order.
///
/// The worker draws it at random, so that the gateway recognises a repeated Start. Every heartbeat and report contains
/// it; a report with another token is stale.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseToken(NonZeroU64);

/// The string is not a lease token.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not a lease token: expected 16 hexadecimal digits that are not all zero")]
pub struct InvalidLeaseToken;

impl LeaseToken {
    /// Draws a unique token (63 random bits).
    pub fn random() -> Self {
        Self(NonZeroU64::new(rand::random::<u64>() >> 1).unwrap_or(NonZeroU64::MIN))
    }

    /// Replaces the lower half of the token by a tag; 31 random bits remain.
    #[must_use]
    pub fn with_tag(self, tag: u32) -> Self {
        let half = self.0.get() >> 32 << 32;
        // A token is not 0.
        let half = if half == 0 { 1 << 32 } else { half };
        Self(NonZeroU64::new(half | u64::from(tag)).unwrap_or(NonZeroU64::MIN))
    }

    /// Returns whether [`Self::with_tag`] could have created the token with this tag.
    pub fn has_tag(self, tag: u32) -> bool {
        self.0.get() & u64::from(u32::MAX) == u64::from(tag)
    }

    /// Returns the token as a number that fits a signed 64-bit column.
    pub fn as_i64(self) -> i64 {
        self.0.get().cast_signed()
    }

    /// Returns the token with this number; no token has 0.
    pub fn from_i64(value: i64) -> Option<Self> {
        NonZeroU64::new(value.cast_unsigned()).map(Self)
    }
}

/// The upper 16 bits of the tokens of one group of workers. [`LeaseToken::random`] draws no token with a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePrefix(u16);

impl LeasePrefix {
    /// Creates the prefix with the lower 15 bits of this number.
    pub fn new(number: u16) -> Self {
        Self(number | 1 << 15)
    }

    /// Draws a token with this prefix and 48 random bits.
    pub fn random_token(self) -> LeaseToken {
        let token = u64::from(self.0) << 48 | rand::random::<u64>() >> 16;
        LeaseToken(NonZeroU64::new(token).unwrap_or(NonZeroU64::MAX))
    }

    /// Returns whether a token has this prefix.
    pub fn matches(self, token: LeaseToken) -> bool {
        token.0.get() >> 48 == u64::from(self.0)
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LeaseToken {
    type Err = InvalidLeaseToken;

    fn from_str(string: &str) -> Result<Self, InvalidLeaseToken> {
        if string.len() != 16 || !string.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidLeaseToken);
        }
        u64::from_str_radix(string, 16).ok().and_then(NonZeroU64::new).map(Self).ok_or(InvalidLeaseToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_prefix_match_only_it() {
        let (prefix, other) = (LeasePrefix::new(0x1234), LeasePrefix::new(0x1235));
        for _ in 0..1_000 {
            let token = prefix.random_token();
            assert!(prefix.matches(token) && !other.matches(token));
            assert_eq!(LeaseToken::from_i64(token.as_i64()), Some(token));
            assert_eq!(token.to_string().parse::<LeaseToken>().unwrap(), token);
            assert!(!prefix.matches(LeaseToken::random()));
        }
        assert_ne!(prefix.random_token(), prefix.random_token());
    }

    #[test]
    fn a_tag_replaces_half_of_the_token() {
        for tag in [0, 1, u32::MAX] {
            let token = LeaseToken::random().with_tag(tag);
            assert!(token.has_tag(tag) && !token.has_tag(tag ^ 1));
            assert_eq!(LeaseToken::from_i64(token.as_i64()), Some(token));
            assert!(token.as_i64() > 0, "the sign is that of tokens with a prefix");
            assert_ne!(token, LeaseToken::random().with_tag(tag));
        }
        let small = LeaseToken::from_i64(1).unwrap();
        assert!(small.with_tag(0).has_tag(0));
    }

    #[test]
    fn display_form_parses_to_the_same_token() {
        let token = LeaseToken::random();
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!(LeaseToken::from_i64(token.as_i64()), Some(token));
        for bad in ["", "12", "+123456789abcdef", "xyzxyzxyzxyzxyzx"] {
            assert_eq!(bad.parse::<LeaseToken>(), Err(InvalidLeaseToken));
        }
    }
}
