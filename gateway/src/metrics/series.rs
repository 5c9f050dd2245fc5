//! The series that exist with 0 from the start: a rate over a series that appears with its first event misses this event.
//!
//! Every metric without a label and every value of a bounded label is registered. Labels without bounds, such as error
//! classes of handlers, have only their known values; a metric of a part that is not configured (TLS, a token issuer)
//! appears with this part.

use domain::transition::{CLASS_ERROR, CLASS_LEASE_EXPIRED};
use domain::{EndpointState, ErrorCode, Status};
use gateway_store::Cause;
use metrics::{Label, counter, histogram};
use utoipa::openapi::path::{Operation, PathItem};
use webhook::OutcomeKind;

/// Metrics that are registered where their labels or their values are known.
pub(super) const ELSEWHERE: [&str; 8] = [
    "orders_build_info",
    // By the service.
    "orders_attempt_duration_seconds",
    "orders_completion_duration_seconds",
    "orders_wait_duration_seconds",
    // By each loaded certificate.
    "orders_tls_certificate_expiry_timestamp_seconds",
    "orders_tls_reloads_total",
    // With a token issuer.
    "orders_jwks_loaded_timestamp_seconds",
    "orders_jwks_reads_total",
];
/// Metrics whose labels are those of the documented routes.
pub(super) const BY_ROUTE: [&str; 2] = ["orders_http_request_duration_seconds", "orders_http_requests_total"];

/// A label and its values.
type LabelValues = (&'static str, &'static [&'static str]);

/// The values of each label, except those of enums of other crates.
const LABELS: [(&str, &[LabelValues]); 19] = [
    ("orders_assigned_jobs_total", &[("origin", &["creation", "queue"])]),
    (
        "orders_auth_total",
        &[
            ("method", &["none", "key", "token", "session", "certificate", "tracking_link"]),
            ("outcome", &["accepted", "refused", "rate_limited"]),
        ],
    ),
    ("orders_batch_entries_total", &[("kind", &["create", "command"])]),
    ("orders_batches_total", &[("kind", &["create", "command"])]),
    ("orders_bus_messages_rejected_total", &[("reason", &["foreign", "forged", "replayed", "unreadable"])]),
    ("orders_database_clock_steps_total", &[("direction", &["back", "forward"])]),
    (
        "orders_database_connections",
        &[("pool", &["readers", "writers", "searches", "replica"]), ("state", &["idle", "used"])],
    ),
    ("orders_database_replica_reads_total", &[("source", &["replica", "primary"])]),
    // Workers choose further classes.
    ("orders_failed_total", &[("error_class", &[CLASS_ERROR, CLASS_LEASE_EXPIRED, "other"])]),
    ("orders_graphql_persisted_queries_total", &[("outcome", &["hit", "miss", "registered"])]),
    (
        "orders_graphql_rejections_total",
        &[(
            "reason",
            &[
                "aliases",
                "batch",
                "brackets",
                "complexity",
                "depth",
                "directives",
                "document",
                "execution_time",
                "fragment_cycle",
                "handshake",
                "introspection",
                ErrorCode::IntrospectionDisabled.as_str(),
                "operations",
                "origin",
                "response",
                "root_fields",
                "selections",
                "subscription_fields",
                "tokens",
                "trusted_documents",
                "variables",
            ],
        )],
    ),
    ("orders_graphql_websocket_closes_total", &[("code", gateway_graphql::CLOSE_CODES)]),
    ("orders_graphql_websockets", &[("protocol", &["graphql-transport-ws", "graphql-ws"])]),
    (
        "orders_http_rejections_total",
        &[(
            "reason",
            &[
                "body",
                ErrorCode::BodyTimeout.as_str(),
                "bulk_work",
                "certificate_expired",
                "connections",
                "connections_per_address",
                "frame_timeout",
                "head_timeout",
                ErrorCode::HeadTooLarge.as_str(),
                "host",
                "idle",
                ErrorCode::MalformedRequest.as_str(),
                "origin",
                "request_buffer",
                "resets",
                "response_buffer",
                "stream_stall",
                "streams",
                "streams_per_address",
                ErrorCode::UriTooLong.as_str(),
                "write_stall",
            ],
        )],
    ),
    (
        "orders_open_streams",
        &[(
            "kind",
            &[
                "event_log",
                "events",
                "graphql_events",
                "long_poll",
                "read_events",
                "service",
                "watch_order",
                "websocket",
                "work",
            ],
        )],
    ),
    (
        "orders_panics_total",
        &[(
            "component",
            &[
                "audit_log",
                "batch",
                "bulk",
                "clock",
                "claim_queue",
                "dispatch",
                "event_log",
                "event_log_retention",
                "feed",
                "graphql",
                "grpc",
                "health_monitor",
                "http",
                "progress",
                "prune",
                "publish",
                "replica",
                "retention",
                "search",
                "shards",
                "signals",
                "sweeper",
                "webhook_housekeeping",
                "webhooks",
                "workers",
            ],
        )],
    ),
    (
        "orders_quota_rejections_total",
        &[("limit", &["key_rate", "tenant_rate", "key_streams", "tenant_streams", "tenant_open_orders"])],
    ),
    (
        "orders_tls_handshake_errors_total",
        &[(
            "reason",
            &["client_certificate", "closed", "protocol", "refused_by_client", "timeout", "without_tls"],
        )],
    ),
    ("orders_webhook_messages", &[("state", &["waiting", "failed"])]),
];

/// Returns the labels of each series of a metric that exists from the start. None for a metric that is registered
/// elsewhere or by [`register_routes`].
pub(super) fn labels_of(name: &str) -> Vec<Vec<Label>> {
    let one = |label: &'static str, values: Vec<&'static str>| {
        values.into_iter().map(|value| vec![Label::from_static_parts(label, value)]).collect()
    };
    match name {
        name if ELSEWHERE.contains(&name) || BY_ROUTE.contains(&name) => Vec::new(),
        "orders_parked_total" => one("reason", Cause::ALL.iter().map(|cause| cause.as_str()).collect()),
        "orders_transitions_total" => {
            one("status", Status::ALL.iter().map(|status| status.as_str()).collect())
        }
        "orders_webhook_deliveries_total" => {
            one("outcome", OutcomeKind::ALL.iter().map(|outcome| outcome.as_str()).collect())
        }
        "orders_webhook_endpoints" => {
            one("state", EndpointState::ALL.iter().map(|state| state.as_str()).collect())
        }
        _ => {
            let found = LABELS.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, labels)| *labels);
            found.iter().fold(vec![Vec::new()], |series, (label, values)| {
                let with = |value| Label::from_static_parts(label, value);
                let extend = |labels: Vec<Label>| {
                    values.iter().map(move |value| [&labels[..], &[with(value)]].concat()).collect::<Vec<_>>()
                };
                series.into_iter().flat_map(extend).collect()
            })
        }
    }
}

