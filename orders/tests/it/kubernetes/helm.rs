//! The chart, with Helm.

use std::process::{Command, Output};

use serde_json::Value;

use super::rules::check;
use super::{list, name, objects, of_kind, pods, repository, strings};

const CHART: &str = "ops/helm/orders";
/// The sets of values beside the defaults.
const VALUES: [&str; 2] = ["full", "minimal"];
const HEADER: &str = "# Generated from the chart ops/helm/orders:\n\
    # ORDERS_WRITE_REFERENCE=1 cargo test -p orders --test it kubernetes::helm\n";

fn helm(arguments: &[&str]) -> Output {
    let program = std::env::var("ORDERS_TEST_HELM");
    let program = program.expect("ORDERS_TEST_HELM is not set: scripts/test.sh builds Helm and sets it");
    Command::new(program).args(arguments).current_dir(repository("")).output().expect("Helm can be started")
}

/// Returns the manifests of a release with these further arguments.
fn template(release: &str, arguments: &[&str]) -> String {
    let first = ["template", release, CHART, "--namespace", release, "--kube-version", "1.27.0"];
    let output = helm(&[&first, arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("YAML is UTF-8")
}

fn values_file(set: &str) -> String {
    format!("{CHART}/ci/{set}.yaml")
}

#[test]
fn lint_finds_nothing() {
    let sets = VALUES.map(values_file);
    let sets = [vec![], vec!["--values", &sets[0]], vec!["--values", &sets[1]]];
    for set in sets {
        let output = helm(&[&["lint", "--strict", "--kube-version", "1.27.0", CHART][..], &set].concat());
        assert!(output.status.success(), "{set:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// The manifests for kustomize are generated, so that both ways install the same.
#[test]
fn the_manifests_are_those_of_the_chart() {
    let migration = ["--show-only", "templates/migrate.yaml"];
    let trial = ["--values", "ops/kubernetes/trial/values.yaml"];
    for (file, arguments) in [
        ("base/orders.yaml", &["--set", "migrate.enabled=false"][..]),
        ("migrate/job.yaml", &migration),
        ("trial/orders.yaml", &trial),
    ] {
        let page = format!("{HEADER}{}", template("orders", arguments));
        crate::reference::compare_file(&format!("ops/kubernetes/{file}"), &page);
    }
}

#[test]
fn every_part_of_the_chart_is_valid() {
    for set in VALUES {
        check(&objects(&template("shop", &["--values", &values_file(set)])));
    }
    let full = objects(&template("shop", &["--values", &values_file("full")]));
    let processor = of_kind(&full, "Deployment").into_iter().find(|object| name(object) == "shop-processor");
    assert!(processor.expect("processors")["spec"]["replicas"].is_null(), "KEDA decides about the number");
    let without = objects(&template("shop", &["--set", "processor.replicas=null"]));
    let processor =
        of_kind(&without, "Deployment").into_iter().find(|object| name(object) == "shop-orders-processor");
    assert!(processor.expect("processors")["spec"]["replicas"].is_null(), "another autoscaler decides");
    let scaled = of_kind(&full, "ScaledObject");
    assert_eq!(scaled[0]["spec"]["scaleTargetRef"]["name"], "shop-processor");
    let query = &scaled[0]["spec"]["triggers"][0]["metadata"]["query"];
    let age = "max(orders_queue_oldest_ready_age_seconds{namespace=\"shop\"})";
    assert!(query.as_str().is_some_and(|query| query.starts_with(age)), "{query}");
    for policy in of_kind(&full, "NetworkPolicy") {
        assert_eq!(strings(&policy["spec"]["policyTypes"]), ["Ingress", "Egress"]);
    }
    let arguments = |owner: &str| {
        let pods = pods(&full);
        let (_, pod) = pods.iter().find(|(name, _)| *name == owner).expect("the pod");
        strings(&pod["containers"][0]["args"])
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect::<Vec<_>>()
    };
    let gateway = arguments("shop-gateway");
    for flag in ["--http-addr=[::]:3000", "--tls-key=/etc/orders/tls/tls.key", "--trace-ratio=0.01"] {
        assert!(gateway.iter().any(|argument| argument == flag), "{flag}: {gateway:?}");
    }
    let url = "--gateway-url=https://shop-gateway-grpc:50051";
    assert!(arguments("shop-processor").iter().any(|argument| argument == url));
}

/// Each monitor selects the pods of one component, and names a port that they have.
#[test]
fn monitors_read_the_metrics_of_pods() {
    let full = objects(&template("shop", &["--values", &values_file("full")]));
    let monitors = of_kind(&full, "PodMonitor");
    assert_eq!(monitors.len(), 2);
    for monitor in monitors {
        let selector = &monitor["spec"]["selector"]["matchLabels"];
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        let is_selected = |object: &&Value| {
            let labels = object["spec"]["template"]["metadata"]["labels"].as_object();
            let selector = selector.as_object().expect("a selector");
            labels.is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        };
        let selected: Vec<_> = full.iter().filter(is_selected).collect();
        assert_eq!(selected.len(), 1, "{}", name(monitor));
        let container = &selected[0]["spec"]["template"]["spec"]["containers"][0];
        assert!(list(&container["ports"]).iter().any(|port| port["name"] == endpoint["port"]), "{endpoint}");
        // A gateway requires a key for its metrics.
        assert_eq!(endpoint["authorization"].is_object(), name(monitor).ends_with("gateway"));
    }
}

#[test]
fn misspelt_and_unsafe_values_are_refused() {
    for (value, part) in [
        ("gateway.replicaz=3", "replicaz"),
        ("image.tga=1", "tga"),
        ("gateway.settings.leese=1s", "leese"),
        ("processor.settings.lease=1s", "lease"),
        ("gateway.settings.auth=off", "auth"),
        ("gateway.settings.insecure-allow-anonymous=on", "insecure-allow-anonymous"),
        ("gateway.settings.database-url=mysql://db/orders", "database-url"),
        ("processor.settings.webhook-secret=hush", "webhook-secret"),
        ("gateway.secret.keys={database-urls}", "keys"),
        ("gateway.resources.limits.memory=null", "memory"),
        ("gateway.shutdownDelaySeconds=-1", "shutdownDelaySeconds"),
        ("networkPolicy.egres.enabled=true", "egres"),
        ("replicas=3", "replicas"),
    ] {
        let output = helm(&["template", "orders", CHART, "--kube-version", "1.27.0", "--set", value]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} is accepted");
        assert!(stderr.contains(part), "{value}: {stderr}");
    }
}
