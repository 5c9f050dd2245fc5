//! Every relative link of the documentation leads to a file that exists, and to a heading of it; every link of the
//! guide that is built from it leads to one of its files, and to an element with the id.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folders and files of the documentation.
const DOCUMENTS: [&str; 13] = [
    "README.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "bench/README.md",
    "gateway/tests/upgrade/README.md",
    "sdk/conformance/README.md",
    "sdk/go/README.md",
    "sdk/python/README.md",
    "sdk/typescript/README.md",
    "docs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files with this extension below a folder, or the file itself.
fn files(path: &Path, wanted: &str, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("the folder can be read") {
            files(&entry.expect("the folder can be read").path(), wanted, found);
        }
    } else if path.extension().is_some_and(|extension| extension == wanted) {
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
        files(&root().join(document), "md", &mut found);
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

/// The values of an attribute of HTML.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

fn guide_problem(page: &Path, target: &str) -> Option<String> {
    // The page at / is outside of the guide.
    if target.contains(':') || target.replace("../", "").is_empty() || target == "@root/" {
        return None;
    }
    let (file, id) = target.split_once('#').unwrap_or((target, ""));
    let path = match file.strip_prefix("@assets/") {
        // The gateway inserts the address of the files of all pages.
        Some(shared) => root().join("web").join(shared),
        None if file.is_empty() => page.to_owned(),
        None => page.parent()?.join(file),
    };
    if !path.exists() {
        return Some(format!("{}: {target} does not exist", page.display()));
    }
    if id.is_empty() {
        return None;
    }
    let html = std::fs::read_to_string(&path).expect("a page is text");
    (!attributes(&html, "id").contains(&id)).then(|| format!("{}: {target} has no such id", page.display()))
}

#[test]
fn links_of_the_guide_lead_to_its_files() {
    let mut pages = Vec::new();
    files(&root().join("web/guide"), "html", &mut pages);
    let mut links = 0;
    let mut problems = Vec::new();
    for page in &pages {
        let html = std::fs::read_to_string(page).expect("a page is text");
        let targets = ["href", "src", "srcset"].into_iter().flat_map(|name| attributes(&html, name));
        for target in targets {
            links += 1;
            problems.extend(guide_problem(page, target));
        }
    }
    assert!(links > 1_000, "{links} links in {} pages", pages.len());
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
    let page = root().join("web/guide/concepts/glossary.html");
    assert!(guide_problem(&page, "nothing.html").is_some_and(|text| text.contains("does not exist")));
    assert!(guide_problem(&page, "../index.html#nothing").is_some_and(|text| text.contains("no such id")));
}