/// Registers the series of the documented routes and GraphQL, with the status of a success and those of failures of the
/// gateway. Another status appears with its first response.
pub(super) fn register_routes() {
    let document = crate::openapi();
    let documented = document.paths.paths.iter().flat_map(|(route, item)| {
        operations(item).map(move |(method, operation)| (method, route.clone(), success(operation)))
    });
    let graphql = [("GET", "200"), ("POST", "200")]
        .map(|(method, status)| (method, "/graphql".to_owned(), status.to_owned()));
    for (method, route, success) in documented.chain(graphql) {
        let labels = [("method", method.to_owned()), ("route", route)];
        drop(histogram!(BY_ROUTE[0], &labels));
        for status in [success.as_str(), "500", "503"] {
            let [method, route] = labels.clone();
            counter!(BY_ROUTE[1], &[method, route, ("status", status.to_owned())]).increment(0);
        }
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let of = [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    of.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn success(operation: &Operation) -> String {
    let statuses = operation.responses.responses.keys();
    statuses.into_iter().find(|status| status.starts_with('2')).cloned().unwrap_or_else(|| "200".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What precedes a value of a label in the code. The value is the next string in quotes.
    const PRECEDING: [(&str, &str, &[&str]); 6] = [
        (
            "orders_graphql_rejections_total",
            "graphql/src",
            &[
                "LimitExceeded::over(",
                "LimitExceeded::new(",
                "LimitExceeded { limit: ",
                "ErrorCode::LimitExceeded,",
                "refused(",
            ],
        ),
        ("orders_http_rejections_total", "http/src", &["Budget::new(", "Exceeded(Some("]),
        ("orders_open_streams", "", &["StreamKind::new("]),
        (
            "orders_panics_total",
            "",
            &["catch_async(", "panics::catch(", "panics::record(", "restart_on_panic("],
        ),
        ("orders_quota_rejections_total", "http/src", &["LimitOwner::Key => ", "LimitOwner::Tenant => "]),
        ("orders_tls_handshake_errors_total", "http/src/server", &["Failure { reason: "]),
    ];

    /// Calls `found` with the code of each file, without its tests.
    fn each_file(folder: &Path, found: &mut impl FnMut(&str)) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") && !path.ends_with("metrics") {
                each_file(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let code = std::fs::read_to_string(&path).unwrap();
                found(code.split("#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }

    fn values(name: &str) -> BTreeSet<String> {
        labels_of(name).iter().flatten().map(|label| label.value().to_owned()).collect()
    }

    /// Returns the string in quotes at the beginning of code.
    fn quoted(code: &str) -> Option<&str> {
        code.trim_start().strip_prefix('"')?.split('"').next()
    }

    #[test]
    fn every_value_of_a_label_in_the_code_is_registered() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut missing = BTreeSet::new();
        let mut count = 0;
        let mut check = |name: &str, value: &str| {
            count += 1;
            if !ELSEWHERE.contains(&name) && !values(name).contains(value) {
                missing.insert(format!("{name}: {value}"));
            }
        };
        for (name, folder, preceding) in PRECEDING {
            each_file(&root.join(folder), &mut |code| {
                for words in preceding {
                    code.split(words).skip(1).filter_map(quoted).for_each(|value| check(name, value));
                }
            });
        }
        for folder in ["", "../broker/src", "../telemetry/src"] {
            each_file(&root.join(folder), &mut |code| {
                for start in ["counter!(", "gauge!(", "histogram!("] {
                    for call in code.split(start).skip(1) {
                        let (Some(name), Some(arguments)) = (quoted(call), call.split(')').next()) else {
                            continue;
                        };
                        let given = arguments.split("=>").skip(1).filter_map(quoted);
                        given.for_each(|value| check(name, value));
                    }
                }
            });
        }
        assert!(missing.is_empty(), "add these to LABELS: {missing:#?}");
        assert!(count > 80, "{count} values");
    }
}
