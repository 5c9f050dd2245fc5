//! The inputs of mutations of API keys.

use std::ops::RangeInclusive;
use std::time::Duration;

use async_graphql::{ID, InputObject};
use domain::{Limits, MAX_BURST, MAX_RATE, MAX_STREAM_LIMIT, Role, Scope, Scopes, TenantId};
use gateway_access::{KeyRequest, MAX_GRACE, MAX_KEY_TTL, NewKeyTenant};

use crate::schema::mutation::UserError;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Lifetime of a key without `ttlDays`.
const TTL_DAYS: u32 = 90;
/// Time for which a rotated key stays valid without `graceHours`.
const GRACE_HOURS: u32 = 24;

/// An API key to create.
#[derive(InputObject)]
pub(crate) struct CreateApiKeyInput {
    /// Name: 1 to 100 characters.
    name: String,
    /// Preset of scopes: `reader`, `writer`, `operator`, `worker`, `owner` or `admin`. Either this or `scopes` is
    /// required.
    role: Option<String>,
    /// Scopes, such as `orders:read`.
    scopes: Option<Vec<String>>,
    /// Tenant for which the key acts. Default: that of the caller.
    tenant: Option<String>,
    /// True for a key that acts for all tenants.
    #[graphql(default)]
    all_tenants: bool,
    /// Lifetime in days: 1 to 400. Default: 90.
    ttl_days: Option<i32>,
    /// Maximum rate of requests per second: 1 to 1,000,000. Default: none.
    rate_per_second: Option<i32>,
    /// Maximum number of requests at once: 1 to 1,000,000. Requires a rate. Default: the rate.
    burst: Option<i32>,
    /// Maximum number of open streams: 1 to 1,000,000. Default: none.
    max_streams: Option<i32>,
}

/// An API key to rotate.
#[derive(InputObject)]
pub(crate) struct RotateApiKeyInput {
    /// The id of the key.
    pub(super) id: ID,
    /// Time in hours for which the old key stays valid: 0 to 720. Default: 24.
    grace_hours: Option<i32>,
    /// Lifetime of the new key in days: 1 to 400. Default: 90.
    ttl_days: Option<i32>,
}

/// An API key to revoke.
#[derive(InputObject)]
pub(crate) struct RevokeApiKeyInput {
    /// The id of the key.
    pub(super) id: ID,
}

impl RotateApiKeyInput {
    /// Returns the grace period and the lifetime.
    pub(super) fn read(&self) -> Result<(Duration, Duration), Vec<UserError>> {
        let mut errors = Vec::new();
        let ttl = days(self.ttl_days, &mut errors);
        let max = i32::try_from(MAX_GRACE.as_secs() / HOUR.as_secs()).unwrap_or(i32::MAX);
        let hours = whole("graceHours", self.grace_hours, 0..=max, &mut errors).unwrap_or(GRACE_HOURS);
        if errors.is_empty() { Ok((HOUR * hours, ttl)) } else { Err(errors) }
    }
}

/// Returns the key to create; without a tenant it is that of the caller.
pub(super) fn read_request(
    input: CreateApiKeyInput,
    own_tenant: &TenantId,
) -> Result<KeyRequest, Vec<UserError>> {
    let mut errors = Vec::new();
    let ttl = days(input.ttl_days, &mut errors);
    let mut count = |name, value, max: u32| whole(name, value, 1..=max.cast_signed(), &mut errors);
    let limits = Limits {
        rate_per_s: count("ratePerSecond", input.rate_per_second, MAX_RATE),
        burst: count("burst", input.burst, MAX_BURST),
        max_streams: count("maxStreams", input.max_streams, MAX_STREAM_LIMIT),
        max_open: None,
    };
    if limits.burst.is_some() && limits.rate_per_s.is_none() {
        errors.push(UserError::input("burst", "requires ratePerSecond"));
    }
    let scopes = match (input.role, input.scopes) {
        (Some(role), None) => role.parse().map(Role::scopes).map_err(|error| ("role", format!("is {error}"))),
        (None, Some(words)) => read_scopes(&words).map_err(|message| ("scopes", message)),
        (Some(_), Some(_)) => Err(("scopes", "must not be given together with role".to_owned())),
        (None, None) => Err(("role", "or scopes is required".to_owned())),
    };
    let scopes = scopes.unwrap_or_else(|(name, message)| {
        errors.push(UserError::input(name, message));
        Scopes::NONE
    });
    let tenant = match (input.tenant, input.all_tenants) {
        (Some(_), true) => Err(("allTenants", "must not be true together with tenant".to_owned())),
        (None, true) => Ok(NewKeyTenant::All),
        (Some(tenant), false) => {
            tenant.parse().map(NewKeyTenant::One).map_err(|error| ("tenant", format!("is {error}")))
        }
        (None, false) => Ok(NewKeyTenant::One(own_tenant.clone())),
    };
    match tenant {
        Ok(tenant) if errors.is_empty() => Ok(KeyRequest { name: input.name, tenant, scopes, ttl, limits }),
        tenant => {
            errors.extend(tenant.err().map(|(name, message)| UserError::input(name, message)));
            Err(errors)
        }
    }
}

