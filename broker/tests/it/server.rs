//! A Redis that belongs to one test, which may stop, freeze and restart it.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// It listens on a socket file and on no port, so tests cannot take ports from each other. It ends
/// with the value.
pub(crate) struct Server {
    directory: TempDir,
    process: Option<Child>,
    /// Besides the usual ones.
    options: Vec<String>,
}

impl Server {
    /// Starts it; it may take a moment until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with these options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { directory: tempfile::tempdir().unwrap(), process: None, options };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.directory.path().join("redis.sock").display())
    }

    /// Starts it, empty, after a kill.
    pub(crate) fn restart(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"])
            .args(&self.options)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: run scripts/test.sh, which sees to that");
        self.process = Some(process);
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// It keeps its connections and answers nothing, until [`Server::thaw`].
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().expect("the server is running").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
