//! The compact form of a JWT (RFC 7519): its header, its claims and its signature, none of them verified.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::error::TokenError;

/// The types of tokens that are accepted. A token without one is accepted as well.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// A token that is read and not verified.
pub(super) struct Token<'a> {
    /// The name of the algorithm.
    pub(super) algorithm: String,
    /// The id of the key.
    pub(super) key_id: Option<String>,
    /// A JSON object.
    pub(super) claims: Value,
    /// The bytes that are signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// Returns whether a credential has the three parts of a JWT.
pub(crate) fn is_token(credential: &str) -> bool {
    credential.split('.').count() == 3
}

impl<'a> Token<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// If it is not a JWT, or has a type or an extension that is not supported.
    pub(super) fn read(token: &'a str) -> Result<Self, TokenError> {
        const NOT_A_TOKEN: TokenError = TokenError::Refused(Cow::Borrowed("the credential is not a JWT"));
        let (signed, signature) = token.rsplit_once('.').ok_or(NOT_A_TOKEN)?;
        let (header, claims) = signed.split_once('.').ok_or(NOT_A_TOKEN)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| NOT_A_TOKEN);
        let object = |part: &str| {
            let value = serde_json::from_slice(&decode(part)?).ok();
            value.filter(Value::is_object).ok_or(NOT_A_TOKEN)
        };
        let header = object(header)?;
        if header.get("crit").is_some() {
            return Err(TokenError::refused(
                "the token has critical extensions (crit), which are not supported",
            ));
        }
        let is_known = |name: &str| TYPES.iter().any(|each| name.eq_ignore_ascii_case(each));
        if header.get("typ").is_some_and(|name| !name.as_str().is_some_and(is_known)) {
            return Err(TokenError::refused("the type of the token (typ) is neither JWT nor at+jwt"));
        }
        let member = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            algorithm: member("alg").ok_or(NOT_A_TOKEN)?,
            key_id: member("kid"),
            claims: object(claims)?,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        })
    }
}
