//! The caller that reads the events of an endpoint.

use domain::Principal;
use gateway_store::WebhookEndpoint;

/// Returns the caller: it sees the events of the tenant of the endpoint.
pub(crate) fn events_reader(endpoint: &WebhookEndpoint) -> Principal {
    Principal::subscriber(format!("webhook:{}", endpoint.id), endpoint.tenant.clone())
}
