//! Callers that a client certificate identifies.
//!
//! The handshake has verified the certificate. A request without another credential is one of a worker: on the port of
//! workers, the authorities of client certificates decide who is one.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::{ErrorCode, Principal, Role, Timestamp};
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use tls::ClientIdentity;

use crate::problem::Problem;

/// The longest time until a step of the clock is noticed.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// Returns the client certificate of a request that has no other credential.
pub(super) fn only_credential<'a>(
    headers: &HeaderMap,
    extensions: &'a Extensions,
) -> Option<&'a ClientIdentity> {
    if headers.contains_key(AUTHORIZATION) { None } else { extensions.get::<ClientIdentity>() }
}

/// Returns the worker that a certificate identifies.
///
/// # Errors
/// `token_expired` after the end of the certificate.
pub(super) fn worker(identity: &ClientIdentity) -> Result<Arc<Principal>, Problem> {
    if rest(identity).is_zero() {
        return Err(expired());
    }
    Ok(Arc::new(Principal {
        name: Arc::from(format!("certificate:{}", identity.name())),
        scopes: Role::Worker.scopes(),
        expires_at: Some(Timestamp::from_micros(identity.not_after().saturating_mul(1_000_000))),
        ..Principal::anonymous()
    }))
}

/// Waits until the end of a certificate, by the clock of this machine, and returns the error for its streams.
pub(super) async fn until_expired(identity: ClientIdentity) -> Problem {
    until_end(&identity).await;
    expired()
}

/// Waits until the end of a certificate.
///
/// A step of the clock is noticed after [`CLOCK_CHECK`].
pub(crate) async fn until_end(identity: &ClientIdentity) {
    loop {
        let rest = rest(identity);
        if rest.is_zero() {
            return;
        }
        tokio::time::sleep(rest.min(CLOCK_CHECK)).await;
    }
}

/// Returns the time until the end of a certificate.
fn rest(identity: &ClientIdentity) -> Duration {
    let end = Duration::from_secs(u64::try_from(identity.not_after()).unwrap_or_default());
    // Before 1970 a certificate is valid as long as its end says.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    end.saturating_sub(now)
}

fn expired() -> Problem {
    Problem::new(
        ErrorCode::TokenExpired,
        "the client certificate has expired: connect again with a valid certificate",
    )
}

#[cfg(test)]
mod tests {
    use domain::Scope;
    use http::HeaderValue;
    use test_certificates::{Authority, Leaf};
    use tokio_rustls::rustls::pki_types::CertificateDer;

    use super::*;

    fn identity(leaf: &Leaf) -> ClientIdentity {
        let issued = Authority::new("ca").issue(leaf);
        ClientIdentity::of(&[CertificateDer::from(issued.der().to_vec())]).unwrap()
    }

    #[test]
    fn a_certificate_is_the_credential_of_a_worker_until_its_end() {
        let valid = identity(&Leaf::client("x").uri("spiffe://shop/worker"));
        let worker_principal = worker(&valid).unwrap();
        assert_eq!(&*worker_principal.name, "certificate:spiffe://shop/worker");
        assert!(worker_principal.all_tenants && worker_principal.require(Scope::Work).is_ok());
        assert!(worker_principal.require(Scope::OrdersRead).is_err());
        let end = worker_principal.expires_at.unwrap();
        assert_eq!(end, Timestamp::from_micros(valid.not_after() * 1_000_000));
        let ended = identity(&Leaf::client("x").valid_until("2001-01-01T00:00:00Z"));
        assert_eq!(worker(&ended).unwrap_err().code(), ErrorCode::TokenExpired);
    }

    #[test]
    fn a_header_has_precedence() {
        let mut extensions = Extensions::new();
        let mut headers = HeaderMap::new();
        assert!(only_credential(&headers, &extensions).is_none());
        extensions.insert(identity(&Leaf::client("x")));
        assert!(only_credential(&headers, &extensions).is_some());
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert!(only_credential(&headers, &extensions).is_none());
    }
}
