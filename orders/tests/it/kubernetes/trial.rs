//! `trial.sh` with a `kubectl` of the test, which writes down what it gets, and `orders dev` in place of the gateways.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::{name, objects, of_kind, repository};
use crate::harness::{Process, base_url, command, eventually, killed_with_test};

/// Writes each applied manifest into a file. The port of the gateway comes from a file that the test writes.
const KUBECTL: &str = r#"#!/bin/sh
shift 2 # --namespace NAMESPACE
case "$*" in
  "apply -f -") cat >"$(mktemp applied.XXXXXX)" ;;
  "apply -f "*) cat "$3" >"$(mktemp applied.XXXXXX)" ;;
  kustomize*) cat "$2/servers.yaml"; echo ---; cat "$2/orders.yaml" ;;
  "get secret trial-servers") exit 1 ;;
  "get secret orders-first-keys"*) sed -n 's/^  bootstrap-key: //p' applied.* | tr -d '\n' ;;
  port-forward*)
    touch forwarding
    while [ ! -s port ]; do sleep 0.1; done
    echo "Forwarding from 127.0.0.1:$(cat port) -> 3000"
    exec sleep 60 ;;
esac
"#;

/// Returns the applied objects, in any order.
fn applied(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path());
    let applied = files
        .filter(|file| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"applied.")));
    let texts: Vec<_> = applied.map(|file| std::fs::read_to_string(file).expect("YAML")).collect();
    objects(&texts.join("\n---\n"))
}

#[tokio::test]
async fn the_trial_ends_with_a_completed_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kubectl = folder.path().join("kubectl");
    std::fs::write(&kubectl, KUBECTL).expect("a file");
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).expect("the file of the test");
    let mut trial = killed_with_test("bash");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
    trial.arg(repository("ops/kubernetes/trial.sh")).arg("registry.example/orders:1");
    trial.current_dir(folder.path()).env("PATH", path);
    let mut trial = Process::start(trial, "trial.sh");
    eventually("kubectl port-forward", || async { folder.path().join("forwarding").exists().then_some(()) })
        .await;

    let applied = applied(folder.path());
    let secret = |wanted: &str| {
        let secrets = of_kind(&applied, "Secret");
        secrets.into_iter().find(|secret| name(secret) == wanted).expect("the secret")["stringData"].clone()
    };
    let password = secret("trial-servers")["mysql-password"].as_str().expect("a password").to_owned();
    let url = format!("mysql://orders:{password}@mysql:3306/orders");
    assert_eq!(
        (&secret("orders-gateway")["database-url"], &secret("orders-migrate")["database-url"]),
        (&url.clone().into(), &url.into())
    );
    assert_eq!(secret("orders-processor")["token"], secret("orders-first-keys")["bootstrap-worker-key"]);
    let images: Vec<_> =
        super::pods(&applied).iter().map(|(_, pod)| pod["containers"][0]["image"].clone()).collect();
    assert_eq!(images.iter().filter(|image| *image == "registry.example/orders:1").count(), 3, "{images:?}");

    let key = secret("orders-first-keys")["bootstrap-key"].as_str().expect("a key").to_owned();
    std::fs::write(folder.path().join("admin.key"), &key).expect("a file");
    let arguments = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--auth", "keys"];
    let arguments = [&arguments[..], &["--bootstrap-key-file", "admin.key"]].concat();
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let base = base_url(&mut dev).await;
    std::fs::write(folder.path().join("port"), base.rsplit(':').next().expect("a port")).expect("a file");
    trial.wait_for_success().await;
    let output = trial.stdout().await;
    assert!(output.lines().last().is_some_and(|line| line.ends_with(": completed")), "{output}");
    assert!(!output.contains(&key), "the key is printed");
    dev.terminate();
    dev.wait_for_success().await;
}
