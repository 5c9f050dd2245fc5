//! docker-compose.yml: limits, networks, secrets and profiles; the script that creates the secrets; the files of HAProxy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};
use test_certificates::{Authority, Leaf};

use crate::kubernetes::manifests_py;
use crate::kubernetes::rules::settings;

fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns a file of Compose, with its anchors resolved.
fn parsed(path: &str) -> Value {
    let output = manifests_py(&read(path), &[]);
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout).expect("the output is JSON");
    documents.into_iter().next().expect("one document")
}

fn services(file: &Value) -> &Map<String, Value> {
    file["services"].as_object().expect("there are services")
}

/// Returns the strings of a list, or the keys of an object.
fn names(value: &Value) -> BTreeSet<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::Object(object) => object.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn environment(service: &Value) -> BTreeMap<&str, &str> {
    let variables = service["environment"].as_object().into_iter().flatten();
    variables.map(|(name, value)| (name.as_str(), value.as_str().expect("a string"))).collect()
}

/// Returns the volumes that a service mounts.
fn volumes(service: &Value) -> BTreeSet<&str> {
    names(&service["volumes"]).iter().filter_map(|mount| mount.split(':').next()).collect()
}

#[test]
fn services_have_limits_and_networks() {
    let file = parsed("docker-compose.yml");
    let services = services(&file);
    let profiles: Vec<_> = services
        .iter()
        .map(|(name, service)| (name.as_str(), names(&service["profiles"]).into_iter().next().unwrap_or("")))
        .collect();
    let expected = [
        ("gateway", ""),
        ("gateway-2", "ha"),
        ("grafana", "monitoring"),
        ("haproxy", "ha"),
        ("jaeger", "monitoring"),
        ("mysql", ""),
        ("processor", ""),
        ("prometheus", "monitoring"),
        ("redis", ""),
        ("secrets", ""),
    ];
    assert_eq!(profiles, expected);
    for (name, service) in services {
        assert!(service["mem_limit"].is_string() && service["pids_limit"].is_u64(), "{name} has no limits");
        let log = &service["logging"];
        assert_eq!(log["driver"], "json-file", "{name}");
        assert!(log["options"]["max-size"].is_string() && log["options"]["max-file"].is_string(), "{name}");
        assert_eq!(names(&service["security_opt"]), ["no-new-privileges:true"].into(), "{name}");
        // Their images change the user at the start.
        let changes_user = ["mysql", "redis"].contains(&name.as_str());
        assert_eq!(names(&service["cap_drop"]).contains("ALL"), !changes_user, "{name}");
        let restart = if name == "secrets" { "no" } else { "unless-stopped" };
        assert_eq!(service["restart"], restart, "{name}");
        // Only gateways and what operators look at are published, and only on loopback.
        let ports = names(&service["ports"]);
        let is_published = ["gateway", "grafana", "haproxy", "jaeger"].contains(&name.as_str());
        assert_eq!(ports.is_empty(), !is_published, "{name}");
        assert!(ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{name}");
    }
    assert_eq!(file["networks"]["back"]["internal"], true);
    for name in ["mysql", "prometheus", "redis"] {
        assert_eq!(names(&services[name]["networks"]), ["back"].into(), "{name} can be reached from outside");
    }
    assert_eq!(services["secrets"]["network_mode"], "none");
}

/// Docker Engine 20.10 rejects `start_interval`, and Compose 1.29 a name of the project.
#[test]
fn old_versions_accept_the_file() {
    let file = read("docker-compose.yml");
    assert!(!file.contains("start_interval") && !file.contains("\nname:"));
}

/// Compose itself checks the file, where it is installed.
#[test]
fn compose_accepts_every_profile() {
    let programs = [&["docker", "compose"][..], &["docker-compose"]];
    let works = |program: &&&[&str]| {
        let version = Command::new(program[0]).args(&program[1..]).arg("version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let Some(program) = programs.iter().find(works) else {
        println!("skipped: Compose is not installed");
        return;
    };
    for arguments in [
        &["config", "--quiet"][..],
        &["--profile", "ha", "config", "--quiet"],
        &["--profile", "monitoring", "config", "--quiet"],
        &[
            "--file",
            "docker-compose.yml",
            "--file",
            "ops/haproxy/compose.tls.yml",
            "--profile",
            "ha",
            "config",
        ],
    ] {
        let mut compose = Command::new(program[0]);
        let output = compose.args(&program[1..]).args(arguments).current_dir(repository("")).output();
        let output = output.expect("Compose can be started");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn secrets_are_files_of_the_services_that_need_them() {
    let file = parsed("docker-compose.yml");
    let services = services(&file);
    for (name, service) in services {
        for (variable, value) in environment(service) {
            let words = ["PASSWORD", "SECRET", "TOKEN", "_KEY", "DATABASE_URL", "REDIS_URL"];
            let is_secret = words.iter().any(|word| variable.contains(word));
            let in_file = variable.ends_with("_FILE");
            assert!(!is_secret || in_file, "{name}: {variable} is a secret outside a file");
            let folder = ["/secrets/", "/keys/"].iter().any(|folder| value.starts_with(folder));
            assert!(!in_file || folder, "{name}: {variable} is {value}");
        }
    }
    assert!(!read("docker-compose.yml").contains("requirepass"), "the password of Redis is an argument");
    for (service, own) in [
        ("mysql", &["mysql-data", "mysql-secrets"][..]),
        ("redis", &["redis-secrets"]),
        ("gateway", &["admin-key", "gateway-secrets", "worker-key"]),
        ("gateway-2", &["admin-key", "gateway-secrets", "worker-key"]),
        ("processor", &["worker-key"]),
        ("haproxy", &["./ops/haproxy"]),
    ] {
        assert_eq!(volumes(&services[service]), own.iter().copied().collect(), "{service}");
    }
}

#[test]
fn gateways_and_processors_have_existing_settings() {
    let file = parsed("docker-compose.yml");
    let services = services(&file);
    for name in ["gateway", "gateway-2", "processor"] {
        let service = &services[name];
        let settings = settings(service["command"][0].as_str().expect("a command"));
        for variable in environment(service).keys() {
            assert!(settings.values().any(|name| name == variable), "{name}: {variable} is no setting");
        }
    }
    let variables = environment(&services["gateway"]);
    assert_eq!(variables["ORDERS_AUTH"], "keys", "the gateway is open to the network");
    assert_eq!(variables, environment(&services["gateway-2"]));
    // The delay, the default of 10 s of --shutdown-timeout, and 20 s.
    assert_eq!(
        (variables["ORDERS_SHUTDOWN_DELAY"], &services["gateway"]["stop_grace_period"]),
        ("3s", &"45s".into())
    );
    let url = environment(&services["processor"])["ORDERS_GATEWAY_URL"];
    for gateway in ["gateway", "gateway-2"] {
        let alias = services[gateway]["networks"]["back"]["aliases"][0].as_str().expect("an alias");
        assert_eq!(url, format!("http://{alias}:50051"));
        assert!(read("ops/prometheus/prometheus.yml").contains(&format!("names: [{alias}]")));
    }
}

/// The files of HAProxy have the variables that Compose sets.
#[test]
fn haproxy_has_its_variables() {
    let file = parsed("docker-compose.yml");
    let tls = parsed("ops/haproxy/compose.tls.yml");
    for (configuration, service) in
        [("haproxy.cfg", &services(&file)["haproxy"]), ("tls.cfg", &services(&tls)["haproxy"])]
    {
        let text = read(&format!("ops/haproxy/{configuration}"));
        let used: BTreeSet<_> =
            text.split("\"${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
        assert_eq!(used, environment(service).into_keys().collect(), "{configuration}");
    }
}

/// The service `secrets` creates every secret at its first start only.
#[test]
fn secrets_are_created_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = parsed("docker-compose.yml");
    let mounts = names(&services(&file)["secrets"]["volumes"]);
    for mount in mounts.iter().filter_map(|mount| mount.split_once(":/secrets/")) {
        std::fs::create_dir(folder.path().join(mount.1)).expect("a folder");
    }
    let create = || {
        let status = Command::new("sh").arg(repository("ops/compose/secrets.sh")).arg(folder.path()).status();
        assert!(status.expect("sh exists").success());
        let paths = ["mysql/password", "mysql/root-password", "redis/password", "redis/redis.conf"];
        let others = ["grafana/password", "gateway/database-url", "gateway/redis-url", "gateway/secret-key"];
        let files: [&str; 8] = [paths, others].concat().try_into().expect("eight files");
        files.map(|path| std::fs::read_to_string(folder.path().join(path)).expect("a file"))
    };
    let first = create();
    let [mysql, root, redis, configuration, grafana, database_url, redis_url, key] = &first;
    assert_eq!(*database_url, format!("mysql://orders:{mysql}@mysql:3306/orders"));
    assert_eq!(*redis_url, format!("redis://:{redis}@redis:6379/"));
    assert_eq!(*configuration, format!("requirepass {redis}\n"));
    assert_eq!(BTreeSet::from([mysql, root, redis, grafana]).len(), 4);
    for password in [mysql, root, redis, grafana] {
        assert!(
            password.len() == 43 && url::form_urlencoded::byte_serialize(password.as_bytes()).count() == 1
        );
    }
    assert_eq!(key.trim_end().len(), 44);
    assert_eq!(create(), first);
}

/// HAProxy itself checks its files. scripts/test.sh skips it where HAProxy is not installed.
#[test]
fn haproxy_accepts_its_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certificate = Authority::new("test").issue(&Leaf::server());
    let pem = certificate.pem() + &certificate.key_pem();
    std::fs::write(folder.path().join("tls.pem"), pem).expect("a file");
    let files = repository("ops/haproxy");
    for names in [&["haproxy.cfg"][..], &["haproxy.cfg", "tls.cfg"]] {
        let mut haproxy = Command::new("haproxy");
        haproxy.arg("-c");
        for name in names {
            haproxy.arg("-f").arg(files.join(name));
        }
        let output = haproxy
            .env("ORDERS_BIND", "127.0.0.1:8080")
            .env("ORDERS_BIND_TLS", "127.0.0.1:8443")
            .env("ORDERS_CERTIFICATE", folder.path().join("tls.pem"))
            .env("ORDERS_GATEWAY_1", "127.0.0.1:3000")
            .env("ORDERS_GATEWAY_2", "127.0.0.1:3001")
            .output()
            .expect("HAProxy is installed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("[WARNING]"), "{names:?}: {stderr}");
    }
}
