//! A private Redis server of one test, which can stop, freeze and restart it.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A server on a socket file, so that tests do not compete for ports. It is killed when the value is dropped.
pub(crate) struct RedisServer {
    directory: TempDir,
    process: Option<Child>,
    /// Additional options.
    options: Vec<String>,
}

impl RedisServer {
    /// Starts a server, which may not respond immediately.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with additional options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { directory: tempfile::tempdir().unwrap(), process: None, options };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.directory.path().join("redis.sock").display())
    }

    /// Starts the server, without data, after a kill.
    pub(crate) fn restart(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"])
            .args(&self.options)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: run scripts/test.sh, which installs it");
        self.process = Some(process);
    }

    /// Kills the server, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Freezes the server until [`RedisServer::thaw`]: it keeps its connections and does not respond.
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

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
