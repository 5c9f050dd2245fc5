//! The secrets of endpoints, encrypted for the database.
//!
//! The keys are in a file that every gateway has: the first one encrypts, all decrypt. So a new key is put in front of the
//! old one, and the old one is removed after each endpoint was encrypted again, which its holder does.
//!
//! A stored value is a version, the id of the key, a nonce, and AES-256-GCM of a JSON list. The id of the endpoint is part of
//! the authenticated data, so a value is not valid in another row.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{EndpointId, Timestamp};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use webhook::{MAX_SECRETS, Secret};

/// Maximum number of keys.
const MAX_KEYS: usize = 8;
const KEY_BYTES: usize = 32;
const VERSION: u8 = 1;
const ID_BYTES: usize = 4;

/// The keys that encrypt the secrets of endpoints. Clones share them.
#[derive(Clone, Default)]
pub struct SecretKeys(Arc<RwLock<Arc<[Key]>>>);

struct Key {
    /// The beginning of the hash of the key.
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

/// A file has no usable keys. The message continues the name of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretKeys {
    /// A line is not a key.
    #[error(
        "line {0} is not a key: each line is 32 random bytes in base64, as `openssl rand -base64 32` prints"
    )]
    Line(usize),
    /// There are too many.
    #[error("has more than {MAX_KEYS} keys: remove old ones")]
    TooMany,
    /// There is none.
    #[error("has no key: write a line with the output of `openssl rand -base64 32`")]
    Empty,
}

impl FromStr for SecretKeys {
    type Err = InvalidSecretKeys;

    fn from_str(file: &str) -> Result<Self, InvalidSecretKeys> {
        let keys = Self::default();
        keys.replace(file)?;
        Ok(keys)
    }
}

impl SecretKeys {
    /// Returns the line of a new key.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn generate_line() -> String {
        // A secret of an endpoint has as many random bytes.
        let secret = Secret::generate();
        STANDARD.encode(Sha256::digest(secret.as_bytes()))
    }

    /// Replaces the keys by those of a file.
    ///
    /// # Errors
    /// [`InvalidSecretKeys`]; the present keys then stay in use.
    pub fn replace(&self, file: &str) -> Result<(), InvalidSecretKeys> {
        let mut keys = Vec::new();
        for (n, line) in file.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = STANDARD.decode(line).ok().filter(|bytes| bytes.len() == KEY_BYTES);
            let bytes = bytes.ok_or(InvalidSecretKeys::Line(n + 1))?;
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| InvalidSecretKeys::Line(n + 1))?;
            let mut id = [0; ID_BYTES];
            id.copy_from_slice(&Sha256::digest(&bytes)[..ID_BYTES]);
            keys.push(Key { id, key: LessSafeKey::new(key) });
        }
        match keys.len() {
            0 => Err(InvalidSecretKeys::Empty),
            1..=MAX_KEYS => {
                *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
                Ok(())
            }
            _ => Err(InvalidSecretKeys::TooMany),
        }
    }

    /// Takes the keys of other ones.
    pub fn replace_with(&self, other: &Self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = other.keys();
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys().is_empty()
    }

    fn keys(&self) -> Arc<[Key]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Encrypts the secrets of an endpoint with the first key. `None` without a key.
    pub(crate) fn seal(&self, endpoint: EndpointId, secrets: &EndpointSecrets) -> Option<Vec<u8>> {
        let keys = self.keys();
        let Key { id, key } = keys.first()?;
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = serde_json::to_vec(&secrets.0).ok()?;
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_used, Aad::from(endpoint.as_bytes()), &mut text).ok()?;
        Some([&[VERSION][..], id, &nonce, &text].concat())
    }

    /// Decrypts the secrets of an endpoint. `None` if no key is the one that encrypted them.
    pub(crate) fn open(&self, endpoint: EndpointId, sealed: &[u8]) -> Option<EndpointSecrets> {
        let (&VERSION, rest) = sealed.split_first()? else { return None };
        let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        self.keys().iter().filter(|key| key.id == *id).find_map(|Key { key, .. }| {
            let mut text = text.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key.open_in_place(nonce, Aad::from(endpoint.as_bytes()), &mut text).ok()?;
            serde_json::from_slice(opened).ok().map(EndpointSecrets)
        })
    }

    /// Encrypts a value with the first key that another one has encrypted. `None` if there is nothing to do.
    pub(crate) fn reencrypt(&self, endpoint: EndpointId, sealed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys();
        let is_current = sealed.get(1..=ID_BYTES) == Some(&keys.first()?.id);
        if is_current { None } else { self.seal(endpoint, &self.open(endpoint, sealed)?) }
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKeys({} redacted)", self.keys().len())
    }
}

/// The secrets of an endpoint, newest first.
#[derive(Clone, Default)]
pub(crate) struct EndpointSecrets(Vec<StoredSecret>);

#[derive(Clone, Serialize, Deserialize)]
struct StoredSecret {
    secret: String,
    /// The time from which it no longer signs, in microseconds; `None` for the newest.
    ends_at: Option<i64>,
}

impl EndpointSecrets {
    /// Returns the list with one secret.
    pub(crate) fn new(secret: &Secret) -> Self {
        Self(vec![StoredSecret { secret: secret.expose(), ends_at: None }])
    }

