//! The structure of the source, as rules: which crate may use which, and where technologies may be
//! known. A rule that is in the way is changed here, on purpose, and not by accident somewhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Crate → the crates of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("proto", &["domain"]),
    ("telemetry", &["domain"]),
    ("tls", &[]),
    // One request to a receiver, without any order.
    ("webhook", &["tls"]),
    ("broker", &["domain", "telemetry"]),
    ("gateway-store", &["domain", "telemetry"]),
    ("gateway-service", &["domain", "telemetry", "broker", "gateway-store"]),
    ("gateway-access", &["domain", "telemetry", "tls", "gateway-store"]),
    ("gateway-webhooks", &["domain", "telemetry", "webhook", "gateway-service", "gateway-store"]),
    // HTTP without any order, GraphQL or gRPC.
    ("gateway-http", &["domain", "telemetry", "tls"]),
    (
        "gateway-rest",
        &[
            "domain",
            "telemetry",
            "broker",
            "gateway-access",
            "gateway-http",
            "gateway-service",
            "gateway-store",
            "gateway-webhooks",
        ],
    ),
    (
        "gateway-graphql",
        &[
            "domain",
            "telemetry",
            "broker",
            "gateway-access",
            "gateway-http",
            "gateway-service",
            "gateway-store",
            "gateway-webhooks",
        ],
    ),
    ("gateway-grpc", &["domain", "proto", "telemetry", "gateway-http", "gateway-service"]),
    (
        "gateway",
        &[
            "domain",
            "telemetry",
            "tls",
            "broker",
            "gateway-access",
            "gateway-http",
            "gateway-rest",
            "gateway-graphql",
            "gateway-grpc",
            "gateway-service",
            "gateway-store",
            "gateway-webhooks",
            "webhook",
        ],
    ),
    // Gateways as processors and subscribers reach them.
    ("connection", &["telemetry", "tls"]),
    ("processor", &["domain", "proto", "telemetry", "tls", "broker", "connection", "webhook"]),
    ("subscriber", &["domain", "proto", "telemetry", "tls", "connection"]),
    ("subscriber-email", &["connection", "subscriber"]),
    // An example for users, who add such crates.
    ("billing", &["subscriber"]),
    // The composition root may see all parts; the gateway and the processor never see each other.
    (
        "orders",
        &[
            "domain",
            "telemetry",
            "tls",
            "broker",
            "gateway",
            "gateway-http",
            "processor",
            "subscriber",
            "subscriber-email",
        ],
    ),
    ("bench", &["test-database", "domain", "proto", "broker", "gateway", "processor", "orders"]),
    // Reads and changes the databases of tests and measurements.
    ("test-database", &[]),
    // Certificates for tests.
    ("test-certificates", &[]),
    // Redis with several servers for tests.
    ("test-redis", &[]),
    // Signs tokens for tests.
    ("test-tokens", &[]),
    // Receives traces of tests.
    ("test-traces", &[]),
    // Compares docs/reference/limits.md with the code; only tests use it.
    ("limits-page", &[]),
];

/// A crate of others → the crate of ours that may depend on it, and where in it the name may appear.
const HOMES: &[(&str, &str, &str)] = &[
    ("sqlx", "gateway-store", "gateway/store/src"),
    ("redis", "broker", "broker/src/redis"),
    ("deadpool", "broker", "broker/src/redis"),
    ("deadpool-redis", "broker", "broker/src/redis"),
    ("async-graphql", "gateway-graphql", "gateway/graphql/src"),
    ("clap", "orders", "orders/src"),
    ("opentelemetry", "telemetry", "telemetry/src/trace"),
    ("opentelemetry_sdk", "telemetry", "telemetry/src/trace"),
    ("opentelemetry-otlp", "telemetry", "telemetry/src/trace"),
    ("lettre", "subscriber-email", "subscriber/email/src"),
];

/// What does I/O, keeps time or speaks a protocol has no place in the domain.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio",
    "sqlx",
    "redis",
    "deadpool",
    "deadpool-redis",
    "axum",
    "hyper",
    "tonic",
    "prost",
    "async-graphql",
    "reqwest",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The packages of the workspace, from cargo's own view.
fn packages() -> Vec<Value> {
    let output = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs the tests, so it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The folder of each crate.
pub(crate) fn crate_folders() -> Vec<PathBuf> {
    let manifest = |package: &Value| package["manifest_path"].as_str().expect("a path").to_owned();
    let folder = |package| Path::new(&manifest(package)).parent().expect("a folder").to_owned();
    packages().iter().map(folder).collect()
}

/// Crate → what it needs to run or to build.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    packages()
        .iter()
        .map(|package| {
            let needed = package["dependencies"].as_array().expect("dependencies");
            let needed = needed.iter().filter(|dependency| dependency["kind"] != "dev");
            let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
            (name(package), needed.map(name).collect())
        })
        .collect()
}

