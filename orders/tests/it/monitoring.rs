//! The alerts, their tests and runbooks, and the dashboards name metrics that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the metrics that a string names, without the suffixes of histograms.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let metrics = words.filter(|word| word.starts_with("orders_"));
    let base = |name: &str| {
        ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix).filter(|base| base.ends_with("_seconds")))
            .unwrap_or(name)
            .to_owned()
    };
    metrics.map(base).collect()
}

/// Returns the metrics of the reference, which another test compares with the code.
fn declared() -> BTreeSet<String> {
    let reference = read("docs/reference/metrics.md");
    let names = reference.lines().filter_map(|line| line.strip_prefix("| `orders_")?.split('`').next());
    names.map(|name| format!("orders_{name}")).collect()
}

/// Returns the expressions of a dashboard.
fn expressions(value: &Value, found: &mut String) {
    match value {
        Value::Object(object) => {
            for (name, member) in object {
                match member.as_str() {
                    Some(text) if name == "expr" => found.push_str(&format!("{text}\n")),
                    _ => expressions(member, found),
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|member| expressions(member, found)),
        _ => {}
    }
}

fn dashboards() -> String {
    let mut found = String::new();
    let folder = repository("ops/grafana/dashboards");
    let mut uids = BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("the folder of the dashboards") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("a dashboard is JSON");
        assert!(uids.insert(dashboard["uid"].as_str().expect("a dashboard has a uid").to_owned()));
        expressions(&dashboard, &mut found);
    }
    assert!(uids.len() >= 4, "{uids:?}");
    found
}

/// Returns the lines of the rules that can name metrics.
fn rules() -> String {
    let rules = read("ops/prometheus/alerts.yml");
    rules.lines().filter(|line| !line.contains("runbook_url")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn rules_and_dashboards_name_every_metric_and_no_other() {
    let declared = declared();
    assert!(declared.len() > 60, "{}", declared.len());
    let series = read("ops/prometheus/alerts_test.yml");
    let series: String = series.lines().filter(|line| line.contains("series:")).collect();
    // The headings of runbooks are no metrics.
    let monitor = read("docs/operate/monitor.md").replace("runbooks.md#orders_", "");
    for (place, text) in [
        ("a rule", rules()),
        ("a test of a rule", series),
        ("monitor.md", monitor),
        ("a panel", dashboards()),
    ] {
        let unknown: Vec<_> = named(&text).difference(&declared).cloned().collect();
        assert!(unknown.is_empty(), "{place} names metrics that do not exist: {unknown:?}");
    }
    let shown = named(&(rules() + &dashboards()));
    let missing: Vec<_> = declared.difference(&shown).collect();
    assert!(missing.is_empty(), "no panel and no rule has {missing:?}");
}

#[test]
fn every_alert_has_a_runbook_and_a_test() {
    let (rules, tests, runbooks) = (
        read("ops/prometheus/alerts.yml"),
        read("ops/prometheus/alerts_test.yml"),
        read("docs/operate/runbooks.md"),
    );
    let headings: Vec<_> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let links: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: /guide/operate/runbooks.html#"))
        .collect();
    assert_eq!(links.len(), alerts.len(), "each alert has a runbook");
    for link in &links {
        assert!(headings.contains(link), "no runbook has the heading {link}");
    }
    for alert in alerts {
        assert!(tests.contains(&format!("- name: {alert}\n")), "{alert} has no test");
    }
}

/// The package `prometheus` of Debian contains promtool; scripts/test.sh installs it.
#[test]
fn the_rules_pass_their_tests() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(repository("ops/prometheus"))
            .output()
            .expect("promtool is installed");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}");
    }
}
