use std::fmt;
use std::str::FromStr;

/// Longest idempotency key, in characters.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// What a client calls one create, so that a repetition is recognised: 1 to
/// [`MAX_IDEMPOTENCY_KEY`] visible ASCII characters. A UUID is a good one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The text is not an idempotency key.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("must have 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters, such as a UUID")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// The key as it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let fits =
            (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii_of_limited_length() {
        for (text, fits) in [
            ("a", true),
            ("0190-\"quoted\"~!", true),
            (&"k".repeat(255), true),
            (&"k".repeat(256), false),
            ("", false),
            ("two words", false),
            ("ä", false),
            ("a\n", false),
        ] {
            assert_eq!(text.parse::<IdempotencyKey>().is_ok(), fits, "{text}");
        }
    }
}
