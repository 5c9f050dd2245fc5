//! One server, and the commands that tests send to it.

use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The password of every server.
pub const PASSWORD: &str = "hush";
/// The maximum time of a wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program of the servers, and their certificates.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `redis-server` or `valkey-server`.
    pub program: &'static str,
    /// The certificates, if the servers have TLS only.
    pub tls: Option<Tls>,
}

/// Redis without TLS.
pub const REDIS: Setup = Setup { program: "redis-server", tls: None };
/// Valkey without TLS.
pub const VALKEY: Setup = Setup { program: "valkey-server", tls: None };

/// The certificates of servers with TLS, which clients need as well.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The file of the certificate authority.
    pub authority: PathBuf,
    /// The file of the certificate of every server and client.
    pub certificate: PathBuf,
    /// The file of its private key.
    pub key: PathBuf,
}

impl Tls {
    fn arguments(&self, option: impl Fn(&str) -> String) -> Vec<String> {
        let files = [("cacert", &self.authority), ("cert", &self.certificate), ("key", &self.key)];
        files.iter().flat_map(|(name, file)| [option(name), file.display().to_string()]).collect()
    }
}

/// A server, which can be killed and started again on the same port.
#[derive(Debug)]
pub struct Server {
    /// Its port on 127.0.0.1.
    pub port: u16,
    arguments: Vec<String>,
    password: &'static str,
    setup: Setup,
    process: Child,
    /// Reserves the port for other tests that do the same.
    _claims: Vec<UdpSocket>,
    /// Declared last: it is removed after the process has ended.
    folder: TempDir,
}

/// Returns a free port below those of outgoing connections, and its reservation.
pub(crate) fn claim_port() -> (u16, UdpSocket) {
    use std::hash::{BuildHasher, RandomState};
    loop {
        let number = 20_000 + u16::try_from(RandomState::new().hash_one(0) % 12_000).unwrap();
        let claim = UdpSocket::bind(("127.0.0.1", number));
        if let (Ok(claim), Ok(_)) = (claim, TcpListener::bind(("127.0.0.1", number))) {
            return (number, claim);
        }
    }
}

impl Server {
    /// Starts a server with a password and additional options. `file` is the content of its configuration file; `{port}`
    /// stands for the port.
    pub(crate) async fn start(file: &str, options: &[&str], password: &'static str, setup: &Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ((port, claim), (bus, bus_claim)) = (claim_port(), claim_port());
        let path = folder.path().join("redis.conf");
        std::fs::write(&path, file).unwrap();
        let mut arguments = vec![path.display().to_string()];
        let port_option = if setup.tls.is_some() { "--tls-port" } else { "--port" };
        let set = ["--bind", "127.0.0.1", "--requirepass", password, "--daemonize", "no"];
        arguments.extend(set.map(str::to_owned));
        arguments.extend([port_option.to_owned(), port.to_string()]);
        if let Some(tls) = &setup.tls {
            arguments.extend(["--port", "0", "--tls-replication", "yes"].map(str::to_owned));
            arguments.extend(tls.arguments(|name| {
                let name = if name == "cacert" { "ca-cert" } else { name };
                format!("--tls-{name}-file")
            }));
        }
        let bus = bus.to_string();
        arguments.extend(options.iter().map(|option| option.replace("{bus}", &bus)));
        let process = spawn(setup.program, &arguments, &folder);
        let claims = vec![claim, bus_claim];
        let mut server =
            Self { port, arguments, password, setup: setup.clone(), process, _claims: claims, folder };
        server.wait_until_ready().await;
        server
    }

    /// Kills the process, as a crash does.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Starts the process again after its end.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self) {
        self.process = spawn(self.setup.program, &self.arguments, &self.folder);
        self.wait_until_ready().await;
    }

    /// Sends a command and returns the response.
    ///
    /// # Panics
    /// If the server does not respond.
    pub async fn command(&self, words: &[&str]) -> String {
        let output = self.cli(words).await;
        assert!(!output.starts_with("Could not connect"), "{output}");
        output
    }

    /// The same for a server that may have ended.
    pub(crate) async fn cli(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).env("REDISCLI_AUTH", self.password);
        command.args(tls_of_client(self.setup.tls.as_ref())).args(words);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.expect("redis-cli must be installed: run scripts/test.sh, which installs it");
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    async fn wait_until_ready(&mut self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while self.cli(&["PING"]).await != "PONG" {
            let ended = self.process.try_wait().unwrap();
            assert_eq!(ended, None, "{} has ended", self.setup.program);
            assert!(tokio::time::Instant::now() < deadline, "{} does not respond", self.setup.program);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Returns the options of `redis-cli` for TLS.
pub(crate) fn tls_of_client(tls: Option<&Tls>) -> Vec<String> {
    let Some(tls) = tls else { return Vec::new() };
    [vec!["--tls".to_owned()], tls.arguments(|name| format!("--{name}"))].concat()
}

fn spawn(program: &str, arguments: &[String], folder: &TempDir) -> Child {
    // The kernel kills it with the test.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", program])
        .args(arguments)
        .args(["--logfile", "log"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("setpriv must be installed: run scripts/test.sh, which installs it")
}

/// Waits until the condition is true.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(ended.is_ok(), "timeout after {} s: {what}", DEADLINE.as_secs());
}
