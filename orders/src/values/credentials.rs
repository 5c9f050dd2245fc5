//! Values that describe credentials: their kinds, and the tokens of an issuer.

use std::fmt;

use gateway::access::{Algorithm, Claim, check_url};
use url::Url;

use super::ValueError;

/// Maximum length of an issuer and of an audience, in bytes.
const MAX_NAME: usize = 500;

/// The credentials that a gateway accepts. Without any, every caller may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuthMode {
    /// API keys.
    pub(crate) keys: bool,
    /// Tokens of an issuer.
    pub(crate) jwt: bool,
}

impl AuthMode {
    /// No credentials.
    pub(crate) const OFF: Self = Self { keys: false, jwt: false };
}

/// As it is written.
impl fmt::Display for AuthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.keys, self.jwt) {
            (false, false) => "off",
            (true, false) => "keys",
            (false, true) => "jwt",
            (true, true) => "keys,jwt",
        })
    }
}

/// Parses the credentials that a gateway accepts.
pub(crate) fn auth_mode(text: &str) -> Result<AuthMode, ValueError> {
    match text {
        "off" => Ok(AuthMode::OFF),
        "keys" => Ok(AuthMode { keys: true, jwt: false }),
        "jwt" => Ok(AuthMode { keys: false, jwt: true }),
        "keys,jwt" | "jwt,keys" => Ok(AuthMode { keys: true, jwt: true }),
        _ => Err(ValueError::new("it is not a kind of authentication", "give off, keys, jwt or keys,jwt")),
    }
}

/// Parses the issuer of tokens, which is usually a URL and compared as it is written.
pub(crate) fn issuer(text: &str) -> Result<String, ValueError> {
    name(text, "give the claim iss of the tokens, such as https://issuer.example")
}

/// Parses an audience of tokens.
pub(crate) fn audience(text: &str) -> Result<String, ValueError> {
    name(text, "give the claim aud of the tokens, such as orders or https://orders.example")
}

fn name(text: &str, hint: &str) -> Result<String, ValueError> {
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(ValueError::new("it is not 1 to 500 printable ASCII characters without spaces", hint))
}

/// Parses an algorithm of signatures.
pub(crate) fn algorithm(text: &str) -> Result<Algorithm, ValueError> {
    text.parse().map_err(|_| {
        let hint = "give some of RS256, ES256 and EdDSA: tokens with a shared secret or without a signature are not accepted";
        ValueError::new(format!("{text:?} is not an accepted algorithm"), hint)
    })
}

/// Parses the place of a claim.
pub(crate) fn claim(text: &str) -> Result<Claim, ValueError> {
    text.parse().map_err(|_| {
        ValueError::new(
            "it is not the place of a claim",
            "give a name, or a JSON pointer such as /realm_access/roles",
        )
    })
}

/// Parses the URL of the keys of an issuer.
pub(crate) fn key_url(text: &str) -> Result<Url, ValueError> {
    let hint = "give a URL such as https://issuer.example/keys; http:// is for loopback addresses only";
    let url = Url::parse(text).map_err(|_| ValueError::new("it is not a URL", hint))?;
    check_url(&url).map_err(|error| ValueError::new(error.to_string(), hint))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_verify_tokens() {
        for refused in ["none", "HS256", "RS512", "ES384", "rs256", ""] {
            assert!(algorithm(refused).unwrap_err().hint.contains("RS256, ES256 and EdDSA"), "{refused}");
        }
        assert!(key_url("http://127.0.0.1:8080/keys").is_ok());
        for refused in ["keys.json", "http://issuer.example/keys", "https://ann:hush@issuer.example/keys"] {
            assert!(!key_url(refused).unwrap_err().to_string().contains("hush"), "{refused}");
        }
        assert!(issuer("https://issuer.example/").is_ok());
        for refused in ["", "a b", "é", &"x".repeat(MAX_NAME + 1)] {
            assert!(audience(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn modes_have_one_spelling() {
        for mode in ["off", "keys", "jwt", "keys,jwt"] {
            assert_eq!(auth_mode(mode).unwrap().to_string(), mode);
        }
        assert_eq!(auth_mode("jwt,keys"), auth_mode("keys,jwt"));
        for invalid in ["", "on", "off,jwt", "keys,", "jwt,jwt", "KEYS"] {
            assert!(auth_mode(invalid).is_err(), "{invalid}");
        }
    }
}
