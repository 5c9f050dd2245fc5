//! The SDKs: one conformance script for the workers of every language, the tests of each package, and the files that are
//! generated from the .proto file. `sdk/conformance/README.md` describes the cases.
//!
//! scripts/test.sh installs what the packages need, and skips `go_` where Go is missing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Process, Servers, killed_with_test};
use crate::shell_blocks::run_beside_clone;

/// Timeout of a script, on a machine that can be busy.
const DEADLINE: Duration = Duration::from_secs(170);

/// The language of a worker under test.
#[derive(Clone, Copy)]
enum Language {
    Rust,
    Python,
    TypeScript,
    Go,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns a path in the repository, whose file a step of scripts/test.sh has made.
fn made(path: &str, step: &str) -> String {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: {step}, or run scripts/test.sh, which does", path.display());
    path.display().to_string()
}

fn python() -> String {
    made("sdk/python/.venv/bin/python", "install sdk/python/requirements.txt there")
}

/// Runs the conformance script.
async fn conforms(language: Language, servers: Option<Servers>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let worker: Vec<String> = match language {
        Language::Rust => {
            let program = Path::new(env!("CARGO_BIN_EXE_orders")).with_file_name("examples/conformance");
            let step = "run `cargo build -p processor --examples`";
            vec![made(&program.display().to_string(), step)]
        }
        Language::Python => vec![python(), "sdk/python/examples/conformance.py".to_owned()],
        Language::TypeScript => {
            made("sdk/typescript/esm/index.js", "run `npm ci` there");
            vec!["node".to_owned(), "sdk/typescript/examples/conformance.mjs".to_owned()]
        }
        Language::Go => {
            let program = folder.path().join("conformance").display().to_string();
            succeeds("sdk/go", &["go", "build", "-o", &program, "./examples/conformance"]).await;
            vec![program]
        }
    };
    let mut command = killed_with_test("node");
    command
        .args(["sdk/conformance/conformance.mjs", "--orders", env!("CARGO_BIN_EXE_orders")])
        .arg("--")
        .args(worker)
        .current_dir(root())
        .env("PYTHONPATH", "sdk/python");
    if let Some(servers) = servers {
        command
            .env("DATABASE_URL", &servers.database_url)
            .env("REDIS_URL", &servers.redis_url)
            .env("ORDERS_REDIS_PREFIX", &servers.prefix);
    }
    Process::start(command, "conformance.mjs").wait_for_success_within(DEADLINE).await;
}

/// Runs a command of a package, which succeeds.
async fn succeeds(folder: &str, command: &[&str]) {
    let mut process = killed_with_test(command[0]);
    process.args(&command[1..]).current_dir(root().join(folder));
    Process::start(process, command.join(" ")).wait_for_success_within(DEADLINE).await;
}

#[tokio::test]
async fn rust_conforms_embedded() {
    conforms(Language::Rust, None).await;
}

#[tokio::test]
async fn rust_conforms_on_servers() {
    conforms(Language::Rust, Some(Servers::new().await)).await;
}

#[tokio::test]
async fn python_conforms_embedded() {
    conforms(Language::Python, None).await;
}

#[tokio::test]
async fn python_conforms_on_servers() {
    conforms(Language::Python, Some(Servers::new().await)).await;
}

#[tokio::test]
async fn typescript_conforms_embedded() {
    conforms(Language::TypeScript, None).await;
}

#[tokio::test]
async fn typescript_conforms_on_servers() {
    conforms(Language::TypeScript, Some(Servers::new().await)).await;
}

#[tokio::test]
async fn go_conforms_embedded() {
    conforms(Language::Go, None).await;
}

#[tokio::test]
async fn go_conforms_on_servers() {
    conforms(Language::Go, Some(Servers::new().await)).await;
}

#[tokio::test]
async fn python_package_passes_its_tests() {
    let python = python();
    succeeds("sdk/python", &[&python, "-m", "mypy"]).await;
    succeeds("sdk/python", &[&python, "-m", "unittest"]).await;
}

#[tokio::test]
async fn typescript_package_passes_its_tests() {
    made("sdk/typescript/esm/index.js", "run `npm ci` there");
    succeeds("sdk/typescript", &["npm", "test"]).await;
}

#[tokio::test]
async fn go_module_passes_its_tests() {
    succeeds("sdk/go", &["go", "vet", "./..."]).await;
    succeeds("sdk/go", &["go", "test", "./..."]).await;
}

/// The messages in the packages are those of the .proto file. Without Go its file is not compared.
#[tokio::test]
async fn generated_files_are_current() {
    python();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().display().to_string();
    succeeds("sdk", &["./generate.sh", &out]).await;
    for file in [
        "python/orders_client/orders_pb2.py",
        "python/orders_client/orders_pb2.pyi",
        "typescript/proto/orders.proto",
        "go/pb/orders.pb.go",
    ] {
        let written = std::fs::read(root().join("sdk").join(file)).expect("the file is there");
        let now = std::fs::read(folder.path().join(file));
        assert!(
            file.starts_with("go") && now.is_err() || now.is_ok_and(|now| now == written),
            "sdk/{file} is stale: run sdk/generate.sh"
        );
    }
}

#[tokio::test]
async fn python_guide_runs_as_pasted() {
    run_beside_clone("worker-python.md", DEADLINE).await;
}

#[tokio::test]
async fn typescript_guide_runs_as_pasted() {
    made("sdk/typescript/esm/index.js", "run `npm ci` there");
    run_beside_clone("worker-typescript.md", DEADLINE).await;
}

#[tokio::test]
async fn go_guide_runs_as_pasted() {
    run_beside_clone("worker-go.md", DEADLINE).await;
}
