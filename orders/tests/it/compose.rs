//! The limits and the networks of the services in docker-compose.yml.

use std::collections::BTreeMap;

/// Returns the lines of each service, without the shared parts.
fn services(file: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut services = BTreeMap::new();
    let mut name = None;
    let within = file.split("\nservices:\n").nth(1).and_then(|rest| rest.split("\nnetworks:\n").next());
    for line in within.expect("there are services, then networks").lines() {
        match line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '))
            .and_then(|rest| rest.strip_suffix(':'))
        {
            Some(service) => name = Some(service),
            None => {
                services.entry(name.expect("a service has a name")).or_insert_with(Vec::new).push(line.trim())
            }
        }
    }
    services
}

#[test]
fn services_have_limits_and_passwords() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml"))
        .expect("the file is there");
    let shared = file.split("\nservices:\n").next().expect("the file begins with the shared part");
    let services = services(&file);
    assert_eq!(
        services.keys().copied().collect::<Vec<_>>(),
        ["gateway", "grafana", "jaeger", "mysql", "processor", "prometheus", "redis"]
    );
    for (name, lines) in &services {
        let has = |setting: &str| {
            let own = lines.iter().any(|line| line.starts_with(setting));
            own || (lines.contains(&"<<: *orders") && shared.contains(&format!("\n  {setting}")))
        };
        for setting in ["mem_limit:", "pids_limit:", "networks:", "restart:"] {
            assert!(has(setting), "{name} has no {setting}");
        }
        // Only the gateway and what operators look at are published, and only on loopback.
        let port = |line: &&&str| {
            let port = line.strip_prefix("- \"").and_then(|line| line.strip_suffix('"'));
            port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit() || b".:".contains(&byte)))
        };
        let ports: Vec<_> = lines.iter().filter(port).collect();
        assert_eq!(ports.is_empty(), !["gateway", "grafana", "jaeger"].contains(name), "{name}");
        assert!(ports.iter().all(|port| port.starts_with("- \"127.0.0.1:")), "{name}");
    }
    for name in ["mysql", "prometheus", "redis"] {
        assert!(services[name].contains(&"networks: [back]"), "{name} can be reached from outside");
    }
    assert!(services["gateway"].contains(&"ORDERS_AUTH: keys"), "the gateway is open to the network");
    assert!(
        !services["processor"].iter().any(|line| line.contains("admin")),
        "a processor has the admin key"
    );
    // Docker Engine before 25 rejects files with it.
    assert!(!file.contains("start_interval"));
    assert!(file.contains("back:\n    internal: true"));
    assert!(services["redis"].iter().any(|line| line.contains("--requirepass")));
    assert!(!file.contains("redis://redis:"), "a Redis URL without the password");
}
