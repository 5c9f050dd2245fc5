//! The public keys of an issuer: a JWK set (RFC 7517).
//!
//! Only keys that can verify one of the algorithms are taken. A symmetric key (`oct`), a key for encryption and a key that
//! is published with its private part are left out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::Algorithm;

/// Maximum number of keys in a set, usable or not.
pub(crate) const MAX_KEYS: usize = 50;
/// Length of the modulus of an RSA key in bytes: 2048 to 8192 bits.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Length of a coordinate of P-256 and of a key of Ed25519, in bytes.
const COORDINATE: usize = 32;

/// The usable keys of an issuer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KeySet(Vec<PublicKey>);

/// A key that verifies the signatures of one algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    P256([u8; 1 + 2 * COORDINATE]),
    Ed25519([u8; COORDINATE]),
}

/// The document is not a usable set.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(crate) enum InvalidKeySet {
    /// It is not a JWK set.
    #[error("it is not a JWK set: expected a JSON object with the array `keys`")]
    Unreadable,
    /// It has too many keys.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
}

impl KeySet {
    /// Parses a document, and leaves out the keys that verify none of `algorithms`.
    ///
    /// # Errors
    /// [`InvalidKeySet`].
    pub(crate) fn parse(document: &[u8], algorithms: &[Algorithm]) -> Result<Self, InvalidKeySet> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Document { keys } = serde_json::from_slice(document).map_err(|_| InvalidKeySet::Unreadable)?;
        if keys.len() > MAX_KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        let usable = keys.iter().filter_map(PublicKey::parse);
        Ok(Self(usable.filter(|key| algorithms.contains(&key.algorithm)).collect()))
    }

    /// Returns the number of usable keys.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the key of a token. A token without an id has the only key of its algorithm.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&PublicKey> {
        let mut keys = self.0.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => keys.find(|key| key.id.as_deref() == Some(id)),
            None => keys.next().filter(|_| keys.next().is_none()),
        }
    }
}

impl PublicKey {
    fn parse(jwk: &Value) -> Option<Self> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(member(name)?).ok();
        let signs = jwk.get("use").is_none_or(|usage| usage == "sig");
        let verifies = jwk.get("key_ops").is_none_or(|operations| {
            operations.as_array().is_some_and(|operations| operations.iter().any(|each| each == "verify"))
        });
        if !signs || !verifies || jwk.get("d").is_some() {
            return None;
        }
        let (algorithm, names, material) = match (member("kty")?, member("crv")) {
            ("RSA", _) => {
                let (modulus, exponent) = (without_zeros(&bytes("n")?), without_zeros(&bytes("e")?));
                let material = Material::Rsa { modulus, exponent };
                (Algorithm::Rs256, &["RS256"][..], material)
            }
            ("EC", Some("P-256")) => {
                let mut point = [4; 1 + 2 * COORDINATE];
                point[1..=COORDINATE].copy_from_slice(&coordinate(&bytes("x")?)?);
                point[1 + COORDINATE..].copy_from_slice(&coordinate(&bytes("y")?)?);
                (Algorithm::Es256, &["ES256"][..], Material::P256(point))
            }
            ("OKP", Some("Ed25519")) => {
                let material = Material::Ed25519(coordinate(&bytes("x")?)?);
                (Algorithm::EdDsa, &["EdDSA", "Ed25519"][..], material)
            }
            _ => return None,
        };
        let has_algorithm = jwk.get("alg").is_none_or(|name| names.iter().any(|each| name == each));
        let has_length = match &material {
            Material::Rsa { modulus, exponent } => {
                RSA_MODULUS.contains(&modulus.len()) && !exponent.is_empty()
            }
            Material::P256(_) | Material::Ed25519(_) => true,
        };
        let id = member("kid").map(str::to_owned);
        (has_algorithm && has_length).then_some(Self { id, algorithm, material })
    }

    /// Returns whether the signature of a message is that of this key.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified =
            match &self.material {
                Material::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
                Material::P256(point) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
                }
                Material::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            };
        verified.is_ok()
    }
}

fn coordinate(bytes: &[u8]) -> Option<[u8; COORDINATE]> {
    bytes.try_into().ok()
}

/// Returns a number without the zeros at its start, which some issuers write.
fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("keys of a token issuer", &limits_page::count(MAX_KEYS));
    }
}
