//! Compares the pages of the three APIs in `docs/reference` with the interfaces: the OpenAPI document,
//! `schema.graphql`, and the descriptors that gRPC reflection serves; and the chart of the README with the benchmarks.
//! With `ORDERS_WRITE_REFERENCE=1` the tests write the files instead.

mod chart;
mod graphql;
mod grpc;
mod rest;

use std::path::Path;

const HOW_TO_WRITE: &str = "This page is generated. Rewrite it with `ORDERS_WRITE_REFERENCE=1 cargo test -p orders --test it reference`.";

fn compare(file: &str, page: &str) {
    compare_file(&format!("docs/reference/{file}"), page);
}

/// Compares a file with what is generated. The path begins at the root of the repository.
pub(crate) fn compare_file(file: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("ORDERS_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "{file} is stale: ORDERS_WRITE_REFERENCE=1 rewrites it");
}

/// A string in one line, for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The first sentence of a description.
fn first_sentence(text: &str) -> String {
    let line = cell(text);
    match line.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => line,
    }
}

/// A link to the heading of a type on the same page.
fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_ascii_lowercase())
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    match number {
        0..=999 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}
