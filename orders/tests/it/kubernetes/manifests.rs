//! The committed manifests, without any program that a newcomer may lack.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::rules::{check, settings};
use super::{OLDEST, manifests_py, name, objects, of_kind, read, repository};

/// Returns the objects of the base and of the migration.
pub(super) fn base() -> Vec<Value> {
    let base = read("ops/kubernetes/base/orders.yaml");
    objects(&format!("{base}\n---\n{}", read("ops/kubernetes/migrate/job.yaml")))
}

/// Returns the objects of the trial.
pub(super) fn trial() -> Vec<Value> {
    let files =
        ["namespace", "servers", "orders"].map(|file| read(&format!("ops/kubernetes/trial/{file}.yaml")));
    objects(&files.join("\n---\n"))
}

/// kubernetes-validate checks every object against the schemas of each version, and refuses what they do not name.
#[test]
fn the_manifests_are_valid_for_every_supported_version() {
    let base = base();
    let kinds: BTreeSet<_> = base.iter().filter_map(|object| object["kind"].as_str()).collect();
    let expected = ["Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service"];
    assert_eq!(kinds, BTreeSet::from(expected));
    check(&base);
    check(&trial());
    let chart = read("ops/helm/orders/Chart.yaml");
    assert!(chart.contains(&format!("kubeVersion: \">={OLDEST}.0-0\"")));
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        chart.contains(&format!("\nversion: {version}\nappVersion: \"{version}\"\n")),
        "the version of the program"
    );
}

#[test]
fn a_misspelt_field_is_refused() {
    let base = read("ops/kubernetes/base/orders.yaml");
    for (right, wrong) in [
        ("livenessProbe:", "livenesProbe:"),
        ("matchLabelKeys:", "matchLabelsKeys:"),
        ("policyTypes:", "policyType:"),
        ("replicas: 2", "replicas: two"),
        ("      volumes:", "      volumes: []\n      volumes:"),
    ] {
        assert!(base.contains(right), "{right}");
        let output = manifests_py(&base.replacen(right, wrong, 1), &["--validate", OLDEST]);
        assert!(!output.status.success(), "{wrong} is accepted");
    }
}

/// The port of workers is open for processors only, and what operators read for the monitoring only.
#[test]
fn policies_name_who_reaches_a_gateway() {
    let base = base();
    let policies = of_kind(&base, "NetworkPolicy");
    let gateway = policies.into_iter().find(|policy| name(policy) == "orders-gateway").expect("a policy");
    let from = |port: &str| {
        let rules = gateway["spec"]["ingress"].as_array().expect("rules").iter();
        let mut rules = rules.filter(|rule| rule["ports"][0]["port"] == port);
        rules.next().expect("a rule")["from"].clone()
    };
    assert!(from("http").is_null(), "every request needs a key");
    assert_eq!(from("grpc").as_array().map(Vec::len), Some(1));
    assert_eq!(from("grpc")[0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "processor");
    let namespace = &from("admin")[0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
    assert_eq!(namespace, "monitoring");
}

/// Gateways get no right to change tables, and processors no right to use the database.
#[test]
fn each_secret_is_mounted_where_it_is_needed() {
    let mounted: BTreeSet<_> = super::pods(&base())
        .iter()
        .flat_map(|(owner, pod)| {
            let volumes = super::list(&pod["volumes"]).iter();
            let secrets = volumes.filter_map(|volume| volume["secret"]["secretName"].as_str());
            secrets.map(|secret| format!("{owner}: {secret}")).collect::<Vec<_>>()
        })
        .collect();
    let expected = [
        "orders-gateway: orders-first-keys",
        "orders-gateway: orders-gateway",
        "orders-migrate: orders-migrate",
        "orders-processor: orders-processor",
    ];
    assert_eq!(mounted, expected.map(str::to_owned).into());
}

/// Settings that the chart sets itself, or that open a gateway.
const NOT_IN_VALUES: [&str; 23] = [
    "admin-addr",
    "allow-tokenless-reports",
    "bootstrap-key-file",
    "bootstrap-worker-key-file",
    "bus-secret-file",
    "config",
    "data-dir",
    "gateway-ca",
    "gateway-url",
    "grpc-addr",
    "http-addr",
    "insecure-allow-anonymous",
    "job-source",
    "log-format",
    "metrics-addr",
    "migrate",
    "secret-key-file",
    "shutdown-delay",
    "shutdown-timeout",
    "tls-cert",
    "tls-key",
    "token-file",
    // A name for all pods.
    "worker-id",
];

/// Returns whether a setting can also be in a file, because it is a secret, or is this file.
fn is_secret(flag: &str, settings: &BTreeMap<String, String>) -> bool {
    let value = flag.strip_suffix("-file").unwrap_or(flag);
    settings.contains_key(value) && settings.contains_key(&format!("{value}-file"))
}

/// `gateway.settings` and `processor.settings` of the chart accept the flags of these commands and nothing else.
/// `ORDERS_WRITE_REFERENCE=1` writes the lists.
#[test]
fn the_schema_of_values_lists_the_settings() {
    let path = "ops/helm/orders/values.schema.json";
    let mut schema = read(path);
    for command in ["gateway", "processor"] {
        let settings = settings(command);
        let excluded = |flag: &&String| NOT_IN_VALUES.contains(&flag.as_str()) || is_secret(flag, &settings);
        let flags: Vec<_> = settings.keys().filter(|flag| !excluded(flag)).collect();
        assert!(flags.len() > 10, "{flags:?}");
        let mark = format!("\"$comment\": \"settings of {command}\",");
        let (before, rest) = schema.split_once(&mark).expect("the schema has the mark");
        let (_, after) = rest.split_once("]}").expect("the names follow the mark");
        let names: Vec<_> = flags.iter().map(|flag| format!("\"{flag}\"")).collect();
        let list = names.chunks(6).map(|names| names.join(", ")).collect::<Vec<_>>().join(",\n            ");
        let names =
            format!("\n          \"type\": \"object\",\n          \"propertyNames\": {{\"enum\": [{list}]}}");
        schema = format!("{before}{mark}{names}{after}");
    }
    if std::env::var_os("ORDERS_WRITE_REFERENCE").is_some() {
        std::fs::write(repository(path), &schema).expect("the schema can be written");
    }
    assert!(schema == read(path), "{path} is stale: ORDERS_WRITE_REFERENCE=1 rewrites it");
}

/// The queries that scale processors and the monitors name metrics that exist.
#[test]
fn the_queries_of_the_autoscaler_name_metrics() {
    let metrics = read("docs/reference/metrics.md");
    let template = read("ops/helm/orders/templates/autoscaling.yaml");
    let words = template.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let named: BTreeSet<_> = words.filter(|word| word.starts_with("orders_")).collect();
    assert_eq!(named.len(), 3, "{named:?}");
    for metric in named {
        assert!(metrics.contains(&format!("| `{metric}` |")), "{metric}");
    }
}
