//! The folders of `ops/kubernetes`, with kustomize.

use std::process::Command;

use super::rules::check;
use super::{name, objects, repository};

fn build(folder: &str) -> String {
    let program = std::env::var("ORDERS_TEST_KUSTOMIZE");
    let program =
        program.expect("ORDERS_TEST_KUSTOMIZE is not set: scripts/test.sh builds kustomize and sets it");
    let folder = repository("ops/kubernetes").join(folder);
    let output = Command::new(program).arg("build").arg(&folder).output().expect("kustomize can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("YAML is UTF-8")
}

#[test]
fn every_folder_builds() {
    for (folder, count) in [("base", 8), ("migrate", 2), ("trial", 15)] {
        let objects = objects(&build(folder));
        assert_eq!(objects.len(), count, "{folder}: {:?}", objects.iter().map(name).collect::<Vec<_>>());
        let namespace = if folder == "trial" { "orders-trial".into() } else { serde_json::Value::Null };
        let namespaced = objects.iter().filter(|object| object["kind"] != "Namespace");
        assert!(
            namespaced.into_iter().all(|object| object["metadata"]["namespace"] == namespace),
            "{folder}"
        );
        if folder != "migrate" {
            check(&objects);
        }
    }
}