/// The dependencies between our crates that [`ARROWS`] does not allow.
fn upward(ours: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (krate, needed) in ours {
        let allowed = ARROWS.iter().find(|(name, _)| name == krate);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("the crate {krate} has no arrows here"));
        let others = needed.iter().filter(|other| ours.contains_key(*other));
        found.extend(
            others
                .filter(|other| !allowed.contains(&other.as_str()))
                .map(|other| format!("{krate} must not depend on {other}")),
        );
    }
    found
}

#[test]
fn crates_use_only_what_is_below_them() {
    let ours = dependencies();
    assert_eq!(upward(&ours), Vec::<String>::new());
    for krate in ["domain", "proto", "telemetry", "broker", "gateway-store", "gateway", "processor", "orders"]
    {
        assert!(ours.contains_key(krate), "{krate} is missing");
    }
}

#[test]
fn an_upward_dependency_is_found() {
    let needs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let ours = BTreeMap::from([
        ("domain".to_owned(), needs(&["serde"])),
        ("gateway-http".to_owned(), needs(&["domain", "gateway-rest"])),
        ("gateway-rest".to_owned(), needs(&["gateway-http", "axum"])),
    ]);
    assert_eq!(upward(&ours), ["gateway-http must not depend on gateway-rest"]);
}

#[test]
fn the_domain_does_no_io() {
    let ours = dependencies();
    for foreign in NOT_IN_DOMAIN {
        assert!(!ours["domain"].contains(*foreign), "domain must not depend on {foreign}");
    }
}

#[test]
fn technologies_stay_in_their_homes() {
    let ours = dependencies();
    for (technology, home, folder) in HOMES {
        for (krate, needed) in &ours {
            // The example has its own database, and the load generator compares with others and may speak to anything.
            let may = krate == home
                || ["bench", "billing", "test-database", "test-tokens"].contains(&krate.as_str());
            assert!(may || !needed.contains(*technology), "{krate} must not depend on {technology}");
        }
        let name = technology.replace('-', "_");
        for file in sources(&folder_of(home).join("src")) {
            let path = file.strip_prefix(root()).expect("it is below").to_string_lossy().into_owned();
            let at_home = path.starts_with(folder) || path == format!("{folder}.rs");
            let source = std::fs::read_to_string(&file).expect("sources can be read");
            let stranger = source.lines().find(|line| mentions(line, &name));
            assert!(
                at_home || stranger.is_none(),
                "{path} knows {technology}: {}",
                stranger.unwrap_or_default()
            );
        }
    }
}

/// The folder of a crate. The crate `gateway-store` is in `gateway/store`.
fn folder_of(krate: &str) -> PathBuf {
    root().join(krate.replacen('-', "/", 1))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Whether a line of code uses the crate of this name: `sqlx::…`, but not `broker::sqlx::…`.
fn mentions(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn a_mention_is_told_from_a_lookalike() {
    assert!(mentions("use sqlx::Row;", "sqlx"));
    assert!(mentions("    let x: redis::Client = …", "redis"));
    for lookalike in ["use broker::redis::Redis;", "deadpool::managed", "// sqlx::Row", "pub mod redis;"] {
        assert!(!mentions(lookalike, "redis") && !mentions(lookalike, "sqlx"), "{lookalike}");
    }
}

/// The files that may act for a tenant without a caller. Every other one receives a principal.
const WITHOUT_CALLER: &[(&str, &[&str])] = &[
    // The processor of this process, and requests to a gateway without authentication.
    (
        "Principal::anonymous()",
        &[
            "gateway/access/src/authenticator.rs",
            "gateway/http/src/auth.rs",
            "gateway/http/src/auth/certificate.rs",
        ],
    ),
    // The comparison of watched orders with the database, and the health of the installation, which counts orders of all
    // tenants as the metrics do. The other loops read no orders for callers.
    ("Principal::system(", &["gateway/service/src/feed/mod.rs", "gateway/service/src/health_reasons.rs"]),
    // Keys and tokens for all tenants, entries of the audit log about the queue, and the write test, whose order no
    // transaction but its own sees.
    (
        "TenantId::default",
        &[
            "gateway/access/src/authenticator.rs",
            "gateway/access/src/jwt/claims.rs",
            "gateway/store/src/audit.rs",
            "gateway/store/src/probe.rs",
        ],
    ),
    // The row that the creation of the first keys locks, and the write test.
    ("TenantId::DEFAULT", &["gateway/store/src/api_keys.rs", "gateway/store/src/probe.rs"]),
];

/// Test modules follow the code of a file.
#[test]
fn only_listed_files_act_without_a_caller() {
    let gateway = sources(&root().join("gateway")).into_iter();
    let files: Vec<PathBuf> =
        gateway.filter(|path| !path.components().any(|part| part.as_os_str() == "tests")).collect();
    for (word, listed) in WITHOUT_CALLER {
        let mut found = Vec::new();
        for path in &files {
            let text = std::fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            if code.contains(word) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
        found.sort_unstable();
        assert_eq!(found, *listed, "files with {word}");
    }
}
