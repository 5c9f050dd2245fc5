//! Error codes are written once, in `domain`.

use std::path::Path;

use domain::ErrorCode;

/// The file that declares the codes.
const DECLARATION: &str = "domain/src/error_code.rs";
const CRATES: [&str; 7] = ["domain", "proto", "broker", "gateway", "processor", "orders", "bench"];

/// Finds codes in quotes in product code outside their declaration. A name of a metric or a setting can be the same word.
#[test]
fn error_codes_are_spelled_only_in_their_declaration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for name in CRATES {
        find_in_folder(&root, &root.join(name).join("src"), &mut found);
    }
    assert!(found.is_empty(), "use domain::ErrorCode instead of these: {found:#?}");
}

fn find_in_folder(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder of a crate") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find_in_folder(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path != root.join(DECLARATION)
        {
            let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
            // Tests contain the codes that clients see.
            let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let is_test = path.ends_with("tests.rs");
            let lines = product.lines().filter(|_| !is_test).filter(|line| !is_metric_declaration(line));
            found.extend(lines.flat_map(codes_in_line).map(|word| format!("{}: {word}", path.display())));
        }
    }
}

fn codes_in_line(line: &str) -> impl Iterator<Item = &'static str> {
    ErrorCode::ALL.iter().map(|code| code.as_str()).filter(move |word| line.contains(&format!("\"{word}\"")))
}

fn is_metric_declaration(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("metrics::") || line.starts_with("(\"")
}
