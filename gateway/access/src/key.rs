//! The format of API keys: `ord_<id>_<secret><checksum>`.
//!
//! The id has 8 characters and is public. The secret has 43 random characters (256 bits), which need no password hash.
//! The checksum has 6 characters: it rejects a mistyped key without a look-up, and secret scanners recognise keys by it.

use std::fmt;

use rand::rngs::OsRng;
use rand::{Rng, TryRngCore};
use sha2::{Digest, Sha256};

const PREFIX: &str = "ord_";
const ID: usize = 8;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
const LENGTH: usize = PREFIX.len() + ID + 1 + SECRET + CHECKSUM;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A well-formed API key. It is shown only by [`Key::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// The string is not an API key.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("not an API key: expected ord_, an id, _ and a secret, as `orders keys create` prints it")]
pub struct InvalidKey;

impl Key {
    /// Draws a key from the random numbers of the operating system.
    pub fn generate() -> Self {
        let mut random = OsRng.unwrap_err();
        let mut draw = |length: usize| -> String {
            (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
        };
        let mut key = format!("{PREFIX}{}_{}", draw(ID), draw(SECRET));
        key.push_str(&checksum(key.as_bytes()));
        Self(key)
    }

    /// Parses a key.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(string: &str) -> Result<Self, InvalidKey> {
        if string.len() != LENGTH || !string.is_ascii() {
            return Err(InvalidKey);
        }
        let (head, sum) = string.split_at(LENGTH - CHECKSUM);
        let rest = head.strip_prefix(PREFIX).ok_or(InvalidKey)?;
        let (id, secret) = rest.split_at(ID);
        let secret = secret.strip_prefix('_').ok_or(InvalidKey)?;
        let is_random = id.bytes().chain(secret.bytes()).all(|byte| byte.is_ascii_alphanumeric());
        if is_random && sum == checksum(head.as_bytes()) {
            Ok(Self(string.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }

    /// Returns the public part of the key, which identifies it.
    pub fn id(&self) -> &str {
        id(&self.0)
    }

    /// Returns the hash that is stored.
    pub fn hash(&self) -> [u8; 32] {
        hash(self.0.as_bytes())
    }

    /// Returns the whole key, for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Without the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.id())
    }
}

/// Returns whether a credential is meant as a key.
pub(crate) fn has_prefix(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

/// Returns the public part of a well-formed key.
pub(crate) fn id(key: &str) -> &str {
    key.get(PREFIX.len()..PREFIX.len() + ID).unwrap_or_default()
}

/// Returns the hash of a credential.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns the CRC-32 in base 62.
fn checksum(bytes: &[u8]) -> String {
    let mut rest = crc32fast::hash(bytes);
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_are_parsed() {
        let key = Key::generate();
        assert_eq!(Key::parse(key.expose()).unwrap(), key);
        assert_eq!(key.expose().len(), LENGTH);
        assert_eq!(key.expose()[4..12], *key.id());
        assert_ne!(Key::generate().hash(), key.hash());
    }

    #[test]
    fn debug_output_has_no_secret() {
        let key = Key::generate();
        assert_eq!(format!("{key:?}"), format!("ord_{}_…", key.id()));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let key = Key::generate();
        for place in 0..LENGTH {
            let mut bytes = key.expose().as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(Key::parse(&changed), Err(InvalidKey), "{changed}");
        }
        for wrong in ["", "ord_", "ord_é", &key.expose()[1..], &format!("{}0", key.expose())] {
            assert_eq!(Key::parse(wrong), Err(InvalidKey));
        }
    }

    /// Other programs compute the checksum as documented: the CRC-32 of `123456789` is 0xCBF43926.
    #[test]
    fn checksum_is_stable() {
        assert_eq!(checksum(b""), "000000");
        let value = checksum(b"123456789").bytes().fold(0_u64, |value, digit| {
            value * 62 + ALPHABET.iter().position(|each| *each == digit).unwrap() as u64
        });
        assert_eq!(value, 0xCBF4_3926);
    }
}
