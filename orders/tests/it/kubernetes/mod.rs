//! The manifests of `ops/kubernetes` and the chart `ops/helm/orders`, from which the manifests are generated.
//!
//! [`manifests`] checks the committed files, [`processes`] runs their containers as processes, and [`trial`] the script of the
//! trial. [`helm`] and [`kustomize`] need these programs, which scripts/test.sh builds from their Go modules and names in
//! `ORDERS_TEST_HELM` and `ORDERS_TEST_KUSTOMIZE`; without Go it skips both.

mod helm;
mod kustomize;
mod manifests;
mod processes;
pub(crate) mod rules;
mod trial;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The oldest version of Kubernetes that the chart supports.
const OLDEST: &str = "1.27";

fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs `tests/kubernetes/manifests.py` with this input.
pub(crate) fn manifests_py(yaml: &str, arguments: &[&str]) -> Output {
    let folder = repository("tests/kubernetes");
    let python = folder.join(".venv/bin/python");
    assert!(python.exists(), "kubernetes-validate is missing: run scripts/test.sh, which installs it");
    let mut child = Command::new(python)
        .arg(folder.join("manifests.py"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python can be started");
    // It reads all of its input before it writes.
    let mut input = child.stdin.take().expect("stdin is piped");
    input.write_all(yaml.as_bytes()).expect("the input is read");
    drop(input);
    child.wait_with_output().expect("it ends")
}

/// Returns the objects of manifests, all of which are valid.
fn objects(yaml: &str) -> Vec<Value> {
    let output = manifests_py(yaml, &["--validate", OLDEST]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the output is JSON")
}

/// Returns the objects of this kind.
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Returns the pods that objects create, with their names.
fn pods(objects: &[Value]) -> Vec<(&str, &Value)> {
    let with_pods = objects.iter().filter(|object| object["spec"]["template"]["spec"].is_object());
    with_pods.map(|object| (name(object), &object["spec"]["template"]["spec"])).collect()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("an object has a name")
}

/// Returns the strings of an array.
fn strings(array: &Value) -> Vec<&str> {
    array.as_array().map_or_else(Vec::new, |array| array.iter().filter_map(Value::as_str).collect())
}

fn list(array: &Value) -> &[Value] {
    array.as_array().map_or(&[], Vec::as_slice)
}
