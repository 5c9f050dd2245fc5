//! What every set of manifests has to fulfil, with any values of the chart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{list, name, of_kind, pods, read, strings};

/// Time that a process has after its shutdown timeout, in seconds: the last batches, and the closing of connections.
const AFTER_SHUTDOWN: u64 = 20;

/// Returns the settings of a command: flags without dashes, and the variable of each.
pub(crate) fn settings(command: &str) -> BTreeMap<String, String> {
    let page = read("docs/reference/settings.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `--")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    let of_command = cells.filter(|cells| cells[3].split(", ").any(|name| name == command));
    of_command
        .map(|cells| (cells[0].trim_end_matches('`').to_owned(), cells[1].trim_matches('`').to_owned()))
        .collect()
}

/// Checks objects of a program, and the containers of `orders`.
pub(super) fn check(objects: &[Value]) {
    for (owner, pod) in pods(objects) {
        check_pod(owner, pod);
        let job = of_kind(objects, "Job").into_iter().any(|job| name(job) == owner);
        for container in list(&pod["containers"]) {
            check_container(owner, container, !job);
            let image = container["image"].as_str().unwrap_or_default();
            if image.starts_with("orders:") || image.contains("/orders@") {
                check_settings(owner, pod, container);
            }
        }
        check_volumes(owner, pod);
    }
    check_services(objects);
    check_policies(objects);
    check_budgets(objects);
}

fn check_pod(owner: &str, pod: &Value) {
    assert_eq!(pod["automountServiceAccountToken"], false, "{owner}");
    assert_eq!(pod["enableServiceLinks"], false, "{owner}: variables of services could replace settings");
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true, "{owner}");
    assert!(context["runAsUser"].as_u64().is_some_and(|user| user > 0), "{owner}");
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{owner}");
    for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[forbidden].is_null(), "{owner} has {forbidden}");
    }
}

fn check_container(owner: &str, container: &Value, serves: bool) {
    let context = &container["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false, "{owner}");
    assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"], "{owner}");
    assert!(context["privileged"].is_null(), "{owner}");
    for (kind, resource) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
        assert!(container["resources"][kind][resource].is_string(), "{owner} has no {kind} of {resource}");
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe].is_object(), serves, "{owner}: {probe}");
    }
    for variable in list(&container["env"]) {
        let (name, value) = (variable["name"].as_str().unwrap_or_default(), &variable["value"]);
        let secret = ["PASSWORD", "SECRET", "TOKEN", "_KEY", "_URL"].iter().any(|part| name.contains(part));
        assert!(!secret || name.ends_with("_FILE"), "{owner}: {name} has a secret as a value");
        let text = value.as_str().unwrap_or_default();
        assert!(value.is_string() && !text.contains("://"), "{owner}: {name} is {value}");
    }
    for argument in strings(&container["args"]) {
        let url = argument.split_once("://").map(|(_, rest)| rest);
        assert!(!url.is_some_and(|rest| rest.contains('@')), "{owner}: a credential in {argument}");
    }
}

/// Checks the flags and the variables of a container of `orders`, its root and the time for its shutdown.
fn check_settings(owner: &str, pod: &Value, container: &Value) {
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{owner}");
    assert_eq!(pod["securityContext"]["runAsUser"], 10_001, "{owner}: the user of the image");
    let arguments = strings(&container["args"]);
    let (command, flags) = arguments.split_first().expect("the first argument is the command");
    let settings = settings(command);
    let mut seconds = 0;
    for flag in flags {
        let (flag, value) =
            flag.strip_prefix("--").and_then(|flag| flag.split_once('=')).expect("--flag=value");
        assert!(settings.contains_key(flag), "{owner}: {command} has no --{flag}");
        assert!(flag != "insecure-allow-anonymous", "{owner}");
        if ["shutdown-delay", "shutdown-timeout"].contains(&flag) {
            seconds += value.strip_suffix('s').and_then(|value| value.parse::<u64>().ok()).expect("seconds");
        }
    }
    for variable in list(&container["env"]) {
        let name = variable["name"].as_str().unwrap_or_default();
        assert!(settings.values().any(|variable| variable == name), "{owner}: {command} has no {name}");
    }
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a grace period");
    assert!(grace > seconds + AFTER_SHUTDOWN, "{owner}: {grace} s is too short for {seconds} s");
    if *command == "gateway" {
        let auth = flags.iter().find_map(|flag| flag.strip_prefix("--auth="));
        assert!(auth.is_some_and(|auth| ["keys", "jwt", "keys,jwt"].contains(&auth)), "{owner}: {auth:?}");
        assert!(flags.contains(&"--migrate=wait"), "{owner} has no right to migrate");
    }
    check_ports(owner, container, flags);
}

/// Checks that a container declares the ports on which its flags serve, and that probes use them.
fn check_ports(owner: &str, container: &Value, flags: &[&str]) {
    let ports: BTreeMap<_, _> = list(&container["ports"])
        .iter()
        .map(|port| {
            (port["name"].as_str().expect("a name"), port["containerPort"].as_u64().expect("a number"))
        })
        .collect();
    let served: BTreeSet<u64> = flags
        .iter()
        .filter(|flag| flag.split('=').next().is_some_and(|name| name.ends_with("-addr")))
        .map(|flag| flag.rsplit(':').next().and_then(|port| port.parse().ok()).expect("host:port"))
        .collect();
    assert_eq!(ports.values().copied().collect::<BTreeSet<_>>(), served, "{owner}");
    let https = flags.iter().any(|flag| flag.starts_with("--tls-cert="));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let Some(get) = container[probe]["httpGet"].as_object() else { continue };
        let port = get["port"].as_str().expect("the name of a port");
        assert!(["admin", "metrics"].contains(&port) && ports.contains_key(port), "{owner}: {port}");
        let path = if probe == "readinessProbe" { "/readyz" } else { "/livez" };
        assert_eq!(get["path"], path, "{owner}: {probe}");
        let scheme = get.get("scheme").and_then(Value::as_str).unwrap_or("HTTP");
        assert_eq!(scheme, if https { "HTTPS" } else { "HTTP" }, "{owner}");
    }
}

