//! One running `orders`, whose output is kept for the case that the test fails.

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::{DEADLINE, eventually, within};

/// Ends with the test: it is killed when this is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Arc<Mutex<Kept>>,
    stderr: Arc<Mutex<Kept>>,
}

/// What an output has said so far.
#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    /// Nothing more comes. A process can have ended while its last lines are still on their way.
    complete: bool,
}

/// The program with no setting but the given ones: nothing is inherited from whoever runs the tests.
pub(crate) fn command(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = bound(env!("CARGO_BIN_EXE_orders"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A command that the kernel kills together with the test, also when the test itself is killed.
pub(crate) fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let ended = command(folder, arguments, variables).output();
    within(&format!("orders {} to end", arguments.join(" ")), ended).await.expect("the binary can be run")
}

impl Process {
    pub(crate) fn start(command: Command, name: impl Into<String>) -> Self {
        Self::start_with_stderr(command, Stdio::piped(), name)
    }

    /// The same with a stderr of its own, which is not kept.
    pub(crate) fn start_with_stderr(
        mut command: Command,
        stderr: impl Into<Stdio>,
        name: impl Into<String>,
    ) -> Self {
        let started = command.stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn();
        let name = name.into();
        let mut child = started.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let stdout = keep(child.stdout.take().expect("stdout is piped"));
        let nothing = || Arc::new(Mutex::new(Kept { complete: true, ..Kept::default() }));
        let stderr = child.stderr.take().map_or_else(nothing, keep);
        Self { name, child, stdout, stderr }
    }

    /// The first line of stdout for which `find` has an answer.
    pub(crate) async fn printed<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.line(what, &self.stdout, find).await
    }

    /// The first line of stderr for which `find` has an answer.
    pub(crate) async fn logged<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.line(what, &self.stderr, find).await
    }

    async fn line<T>(&self, what: &str, kept: &Mutex<Kept>, find: impl Fn(&str) -> Option<T>) -> T {
        let name = &self.name;
        eventually(&format!("{name} to show {what}"), || {
            let kept = kept.lock().unwrap();
            let found = kept.lines.iter().find_map(|line| find(line));
            assert!(found.is_some() || !kept.complete, "{name} ended without showing {what}");
            std::future::ready(found)
        })
        .await
    }

    /// How many lines of stderr contain the text.
    pub(crate) fn count_logged(&self, text: &str) -> usize {
        self.stderr.lock().unwrap().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Everything that stdout has said. Only after the end of the process.
    pub(crate) async fn stdout(&self) -> String {
        eventually(&format!("the last line of {}", self.name), || {
            let kept = self.stdout.lock().unwrap();
            std::future::ready(kept.complete.then(|| kept.lines.join("\n")))
        })
        .await
    }

    /// Everything that stderr has said so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().lines.join("\n")
    }

    /// Its number, while it runs.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the process has not been waited for")
    }

    /// A line of `/proc/PID/status` about memory, in bytes: `VmRSS` is what it takes now, `VmHWM` the most so far.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let number = found.and_then(|text| text.split_whitespace().next()).expect("Linux counts it");
        number.parse::<u64>().expect("a number") * 1024
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the signal of this name, without `SIG`, unless the process has been waited for.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(pid) = self.child.id() {
            let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
            assert!(sent.expect("kill(1) is there").success(), "SIG{name} to {}", self.name);
        }
    }

    /// Whether it still runs; a frozen one does.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.start_kill().expect("a child can be killed");
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        within(&format!("{name} to end"), self.child.wait()).await.expect("a child can be waited for")
    }

    /// Waits for the end, which must be a success without a panic.
    pub(crate) async fn ended_well(&mut self) {
        self.ended_well_within(DEADLINE).await;
    }

    /// The same with a deadline of its own.
    pub(crate) async fn ended_well_within(&mut self, deadline: Duration) {
        let ended = tokio::time::timeout(deadline, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} did not end within {deadline:?}", self.name));
        let status = ended.expect("a child can be waited for");
        eventually(&format!("the last words of {}", self.name), || {
            std::future::ready(self.stderr.lock().unwrap().complete.then_some(()))
        })
        .await;
        assert!(status.success(), "{} ended with {status}", self.name);
        assert_eq!(self.count_logged("panicked"), 0, "{} panicked", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines =
                |kept: &Mutex<Kept>| kept.lock().map(|kept| kept.lines.join("\n")).unwrap_or_default();
            eprintln!("---- {} stdout\n{}", self.name, lines(&self.stdout));
            eprintln!("---- {} stderr\n{}", self.name, lines(&self.stderr));
        }
    }
}

fn keep(output: impl AsyncRead + Unpin + Send + 'static) -> Arc<Mutex<Kept>> {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let keeping = kept.clone();
    tokio::spawn(async move {
        let mut output = BufReader::new(output).lines();
        while let Ok(Some(line)) = output.next_line().await {
            keeping.lock().unwrap().lines.push(line);
        }
        keeping.lock().unwrap().complete = true;
    });
    kept
}

/// A Node script of this repository, with its packages.
pub(crate) fn script(folder: &str, file: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    assert!(
        folder.join("node_modules").is_dir(),
        "the packages of {} are missing: run `npm ci` there, or scripts/test.sh, which does",
        folder.display()
    );
    let mut command = Command::new("node");
    command.arg(file).current_dir(folder).stdin(Stdio::null());
    command
}