/// Reads a list with one scope in each string.
fn read_scopes(words: &[String]) -> Result<Scopes, String> {
    let scope = |word: &String| {
        let known = Scope::ALL.iter().find(|scope| scope.as_str() == word);
        known.copied().ok_or_else(|| format!("must be of {}, is '{word}'", Scopes::ALL))
    };
    let scopes = words.iter().map(scope).collect::<Result<Vec<_>, _>>()?;
    if scopes.is_empty() { Err("must not be empty".to_owned()) } else { Ok(Scopes::of(&scopes)) }
}

fn days(value: Option<i32>, errors: &mut Vec<UserError>) -> Duration {
    let max = i32::try_from(MAX_KEY_TTL.as_secs() / DAY.as_secs()).unwrap_or(i32::MAX);
    DAY * whole("ttlDays", value, 1..=max, errors).unwrap_or(TTL_DAYS)
}

/// Checks that a number is in a range. Without one the result is `None`.
pub(super) fn whole(
    name: &str,
    value: Option<i32>,
    range: RangeInclusive<i32>,
    errors: &mut Vec<UserError>,
) -> Option<u32> {
    let value = value?;
    if !range.contains(&value) {
        errors.push(UserError::input(
            name,
            format!("must be {} to {}, is {value}", range.start(), range.end()),
        ));
    }
    u32::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> CreateApiKeyInput {
        let role = Some("writer".to_owned());
        CreateApiKeyInput {
            name: "shop".to_owned(),
            role,
            scopes: None,
            tenant: None,
            all_tenants: false,
            ttl_days: None,
            rate_per_second: None,
            burst: None,
            max_streams: None,
        }
    }

    fn fields(input: CreateApiKeyInput) -> Vec<String> {
        let errors = read_request(input, &TenantId::default()).err().unwrap();
        errors.into_iter().map(|error| error.field.unwrap().join(".")).collect()
    }

    #[test]
    fn a_key_has_a_role_or_scopes() {
        let key = read_request(input(), &TenantId::default()).ok().unwrap();
        assert_eq!((key.scopes, key.ttl), (Role::Writer.scopes(), DAY * TTL_DAYS));
        assert_eq!(key.tenant, NewKeyTenant::One(TenantId::default()));
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let scopes = words(&["work", "orders:read"]);
        let key = CreateApiKeyInput { role: None, scopes, all_tenants: true, ..input() };
        let key = read_request(key, &TenantId::default()).ok().unwrap();
        assert_eq!(key.scopes, Scopes::of(&[Scope::Work, Scope::OrdersRead]));
        assert_eq!(key.tenant, NewKeyTenant::All);
        assert_eq!(fields(CreateApiKeyInput { role: None, ..input() }), ["input.role"]);
        assert_eq!(fields(CreateApiKeyInput { role: Some("king".into()), ..input() }), ["input.role"]);
        assert_eq!(fields(CreateApiKeyInput { scopes: words(&["work"]), ..input() }), ["input.scopes"]);
        for wrong in [words(&[]), words(&["play"]), words(&["work orders:read"])] {
            assert_eq!(fields(CreateApiKeyInput { role: None, scopes: wrong, ..input() }), ["input.scopes"]);
        }
        let tenant = Some("shop".to_owned());
        let both = CreateApiKeyInput { tenant, all_tenants: true, ttl_days: Some(401), ..input() };
        assert_eq!(fields(both), ["input.ttlDays", "input.allTenants"]);
    }
}
