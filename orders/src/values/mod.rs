//! The types of settings. Each value is parsed once, at the edge, and trusted afterwards.
//!
//! A parser's error completes the sentence "`--setting` is `value`: …", and its hint states the expected form.

mod address;
mod context;
mod credentials;
mod domain_values;
mod email;
mod error;
mod files;
mod number;
#[cfg(test)]
mod property_tests;
mod redis_url;
mod units;
mod urls;

use domain::WorkerName;

pub(crate) use address::{IpNets, ListenAddr, connect_address, hosts, ip_nets, origins};
pub(crate) use context::{ContextName, context_url};
pub(crate) use credentials::{AuthMode, algorithm, audience, auth_mode, claim, issuer, key_url};
pub(crate) use domain_values::{
    Since, Until, currency, customer, endpoint_id, kind, kinds, label, metadata, metadata_change, now,
    open_status, order_code, order_id, priority, requester, role, scopes, setting, since, sort, status,
    tenant, until, word,
};
pub(crate) use email::{event_types, sender, smtp_url, staff};
pub(crate) use error::ValueError;
pub(crate) use files::{InFile, in_file};
pub(crate) use number::{NewLimit, is_switch_value, limit, number, rate, share, switch};
pub(crate) use redis_url::RedisUrl;
pub(crate) use units::{duration, hours, show_duration, show_size, size};
pub(crate) use urls::{
    BusSecrets, DatabaseUrl, ServerUrl, bus_secrets, redacted, redacted_text, replica_url, secret,
    secret_keys, webhook_secret, webhook_secrets,
};

/// Parses the prefix of the key names in Redis.
pub(crate) fn key_prefix(text: &str) -> Result<String, ValueError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:{}".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
        return Err(ValueError::new(
            "it is not a valid key prefix",
            "use 1 to 64 letters, digits and the characters - _ . : { }",
        ));
    }
    Ok(text.to_owned())
}

/// Parses the name of a worker.
pub(crate) fn worker_id(text: &str) -> Result<String, ValueError> {
    if WorkerName::clean(text).is_none_or(|name| name.as_str() != text) {
        return Err(ValueError::new(
            "it is not a name",
            "use 1 to 64 letters, digits and the characters . _ : / @ -",
        ));
    }
    Ok(text.to_owned())
}