/// Checks that every mount has a volume, that secrets can be read by the group only, and that folders have a limit.
fn check_volumes(owner: &str, pod: &Value) {
    let volumes: BTreeMap<_, _> = list(&pod["volumes"])
        .iter()
        .map(|volume| (volume["name"].as_str().expect("a name"), volume))
        .collect();
    for container in list(&pod["containers"]) {
        let mounts = list(&container["volumeMounts"]);
        for mount in mounts {
            let volume = volumes[mount["name"].as_str().expect("a name")];
            if volume["secret"].is_object() {
                assert_eq!(volume["secret"]["defaultMode"], 0o440, "{owner}");
                assert_eq!(mount["readOnly"], true, "{owner}");
                // Files of a subPath are not replaced when the secret changes.
                assert!(mount["subPath"].is_null(), "{owner}");
            }
            assert!(volume["emptyDir"].is_null() || volume["emptyDir"]["sizeLimit"].is_string(), "{owner}");
        }
        for variable in list(&container["env"]) {
            let file =
                variable["value"].as_str().filter(|_| variable["name"].as_str().unwrap().ends_with("_FILE"));
            let Some((folder, key)) = file.and_then(|file| file.rsplit_once('/')) else { continue };
            let mount =
                mounts.iter().find(|mount| mount["mountPath"] == folder).expect("a mount of the folder");
            let items = &volumes[mount["name"].as_str().expect("a name")]["secret"]["items"];
            assert!(list(items).iter().any(|item| item["path"] == key), "{owner}: {folder} has no {key}");
        }
    }
}

/// Returns the labels and the ports of all pods, with their owners.
fn labelled(objects: &[Value]) -> Vec<(&str, &Value, Vec<&str>)> {
    let with_pods = objects.iter().filter(|object| object["spec"]["template"]["spec"].is_object());
    with_pods
        .map(|object| {
            let template = &object["spec"]["template"];
            let containers = list(&template["spec"]["containers"]).iter();
            let ports = containers.flat_map(|container| list(&container["ports"]));
            let ports = ports.filter_map(|port| port["name"].as_str()).collect();
            (name(object), &template["metadata"]["labels"], ports)
        })
        .collect()
}

/// Returns the pods that a selector matches.
fn selected<'a>(objects: &'a [Value], selector: &Value) -> Vec<(&'a str, Vec<&'a str>)> {
    let selector = selector.as_object().expect("a selector");
    let matching = labelled(objects)
        .into_iter()
        .filter(|(_, labels, _)| selector.iter().all(|(label, value)| labels[label.as_str()] == *value));
    matching.map(|(owner, _, ports)| (owner, ports)).collect()
}

/// Checks that each service and each Deployment selects the pods of one owner, and that addresses of gateways exist.
fn check_services(objects: &[Value]) {
    for service in of_kind(objects, "Service") {
        let pods = selected(objects, &service["spec"]["selector"]);
        assert_eq!(pods.len(), 1, "{}", name(service));
        for port in list(&service["spec"]["ports"]) {
            let target = port["targetPort"].as_str().expect("the name of a port");
            assert!(pods[0].1.contains(&target), "{}: {target}", name(service));
        }
    }
    for deployment in of_kind(objects, "Deployment") {
        let owners = selected(objects, &deployment["spec"]["selector"]["matchLabels"]);
        assert_eq!(owners.iter().map(|(owner, _)| *owner).collect::<Vec<_>>(), [name(deployment)]);
    }
    for (owner, pod) in pods(objects) {
        for argument in strings(&pod["containers"][0]["args"]) {
            let Some(url) = argument.strip_prefix("--gateway-url=") else { continue };
            let (host, port) =
                url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).expect("a URL");
            let service = of_kind(objects, "Service").into_iter().find(|service| name(service) == host);
            let service = service.unwrap_or_else(|| panic!("{owner}: no service is {host}"));
            // A processor has to know the address of every gateway.
            assert_eq!(service["spec"]["clusterIP"], "None", "{host}");
            assert_eq!(service["spec"]["ports"][0]["port"].to_string(), port, "{host}");
        }
    }
}

fn check_policies(objects: &[Value]) {
    for policy in of_kind(objects, "NetworkPolicy") {
        let pods = selected(objects, &policy["spec"]["podSelector"]["matchLabels"]);
        assert_eq!(pods.len(), 1, "{}", name(policy));
        let mut ports: Vec<_> = pods[0].1.clone();
        for rule in list(&policy["spec"]["ingress"]) {
            for port in list(&rule["ports"]) {
                let port = port["port"].as_str().expect("the name of a port");
                assert!(ports.contains(&port), "{}: {port}", name(policy));
                ports.retain(|remaining| *remaining != port);
                let peers = list(&rule["from"]).len();
                assert!(port == "http" || peers > 0, "{}: everything reaches {port}", name(policy));
            }
        }
        assert!(ports.is_empty(), "{}: no rule has {ports:?}", name(policy));
    }
}

fn check_budgets(objects: &[Value]) {
    for budget in of_kind(objects, "PodDisruptionBudget") {
        let pods = selected(objects, &budget["spec"]["selector"]["matchLabels"]);
        assert_eq!(pods.len(), 1, "{}", name(budget));
    }
}
