//! Error codes are written once, in `domain`.

use std::path::Path;

use domain::ErrorCode;

/// The one file that spells the codes.
const HOME: &str = "domain/src/error_code.rs";
const CRATES: [&str; 7] = ["domain", "proto", "broker", "gateway", "processor", "orders", "bench"];

/// Every code between quotes in product code outside its home. Names of metrics and of settings may be the same word.
#[test]
fn no_source_file_spells_an_error_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for name in CRATES {
        read(&root, &root.join(name).join("src"), &mut found);
    }
    assert!(found.is_empty(), "use domain::ErrorCode instead of these: {found:#?}");
}

fn read(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder of a crate") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && path != root.join(HOME) {
            let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
            // Tests state the word that clients see.
            let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let is_test = path.ends_with("tests.rs");
            let lines = product.lines().filter(|_| !is_test).filter(|line| !is_metric(line));
            found.extend(lines.flat_map(spelled).map(|word| format!("{}: {word}", path.display())));
        }
    }
}

fn spelled(line: &str) -> impl Iterator<Item = &'static str> {
    ErrorCode::ALL.iter().map(|code| code.as_str()).filter(move |word| line.contains(&format!("\"{word}\"")))
}

fn is_metric(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("metrics::") || line.starts_with("(\"")
}