    /// Puts a secret in front. The one before signs until `ends_at`, and only the newest few are kept.
    #[must_use]
    pub(crate) fn rotated(&self, secret: &Secret, now: Timestamp, ends_at: Timestamp) -> Self {
        let mut secrets = vec![StoredSecret { secret: secret.expose(), ends_at: None }];
        let until = |stored: &StoredSecret| stored.ends_at.unwrap_or(i64::MAX).min(ends_at.as_micros());
        let kept = self.0.iter().filter(|stored| until(stored) > now.as_micros());
        secrets.extend(
            kept.map(|stored| StoredSecret { secret: stored.secret.clone(), ends_at: Some(until(stored)) }),
        );
        secrets.truncate(MAX_SECRETS);
        Self(secrets)
    }

    /// Returns the secrets that sign at a time, newest first.
    pub(crate) fn at(&self, now: Timestamp) -> Vec<Secret> {
        let valid = |stored: &&StoredSecret| stored.ends_at.is_none_or(|end| end > now.as_micros());
        self.0.iter().filter(valid).filter_map(|stored| stored.secret.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;

    fn endpoint(n: u8) -> EndpointId {
        EndpointId::from_bytes([n; 16])
    }

    fn exposed(secrets: &[Secret]) -> Vec<String> {
        secrets.iter().map(Secret::expose).collect()
    }

    #[test]
    fn secrets_are_encrypted_for_one_endpoint() {
        let keys: SecretKeys = SecretKeys::generate_line().parse().unwrap();
        let secret = Secret::generate();
        let sealed = keys.seal(endpoint(1), &EndpointSecrets::new(&secret)).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("whsec_"));
        let opened = keys.open(endpoint(1), &sealed).unwrap().at(Timestamp::from_micros(NOW));
        assert_eq!(exposed(&opened), exposed(&[secret]));
        assert!(keys.open(endpoint(2), &sealed).is_none());
        let other: SecretKeys = SecretKeys::generate_line().parse().unwrap();
        assert!(other.open(endpoint(1), &sealed).is_none());
        for n in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[n] ^= 1;
            assert!(keys.open(endpoint(1), &changed).is_none(), "byte {n}");
            assert!(keys.open(endpoint(1), &sealed[..n]).is_none(), "{n} bytes");
        }
        assert!(SecretKeys::default().seal(endpoint(1), &EndpointSecrets::default()).is_none());
    }

    #[test]
    fn a_new_key_in_front_of_the_old_one_decrypts_and_encrypts() {
        let (old, new) = (SecretKeys::generate_line(), SecretKeys::generate_line());
        let keys: SecretKeys = old.parse().unwrap();
        let sealed = keys.seal(endpoint(1), &EndpointSecrets::new(&Secret::generate())).unwrap();
        assert_eq!(keys.reencrypt(endpoint(1), &sealed), None);
        keys.replace(&format!("# since today\n{new}\n\n{old}\n")).unwrap();
        let again = keys.reencrypt(endpoint(1), &sealed).unwrap();
        assert_eq!(keys.reencrypt(endpoint(1), &again), None);
        keys.replace(&new).unwrap();
        assert!(keys.open(endpoint(1), &again).is_some() && keys.open(endpoint(1), &sealed).is_none());
        assert_eq!(keys.reencrypt(endpoint(1), &sealed), None, "no key decrypts it");
    }

    #[test]
    fn up_to_three_secrets_sign_during_a_rotation() {
        let at = |seconds| Timestamp::from_micros(NOW) + Duration::from_secs(seconds);
        let secrets: Vec<Secret> = (0..5).map(|_| Secret::generate()).collect();
        let mut stored = EndpointSecrets::new(&secrets[0]);
        for (n, secret) in (1..).zip(&secrets[1..4]) {
            stored = stored.rotated(secret, at(n), at(n + 100));
        }
        let newest_three = exposed(&[secrets[3].clone(), secrets[2].clone(), secrets[1].clone()]);
        assert_eq!(exposed(&stored.at(at(4))), newest_three);
        // The second was rotated at 2 and signs until 102.
        assert_eq!(stored.at(at(102)).len(), 2);
        assert_eq!(exposed(&stored.at(at(200))), exposed(&secrets[3..4]));
        // Without an overlap the old ones end at once.
        let stored = stored.rotated(&secrets[4], at(5), at(5));
        assert_eq!(exposed(&stored.at(at(5))), exposed(&secrets[4..5]));
    }

    #[test]
    fn a_file_without_usable_keys_is_refused() {
        let line = SecretKeys::generate_line();
        assert_eq!("".parse::<SecretKeys>().unwrap_err(), InvalidSecretKeys::Empty);
        assert_eq!(format!("{line}\nx").parse::<SecretKeys>().unwrap_err(), InvalidSecretKeys::Line(2));
        assert_eq!("AAAA".parse::<SecretKeys>().unwrap_err(), InvalidSecretKeys::Line(1));
        let many = vec![line; MAX_KEYS + 1].join("\n");
        assert_eq!(many.parse::<SecretKeys>().unwrap_err(), InvalidSecretKeys::TooMany);
        limits_page::row("keys that encrypt the secrets of webhooks", &MAX_KEYS.to_string());
    }
}
