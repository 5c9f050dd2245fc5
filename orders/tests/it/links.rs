//! Every relative link of the documentation leads to a file that exists, and to a heading of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folders and files of the documentation.
const DOCUMENTS: [&str; 9] = [
    "README.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "bench/README.md",
    "gateway/tests/upgrade/README.md",
    "docs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("the folder can be read") {
            documents(&entry.expect("the folder can be read").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "md") {
        found.push(path.to_owned());
    }
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().chars().filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ if character.is_alphanumeric() => Some(character.to_ascii_lowercase()),
            _ => None,
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

/// The targets of Markdown links, images and references in HTML.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // What is between backticks is no link.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (start, end) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')] {
            let links = line.split(start).skip(1).filter_map(|rest| rest.split_once(end));
            found.extend(links.map(|(target, _)| target.to_owned()));
        }
    }
    found
}

fn problem(document: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { document.to_owned() } else { document.parent()?.join(file) };
    if !path.exists() {
        return Some(format!("{}: {target} does not exist", document.display()));
    }
    if anchor.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let text = std::fs::read_to_string(&path).expect("a document is text");
    (!anchors(&text).contains(anchor))
        .then(|| format!("{}: {target} has no such heading", document.display()))
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut found = Vec::new();
    for document in DOCUMENTS {
        documents(&root().join(document), &mut found);
    }
    let mut links = 0;
    let mut problems = Vec::new();
    for document in &found {
        let text = std::fs::read_to_string(document).expect("a document is text");
        let targets = targets(&text);
        links += targets.len();
        problems.extend(targets.iter().filter_map(|target| problem(document, target)));
    }
    assert!(links > 300, "{links} links in {} documents", found.len());
    assert_eq!(problems, [""; 0]);
}

#[test]
fn a_broken_link_is_found() {
    let readme = root().join("README.md");
    assert_eq!(targets("[a](b.md) `[c](d.md)` <img src=\"e.svg\">"), ["b.md", "e.svg"]);
    assert!(problem(&readme, "docs/nowhere.md").is_some_and(|text| text.contains("does not exist")));
    assert!(problem(&readme, "CONTRIBUTING.md#no-such-heading").is_some_and(|text| text.contains("heading")));
    assert_eq!(problem(&readme, "https://example.com/nowhere"), None);
    assert_eq!(problem(&readme, "#quick-start"), None);
}
