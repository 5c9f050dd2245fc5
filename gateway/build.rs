//! Compiles the gateway again when a file of `web/` is added or removed: `src/pages.rs` embeds the folder.

fn main() {
    println!("cargo::rerun-if-changed=../web");
}
