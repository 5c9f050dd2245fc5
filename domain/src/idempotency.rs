use std::fmt;
use std::str::FromStr;

use crate::slot::Slot;
use crate::tenant::TenantId;

/// The maximum length of an idempotency key, in characters.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The client's name for one create, which identifies repetitions.
///
/// It has 1 to [`MAX_IDEMPOTENCY_KEY`] visible ASCII characters, such as a UUID.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The string is not an idempotency key.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("must have 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters, such as a UUID")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Returns the key in its stored form.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the slot of the key of a tenant: that of the orders of its create.
    pub fn slot(&self, tenant: &TenantId) -> Slot {
        // No tenant contains a zero byte.
        Slot::of(&[tenant.as_str().as_bytes(), &[0], self.as_bytes()].concat())
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(string: &str) -> Result<Self, InvalidIdempotencyKey> {
        let fits =
            (1..=MAX_IDEMPOTENCY_KEY).contains(&string.len()) && string.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(string.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii_of_limited_length() {
        for (key, fits) in [
            ("a", true),
            ("0190-\"quoted\"~!", true),
            (&"k".repeat(255), true),
            (&"k".repeat(256), false),
            ("", false),
            ("two words", false),
            ("ä", false),
            ("a\n", false),
        ] {
            assert_eq!(key.parse::<IdempotencyKey>().is_ok(), fits, "{key}");
        }
    }
}
