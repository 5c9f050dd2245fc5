//! The claims of a token, and the caller that they describe.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use domain::{Principal, Quotas, Role, Scopes, TenantId, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::TokenError;

/// The permitted difference between the clock of the issuer and that of the database.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);
/// Maximum length of the subject in the name of a principal, in characters.
pub(crate) const MAX_SUBJECT: usize = 90;
/// Maximum length of the name of a claim, in bytes.
const MAX_CLAIM: usize = 200;
/// The start of a word that names a role among the scopes.
const ROLE: &str = "role:";
/// The tenant of a token that acts for all tenants, where this is allowed.
const ALL_TENANTS: &str = "*";
const MICROS: i64 = 1_000_000;

/// The place of a claim: a name, or a JSON pointer such as `/realm_access/roles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim(String);

/// The string is not the place of a claim.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error(
    "expected the name of a claim, or a JSON pointer such as /realm_access/roles, of 1 to {MAX_CLAIM} bytes"
)]
pub struct InvalidClaim;

impl FromStr for Claim {
    type Err = InvalidClaim;

    fn from_str(string: &str) -> Result<Self, InvalidClaim> {
        let is_valid = (1..=MAX_CLAIM).contains(&string.len()) && !string.contains(char::is_control);
        if is_valid && string != "/" { Ok(Self(string.to_owned())) } else { Err(InvalidClaim) }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Claim {
    fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        let value = if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) };
        value.filter(|value| !value.is_null())
    }
}

/// The claims that a token needs.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) tenant_claim: Claim,
    pub(super) scope_claim: Claim,
    pub(super) all_tenants: bool,
}

impl Rules {
    /// Checks who issued a token, for whom and for which time. Returns its end.
    ///
    /// # Errors
    /// If a claim is missing or wrong, or the token has expired.
    pub(super) fn check(&self, claims: &Value, now: Timestamp) -> Result<Timestamp, TokenError> {
        let required = |name: &str| {
            let value = claims.get(name).filter(|value| !value.is_null());
            value.ok_or_else(|| TokenError::refused(format!("the token has no claim {name}")))
        };
        let (issuer, audience) = (required("iss")?, required("aud")?);
        let (expiry, _) = (required("exp")?, required("sub")?);
        if issuer.as_str() != Some(&*self.issuer) {
            return Err(TokenError::refused("the issuer of the token (iss) is not the configured one"));
        }
        let is_ours =
            |value: &Value| value.as_str().is_some_and(|name| self.audiences.iter().any(|each| each == name));
        if !is_ours(audience) && !audience.as_array().is_some_and(|list| list.iter().any(is_ours)) {
            return Err(TokenError::refused("the audience of the token (aud) is not this gateway"));
        }
        let not_a_time =
            |name: &str| TokenError::refused(format!("the claim {name} of the token is not a number"));
        let end = time(expiry).ok_or_else(|| not_a_time("exp"))? + LEEWAY;
        if end <= now {
            return Err(TokenError::Expired);
        }
        if let Some(start) = claims.get("nbf")
            && time(start).ok_or_else(|| not_a_time("nbf"))? > now + LEEWAY
        {
            return Err(TokenError::refused("the token is not valid yet (nbf)"));
        }
        Ok(end)
    }

    /// Returns the caller of a verified token that is valid until `end`.
    ///
    /// # Errors
    /// If the token names no subject or no tenant.
    pub(super) fn principal(&self, claims: &Value, end: Timestamp) -> Result<Principal, TokenError> {
        let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject =
            subject.ok_or_else(|| TokenError::refused("the claim sub of the token is not a string"))?;
        let claim = &self.tenant_claim;
        let tenant = claim.find(claims);
        let tenant = tenant
            .ok_or_else(|| TokenError::refused(format!("the token has no claim {claim} with a tenant")))?;
        let (tenant, all_tenants) = match tenant.as_str() {
            Some(ALL_TENANTS) if self.all_tenants => (TenantId::default(), true),
            Some(ALL_TENANTS) => {
                return Err(TokenError::refused("tokens for all tenants are not accepted"));
            }
            name => match name.map(str::parse) {
                Some(Ok(tenant)) => (tenant, false),
                Some(Err(_)) | None => {
                    return Err(TokenError::refused(format!(
                        "the claim {claim} of the token is not the id of a tenant"
                    )));
                }
            },
        };
        let scopes = self.scopes(claims)?;
        let quotas = Quotas::default();
        Ok(Principal { name: name(subject), tenant, all_tenants, scopes, expires_at: Some(end), quotas })
    }

    /// Returns the scopes of a token. Words of other systems are left out.
    fn scopes(&self, claims: &Value) -> Result<Scopes, TokenError> {
        let claim = &self.scope_claim;
        let refused = || {
            TokenError::refused(format!(
                "the claim {claim} of the token is neither a string nor an array of strings"
            ))
        };
        match claim.find(claims) {
            None => Ok(Scopes::NONE),
            Some(Value::String(words)) => Ok(scopes(words)),
            Some(Value::Array(list)) => {
                let mut words = list.iter().map(|each| each.as_str().map(scopes).ok_or_else(refused));
                words.try_fold(Scopes::NONE, |set, each| Ok(set.union(each?)))
            }
            Some(_) => Err(refused()),
        }
    }
}

/// Returns the scopes of words such as `orders:read role:writer`.
fn scopes(words: &str) -> Scopes {
    let roles = words.split([' ', ',']).filter_map(|word| word.strip_prefix(ROLE)?.parse::<Role>().ok());
    roles.fold(Scopes::from_known_words(words), |set, role| set.union(role.scopes()))
}

