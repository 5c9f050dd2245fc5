//! A running process. Its output is recorded, and printed if the test fails.

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::{DEADLINE, eventually, within};

/// A running process, which is killed when this is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Arc<Mutex<Recorded>>,
    stderr: Arc<Mutex<Recorded>>,
}

/// The recorded lines of an output.
#[derive(Default)]
struct Recorded {
    lines: Vec<String>,
    /// Whether the output has ended. Its last lines can arrive after the end of the process.
    complete: bool,
}

/// Returns a command for the program with only the given settings: it inherits no variable, and no ignored SIGHUP.
pub(crate) fn command(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = killed_with_test("env");
    command
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_orders")])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Returns a command whose process the kernel kills with the test, also if the test is killed.
pub(crate) fn killed_with_test(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Runs the program until it ends.
pub(crate) async fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let ended = command(folder, arguments, variables).output();
    within(&format!("orders {} to end", arguments.join(" ")), ended).await.expect("the binary can be run")
}

impl Process {
    pub(crate) fn start(command: Command, name: impl Into<String>) -> Self {
        Self::start_with_stderr(command, Stdio::piped(), name)
    }

    /// Starts a process with the given stderr, which is not recorded.
    pub(crate) fn start_with_stderr(
        mut command: Command,
        stderr: impl Into<Stdio>,
        name: impl Into<String>,
    ) -> Self {
        let started = command.stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn();
        let name = name.into();
        let mut child = started.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let stdout = record(child.stdout.take().expect("stdout is piped"));
        let nothing = || Arc::new(Mutex::new(Recorded { complete: true, ..Recorded::default() }));
        let stderr = child.stderr.take().map_or_else(nothing, record);
        Self { name, child, stdout, stderr }
    }

    /// Waits for a line of stdout for which `find` returns a value.
    pub(crate) async fn wait_for_stdout<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.wait_for_line(what, &self.stdout, find).await
    }

    /// Waits for a line of stderr for which `find` returns a value.
    pub(crate) async fn wait_for_log<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.wait_for_line(what, &self.stderr, find).await
    }

    async fn wait_for_line<T>(
        &self,
        what: &str,
        output: &Mutex<Recorded>,
        find: impl Fn(&str) -> Option<T>,
    ) -> T {
        let name = &self.name;
        eventually(&format!("{name} to show {what}"), || {
            let output = output.lock().unwrap();
            let found = output.lines.iter().find_map(|line| find(line));
            assert!(found.is_some() || !output.complete, "{name} ended without showing {what}");
            std::future::ready(found)
        })
        .await
    }

    /// Counts the lines of stderr that contain the string.
    pub(crate) fn count_logged(&self, text: &str) -> usize {
        self.stderr.lock().unwrap().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Returns the complete stdout; waits for its end.
    pub(crate) async fn stdout(&self) -> String {
        eventually(&format!("the last line of {}", self.name), || {
            let output = self.stdout.lock().unwrap();
            std::future::ready(output.complete.then(|| output.lines.join("\n")))
        })
        .await
    }

    /// Returns the lines of stdout until now.
    pub(crate) fn stdout_lines(&self) -> Vec<String> {
        self.stdout.lock().unwrap().lines.clone()
    }

    /// Returns the recorded stderr.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().lines.join("\n")
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the process has not been waited for")
    }

    /// Returns a line of `/proc/PID/status` about memory, in bytes: `VmRSS` is the present size, `VmHWM` the peak.
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

    /// Sends the signal with this name, without `SIG`, unless the process was waited for.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(pid) = self.child.id() {
            let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
            assert!(sent.expect("kill(1) exists").success(), "SIG{name} to {}", self.name);
        }
    }

    /// Checks whether the process runs; a frozen one does.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.start_kill().expect("a child can be killed");
    }

    /// Waits for the end of the process.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        within(&format!("{name} to end"), self.child.wait()).await.expect("a child can be waited for")
    }

    /// Waits for the end of the process, which must be a success without a panic.
    pub(crate) async fn wait_for_success(&mut self) {
        self.wait_for_success_within(DEADLINE).await;
    }

    /// The same with another timeout.
    pub(crate) async fn wait_for_success_within(&mut self, deadline: Duration) {
        let ended = tokio::time::timeout(deadline, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} did not end within {deadline:?}", self.name));
        let status = ended.expect("a child can be waited for");
        eventually(&format!("the last line of {}", self.name), || {
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
            let lines = |output: &Mutex<Recorded>| {
                output.lock().map(|output| output.lines.join("\n")).unwrap_or_default()
            };
            eprintln!("---- {} stdout\n{}", self.name, lines(&self.stdout));
            eprintln!("---- {} stderr\n{}", self.name, lines(&self.stderr));
        }
    }
}

fn record(output: impl AsyncRead + Unpin + Send + 'static) -> Arc<Mutex<Recorded>> {
    let recorded = Arc::new(Mutex::new(Recorded::default()));
    let writer = recorded.clone();
    tokio::spawn(async move {
        let mut output = BufReader::new(output).lines();
        while let Ok(Some(line)) = output.next_line().await {
            writer.lock().unwrap().lines.push(line);
        }
        writer.lock().unwrap().complete = true;
    });
    recorded
}

/// Returns a command for a Node script of this repository.
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
