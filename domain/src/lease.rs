use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Names one lease of one order. The worker draws it, so that a repeated Start is recognised, and
/// shows it with every heartbeat and report; a report with any other token is stale.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseToken(NonZeroU64);

/// The text is not a lease token.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not a lease token: expected 16 hexadecimal digits that are not all zero")]
pub struct InvalidLeaseToken;

impl LeaseToken {
    /// A token nobody else holds (63 random bits).
    pub fn random() -> Self {
        Self(NonZeroU64::new(rand::random::<u64>() >> 1).unwrap_or(NonZeroU64::MIN))
    }

    /// The token as a number that fits a signed 64-bit column.
    pub fn as_i64(self) -> i64 {
        self.0.get().cast_signed()
    }

    /// The token with this number; none has 0.
    pub fn from_i64(value: i64) -> Option<Self> {
        NonZeroU64::new(value.cast_unsigned()).map(Self)
    }
}

/// What the tokens of one group of workers have in common: their upper 16 bits. [`LeaseToken::random`] draws none with a
/// mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePrefix(u16);

impl LeasePrefix {
    /// The mark with the lower 15 bits of this number.
    pub fn new(number: u16) -> Self {
        Self(number | 1 << 15)
    }

    /// A token with this mark and 48 random bits.
    pub fn random_token(self) -> LeaseToken {
        let token = u64::from(self.0) << 48 | rand::random::<u64>() >> 16;
        LeaseToken(NonZeroU64::new(token).unwrap_or(NonZeroU64::MAX))
    }

    /// Whether a token has this mark.
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

    fn from_str(text: &str) -> Result<Self, InvalidLeaseToken> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidLeaseToken);
        }
        u64::from_str_radix(text, 16).ok().and_then(NonZeroU64::new).map(Self).ok_or(InvalidLeaseToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_on_the_tokens_that_are_drawn_with_it() {
        let (mark, other) = (LeasePrefix::new(0x1234), LeasePrefix::new(0x1235));
        for _ in 0..1_000 {
            let token = mark.random_token();
            assert!(mark.matches(token) && !other.matches(token));
            assert_eq!(LeaseToken::from_i64(token.as_i64()), Some(token));
            assert_eq!(token.to_string().parse::<LeaseToken>().unwrap(), token);
            assert!(!mark.matches(LeaseToken::random()));
        }
        assert_ne!(mark.random_token(), mark.random_token());
    }

    #[test]
    fn text_round_trips() {
        let token = LeaseToken::random();
        assert_eq!(token.to_string().parse(), Ok(token));
        assert_eq!(LeaseToken::from_i64(token.as_i64()), Some(token));
        for bad in ["", "12", "+123456789abcdef", "xyzxyzxyzxyzxyzx"] {
            assert_eq!(bad.parse::<LeaseToken>(), Err(InvalidLeaseToken));
        }
    }
}