/// Returns the time of a number of seconds since 1970, which may have a fraction.
fn time(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))?;
    Some(Timestamp::from_micros(seconds.saturating_mul(MICROS)))
}

/// Returns the name of a caller. A subject that is long or not printable ASCII ends with a part of its hash instead.
fn name(subject: &str) -> Arc<str> {
    if subject.len() <= MAX_SUBJECT && subject.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Arc::from(format!("jwt:{subject}"));
    }
    let hash: [u8; 32] = Sha256::digest(subject).into();
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let kept = subject.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' });
    let kept: String = kept.take(MAX_SUBJECT - hash.len() - 1).collect();
    Arc::from(format!("jwt:{kept}~{hash}"))
}

#[cfg(test)]
mod tests {
    use domain::Scope;
    use serde_json::json;

    use super::*;

    fn rules(all_tenants: bool) -> Rules {
        Rules {
            issuer: "https://issuer.example".to_owned(),
            audiences: vec!["orders".to_owned(), "shop".to_owned()],
            tenant_claim: "tenant".parse().unwrap(),
            scope_claim: "/realm/roles".parse().unwrap(),
            all_tenants,
        }
    }

    fn principal(claims: &Value) -> Result<Principal, TokenError> {
        rules(false).principal(claims, Timestamp::from_micros(1))
    }

    #[test]
    fn scopes_are_a_string_or_an_array_at_the_place_of_the_claim() {
        let of = |roles: Value| {
            principal(&json!({"sub": "ann", "tenant": "shop", "realm": {"roles": roles}}))
                .map(|caller| caller.scopes)
        };
        let expected = Role::Reader.scopes().union(Scopes::of(&[Scope::Work]));
        assert_eq!(of(json!("openid work role:reader role:none")).unwrap(), expected);
        assert_eq!(of(json!(["work", "role:reader", "offline access"])).unwrap(), expected);
        for none in [Value::Null, json!(""), json!([]), json!("reader")] {
            assert_eq!(of(none.clone()).unwrap(), Scopes::NONE, "{none}");
        }
        for wrong in [json!(5), json!({"work": true}), json!(["work", 5])] {
            assert!(of(wrong.clone()).unwrap_err().to_string().contains("/realm/roles"), "{wrong}");
        }
    }

    #[test]
    fn a_token_has_one_tenant() {
        for (claims, problem) in [
            (json!({"sub": "ann"}), "no claim tenant"),
            (json!({"sub": "ann", "tenant": null}), "no claim tenant"),
            (json!({"sub": "ann", "tenant": "*"}), "all tenants"),
            (json!({"sub": "ann", "tenant": ""}), "not the id of a tenant"),
            (json!({"sub": "ann", "tenant": "Shop"}), "not the id of a tenant"),
            (json!({"sub": "ann", "tenant": ["shop"]}), "not the id of a tenant"),
            (json!({"sub": "", "tenant": "shop"}), "sub"),
            (json!({"sub": 5, "tenant": "shop"}), "sub"),
        ] {
            let error = principal(&claims).unwrap_err().to_string();
            assert!(error.contains(problem), "{claims}: {error}");
        }
        let all =
            rules(true).principal(&json!({"sub": "ann", "tenant": "*"}), Timestamp::from_micros(1)).unwrap();
        assert!(all.all_tenants && all.tenant.is_default());
        let one = rules(true)
            .principal(&json!({"sub": "ann", "tenant": "shop"}), Timestamp::from_micros(1))
            .unwrap();
        assert!(!one.all_tenants && one.tenant.as_str() == "shop");
    }

    #[test]
    fn names_are_short_printable_and_distinct() {
        assert_eq!(&*name("auth0|ann"), "jwt:auth0|ann");
        let (long, other) = (name(&"x".repeat(500)), name(&"x".repeat(501)));
        assert!(long != other && long.len() == 4 + MAX_SUBJECT);
        let (lines, blanks) = (name("a\nb"), name("a b"));
        assert!(lines.starts_with("jwt:a?b~") && lines != blanks && lines.is_ascii());
    }

    #[test]
    fn times_have_fractions_and_no_overflow() {
        let micros = |value: Value| time(&value).map(Timestamp::as_micros);
        assert_eq!(micros(json!(1_700_000_000)), Some(1_700_000_000_000_000));
        assert_eq!(micros(json!(1_700_000_000.9)), Some(1_700_000_000_000_000));
        let last = Timestamp::from_micros(i64::MAX).as_micros();
        assert_eq!(micros(json!(1e300)), Some(last));
        assert_eq!(micros(json!(u64::MAX)), Some(last));
        assert_eq!(micros(json!(-5)), Some(0));
        assert_eq!(micros(json!("1700000000")), None);
    }

    #[test]
    fn claims_have_a_name_or_a_pointer() {
        for invalid in ["", "/", "a\nb", &"x".repeat(MAX_CLAIM + 1)] {
            assert_eq!(invalid.parse::<Claim>(), Err(InvalidClaim), "{invalid:?}");
        }
        let claims = json!({"https://shop.example/tenant": "a", "deep": {"a/b": ["c"]}});
        let find = |name: &str| name.parse::<Claim>().unwrap().find(&claims).cloned();
        assert_eq!(find("https://shop.example/tenant"), Some(json!("a")));
        assert_eq!(find("/deep/a~1b/0"), Some(json!("c")));
        assert_eq!(find("/none"), None);
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "difference of the issuer's clock that a token may have",
            &limits_page::time(LEEWAY),
        );
        limits_page::row("subject of a token in the names of callers", &format!("{MAX_SUBJECT} characters"));
    }
}
