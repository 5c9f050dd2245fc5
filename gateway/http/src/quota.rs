//! Applies the limits of keys and tenants to requests, and states them in responses.
//!
//! A request costs 1 when it is admitted. A route charges what a request costs beyond that, such as the rows of a bulk
//! create. Only responses to callers with a limited rate have the fields, on success and on errors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use domain::{Cost, ErrorCode, LimitOwner, Principal, RateExceeded, RateState, StreamsExceeded};
use http::{Extensions, HeaderName, HeaderValue};
use metrics::counter;

use super::problem::Problem;

/// The field with the limits, of `draft-ietf-httpapi-ratelimit-headers`.
///
/// The names are those of version 08. It is a draft: later versions can have other names or parameters.
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The field with what is left of the limits.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// `Retry-After` of a stream beyond the limit.
const STREAM_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Admits a request of the cost 1 to the rates of its key and its tenant.
///
/// # Errors
/// `rate_limited`.
pub fn charge(principal: &Principal) -> Result<(), Problem> {
    charge_cost(principal, Cost { total: 1, paid: 0 })
}

/// Charges the rest of a request that costs more than 1, for which it was admitted.
///
/// # Errors
/// As [`charge`].
pub fn charge_rest(principal: &Principal, total: usize) -> Result<(), Problem> {
    if total <= 1 {
        return Ok(());
    }
    charge_cost(principal, Cost { total: u32::try_from(total).unwrap_or(u32::MAX), paid: 1 })
}

fn charge_cost(principal: &Principal, cost: Cost) -> Result<(), Problem> {
    if principal.quotas.is_none() {
        return Ok(());
    }
    principal.quotas.charge(cost, Instant::now()).map_err(|RateExceeded { owner, wait }| {
        count(match owner {
            LimitOwner::Key => "key_rate",
            LimitOwner::Tenant => "tenant_rate",
        });
        let detail =
            format!("the {} of the request exceeds its rate; send fewer requests per second", owner.as_str());
        Problem::new(ErrorCode::RateLimited, detail).retry_after(wait)
    })
}

/// Returns the error of a stream beyond the limit of a key or a tenant.
pub(crate) fn too_many_streams(StreamsExceeded { owner, max }: StreamsExceeded) -> Problem {
    count(match owner {
        LimitOwner::Key => "key_streams",
        LimitOwner::Tenant => "tenant_streams",
    });
    let detail = format!(
        "the {} of the request has {max} open streams at this gateway, which is the limit; close some",
        owner.as_str()
    );
    Problem::new(ErrorCode::QuotaExceeded, detail).retry_after(STREAM_RETRY_AFTER)
}

fn count(limit: &'static str) {
    counter!("orders_quota_rejections_total", "limit" => limit).increment(1);
}

/// The caller of a request, if it has limits.
pub(crate) struct LimitedCaller(Option<Arc<Principal>>);

impl LimitedCaller {
    /// Returns the caller of an admitted request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self(extensions.get::<Arc<Principal>>().filter(|principal| !principal.quotas.is_none()).cloned())
    }

    /// Admits the request.
    pub(crate) fn charge(&self) -> Result<(), Problem> {
        self.0.as_ref().map_or(Ok(()), |principal| charge(principal))
    }

    /// Adds the fields to the response, if a rate is limited.
    pub(crate) fn finish(&self, mut response: Response) -> Response {
        let Some(principal) = &self.0 else { return response };
        let rates: Vec<_> = principal.quotas.rates(Instant::now()).collect();
        if rates.is_empty() {
            return response;
        }
        let list = |item: fn(LimitOwner, &RateState) -> String| {
            rates.iter().map(|(owner, rate)| item(*owner, rate)).collect::<Vec<_>>().join(", ")
        };
        for (name, items) in [(RATE_LIMIT_POLICY, list(policy)), (RATE_LIMIT, list(state))] {
            if let Ok(value) = HeaderValue::from_str(&items) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Returns the limit: `q` requests in a window of `w` seconds.
fn policy(owner: LimitOwner, rate: &RateState) -> String {
    format!("\"{}\";q={};w={}", owner.as_str(), rate.limit, whole_seconds(rate.window).max(1))
}

/// Returns what is left: `r` requests, and all after `t` seconds.
fn state(owner: LimitOwner, rate: &RateState) -> String {
    format!("\"{}\";r={};t={}", owner.as_str(), rate.remaining, whole_seconds(rate.reset))
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use domain::{Limits, Quota, Quotas, Shares};

    use super::*;

    fn principal(key: Option<Limits>, tenant: Option<Limits>) -> Arc<Principal> {
        let quota = |limits: Limits| Arc::new(Quota::new(&limits, Shares::default(), Instant::now()));
        let quotas = Quotas { key: key.map(quota), tenant: tenant.map(quota) };
        Arc::new(Principal { quotas, ..Principal::anonymous() })
    }

    fn rate(rate_per_s: u32, burst: u32) -> Limits {
        Limits { rate_per_s: Some(rate_per_s), burst: Some(burst), ..Limits::default() }
    }

    fn fields(principal: &Arc<Principal>) -> [Option<String>; 2] {
        let mut extensions = Extensions::new();
        extensions.insert(principal.clone());
        let response = LimitedCaller::of(&extensions).finish(().into_response());
        [RATE_LIMIT_POLICY, RATE_LIMIT]
            .map(|name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn fields_state_the_limits_and_what_is_left() {
        let caller = principal(Some(rate(1, 3)), Some(rate(2, 1_000)));
        charge(&caller).unwrap();
        charge_rest(&caller, 2).unwrap();
        let [policy, state] = fields(&caller).map(Option::unwrap);
        assert_eq!(policy, r#""key";q=3;w=3, "tenant";q=1000;w=500"#);
        assert_eq!(state, r#""key";r=1;t=2, "tenant";r=998;t=1"#);
        let unlimited = [principal(None, None), principal(Some(Limits::default()), None)];
        assert_eq!(unlimited.map(|caller| fields(&caller)), [const { [None, None] }; 2]);
    }

    #[test]
    fn a_refusal_states_its_owner_and_its_wait() {
        let caller = principal(None, Some(rate(1, 2)));
        charge(&caller).unwrap();
        charge_rest(&caller, 2).unwrap();
        assert!(charge_rest(&caller, 1).is_ok());
        let problem = charge(&caller).unwrap_err();
        assert_eq!(problem.code(), ErrorCode::RateLimited);
        assert!(problem.detail().contains("tenant"), "{}", problem.detail());
        assert!(problem.wait().is_some_and(|wait| wait <= Duration::from_secs(1)));
    }
}
