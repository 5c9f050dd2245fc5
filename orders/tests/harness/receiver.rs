//! Receivers of webhooks (`tests/receivers`), which verify each request with a library of the standard.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use super::{Process, eventually, script};

const FOLDER: &str = "tests/receivers";

/// The language of a receiver and of its library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Node,
    Python,
}

/// A running receiver, which ends with the test.
pub(crate) struct Receiver {
    process: Process,
    pub(crate) url: String,
    answers: PathBuf,
    folder: tempfile::TempDir,
}

impl Receiver {
    /// Starts a receiver on a free port, with further arguments such as `--status`.
    pub(crate) async fn start(language: Language, secret: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let answers = folder.path().join("answers.json");
        let mut command = match language {
            Language::Node => script(FOLDER, "receiver.mjs"),
            Language::Python => python("receiver.py"),
        };
        command.args(["--port", "0", "--secret", secret, "--answers"]).arg(&answers).args(arguments);
        let mut process = Process::start(command, format!("{language:?} receiver"));
        let port: u16 = process.wait_for_stdout("its port", |line| line.parse().ok()).await;
        Self { process, url: format!("http://127.0.0.1:{port}/hook"), answers, folder }
    }

    /// Sets the response of the next requests: `{"status": 503, "headers": {"Retry-After": "2"}}`.
    pub(crate) fn answer(&self, response: &Value) {
        // A request sees the old file or the new one, and never a part.
        let new = self.folder.path().join("new.json");
        std::fs::write(&new, response.to_string()).expect("it is ours");
        std::fs::rename(new, &self.answers).expect("it is ours");
    }

    /// Returns the requests until now.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let lines = self.process.stdout_lines();
        lines.iter().skip(1).map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    /// Waits until this number of requests has arrived, and returns them.
    pub(crate) async fn wait_for_requests(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} requests at the receiver"), || {
            let requests = self.requests();
            std::future::ready((requests.len() >= count).then_some(requests))
        })
        .await
    }
}

fn python(file: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER);
    let program = folder.join(".venv/bin/python");
    assert!(
        program.exists(),
        "the Python packages of {FOLDER} are missing: run scripts/test.sh, which installs them"
    );
    let mut command = Command::new(program);
    command.arg(file).current_dir(folder).stdin(std::process::Stdio::null());
    command
}
