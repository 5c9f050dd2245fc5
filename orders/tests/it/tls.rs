//! Certificates of the ports and of processors, with real clients: reqwest, curl, openssl, grpc-js and graphql-ws.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::tls::TlsInfo;
use serde_json::Value;
use tempfile::TempDir;
use test_certificates::{Authority, Issued, Leaf};
use tokio::process::Command;

use crate::harness::{
    Api, Process, Servers, base_url, command, eventually, grpc_addr, https_client, killed_with_test, run,
    script, within,
};

/// An authority, and a folder with the files of a server.
struct Files {
    folder: TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            authority: Authority::new("ca"),
        };
        std::fs::write(files.path("ca.crt"), files.authority.pem()).expect("it is ours");
        files.replace_server();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Replaces the certificate and the key of the server.
    fn replace_server(&self) -> Issued {
        let issued = self.authority.issue(&Leaf::server());
        issued.write(self.folder.path(), "tls");
        issued
    }

    fn client(&self, name: &str, leaf: &Leaf) {
        self.authority.issue(leaf).write(self.folder.path(), name);
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [("ORDERS_TLS_CERT", self.text("tls.crt")), ("ORDERS_TLS_KEY", self.text("tls.key"))]
    }
}

/// Returns a command of the program that does not ignore SIGHUP.
fn orders(folder: &Path, arguments: &[&str], variables: &[(&str, String)]) -> Command {
    let mut command = killed_with_test("env");
    command
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_orders")])
        .args(arguments)
        .current_dir(folder)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

const ADDRESSES: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

/// Starts `orders dev` with a certificate, and returns its URL and its gRPC address.
async fn dev(files: &Files) -> (Process, String, String) {
    let arguments = [&["dev"][..], &ADDRESSES].concat();
    let mut dev = Process::start(orders(files.folder.path(), &arguments, &files.variables()), "orders dev");
    let base = base_url(&mut dev).await;
    let grpc = grpc_addr(&mut dev).await;
    (dev, base, grpc.trim_end_matches("(TLS)").trim().to_owned())
}

#[tokio::test]
async fn one_process_serves_and_uses_tls() {
    let files = Files::new();
    let (mut dev, base, grpc) = dev(&files).await;
    assert!(base.starts_with("https://127.0.0.1:"), "{base}");
    let api = Api::with_authority(base.clone(), &files.authority.pem());
    let order = api.create_id().await;
    api.wait_for_status(&order, "completed").await;

    let curl = Command::new("curl")
        .args(["-sS", "--fail", "--noproxy", "*", "--tlsv1.2", "--http2", "--cacert", &files.text("ca.crt")])
        .args(["-w", " %{http_version} %header{strict-transport-security}", &format!("{base}/livez")])
        .output();
    let curl = within("curl", curl).await.expect("curl is installed");
    let printed = String::from_utf8_lossy(&curl.stdout);
    assert!(
        curl.status.success() && printed.contains("ok"),
        "{printed}{}",
        String::from_utf8_lossy(&curl.stderr)
    );
    for version in ["-tls1_2", "-tls1_3"] {
        let handshake = Command::new("openssl")
            .args(["s_client", "-connect", &grpc, version, "-alpn", "h2", "-verify_return_error", "-CAfile"])
            .arg(files.path("ca.crt"))
            .stdin(std::process::Stdio::null())
            .output();
        let handshake = within("openssl", handshake).await.expect("openssl is installed");
        let printed = String::from_utf8_lossy(&handshake.stdout);
        assert!(
            printed.contains("ALPN protocol: h2") && printed.contains("Verify return code: 0"),
            "{printed}"
        );
    }
    // The reference client of graphql-transport-ws.
    let mut follow = script("tests/clients", "follow.mjs");
    follow
        .args(["graphql-ws", &order])
        .env("ORDERS_URL", &base)
        .env("NODE_EXTRA_CA_CERTS", files.path("ca.crt"));
    Process::start(follow, "follow.mjs").wait_for_success().await;
    let mut check = script("tests/clients", "health_and_reflection.mjs");
    check.env("GRPC_ADDR", &grpc).env("GRPC_CA", files.path("ca.crt"));
    Process::start(check, "health_and_reflection.mjs").wait_for_success().await;

    // The commands: the address of this machine needs no trust, a URL needs it.
    let folder = files.folder.path();
    let address = ("ORDERS_HTTP_ADDR", base.trim_start_matches("https://").to_owned());
    let [certificate, key] = files.variables();
    let variables = [address, certificate, key];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let health = run(folder, &["health"], &variables).await;
    assert!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
    for arguments in [&["health", &base][..], &["queue", "status", "--url", &base]] {
        let trusted = run(folder, &[arguments, &["--ca", "ca.crt"]].concat(), &[]).await;
        assert!(trusted.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&trusted.stderr));
        let error = run(folder, &[arguments, &["--ca", "other.crt"]].concat(), &[]).await;
        assert_eq!(error.status.code(), Some(2), "{}", String::from_utf8_lossy(&error.stderr));
        std::fs::write(files.path("stranger.crt"), Authority::new("stranger").pem()).expect("it is ours");
        let error = run(folder, &[arguments, &["--ca", "stranger.crt"]].concat(), &[]).await;
        let message = String::from_utf8_lossy(&error.stderr).into_owned();
        assert!(message.contains("certificate") && message.contains("--ca (ORDERS_CA)"), "{message}");
    }
    // The authorities of a context are for its gateway, unless --ca names others.
    let home = [("HOME", folder.to_str().expect("UTF-8"))];
    for arguments in [
        &["context", "set", "own", "--url", &base, "--ca", "ca.crt"][..],
        &["context", "use", "own"],
        &["queue", "status"],
        &["health", "--context", "own"],
    ] {
        let output = run(folder, arguments, &home).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for others in [&["--ca", "stranger.crt"][..], &["--url", &base]] {
        let error = run(folder, &[&["queue", "status"], others].concat(), &home).await;
        let message = String::from_utf8_lossy(&error.stderr).into_owned();
        assert!(message.contains("certificate"), "{others:?}: {message}");
    }
    dev.terminate();
    dev.wait_for_success().await;
}

/// The static program also runs where no package of the system is installed.
#[tokio::test]
async fn commands_need_authorities_of_the_system_for_https_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("none.pem").display().to_string();
    let without = [("SSL_CERT_FILE", missing.as_str()), ("SSL_CERT_DIR", missing.as_str())];
    let arguments = [&["dev"][..], &ADDRESSES].concat();
    let mut dev = Process::start(command(folder.path(), &arguments, &without), "orders dev");
    let base = base_url(&mut dev).await;
    let create = ["create", "--url", &base, "--item", "Laptop", "--price", "1", "-o", "id"];
    let created = run(folder.path(), &create, &without).await;
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let id = String::from_utf8(created.stdout).expect("UTF-8");
    let watched = run(folder.path(), &["watch", "--url", &base, id.trim()], &without).await;
    assert!(watched.status.success(), "{}", String::from_utf8_lossy(&watched.stderr));
    dev.terminate();
    dev.wait_for_success().await;

    let files = Files::new();
    let (mut dev, base, _) = self::dev(&files).await;
    let refused = run(folder.path(), &["list", "--url", &base], &without).await;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("is not accepted") && message.contains("--ca (ORDERS_CA)"), "{message}");
    dev.terminate();
    dev.wait_for_success().await;
}

#[tokio::test]
async fn certificate_is_replaced_under_load_without_an_error() {
    let files = Files::new();
    let (mut dev, base, _) = dev(&files).await;
    let pem = files.authority.pem();
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    // Most connections stay open; two clients open one for each request.
    for number in 0..10 {
        let (client, base) = (https_client(&pem, number < 8), base.clone());
        let (stop, served) = (stop.clone(), served.clone());
        clients.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let response = client.get(format!("{base}/livez")).send().await?.error_for_status()?;
                response.bytes().await?;
                served.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, reqwest::Error>(())
        }));
    }
    let presented = || async {
        let response =
            https_client(&pem, true).get(format!("{base}/livez")).send().await.expect("a response");
        let info = response.extensions().get::<TlsInfo>().expect("a TLS connection");
        info.peer_certificate().expect("a certificate").to_vec()
    };
    let started = std::time::Instant::now();
    for _ in 0..4 {
        let before = served.load(Ordering::Relaxed);
        let issued = files.replace_server();
        dev.signal("HUP");
        eventually("new connections to get the new certificate", || async {
            (presented().await == issued.der()).then_some(())
        })
        .await;
        eventually("more requests", || {
            std::future::ready((served.load(Ordering::Relaxed) > before + 500).then_some(()))
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no panic").expect("no request fails");
    }
    let rate = served.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    eprintln!("{rate:.0} requests/s");
    let metrics = https_client(&pem, true).get(format!("{base}/metrics")).send().await.expect("a response");
    let metrics = metrics.text().await.expect("a body");
    let reloads = |certificate: &str| {
        format!(r#"orders_tls_reloads_total{{certificate="{certificate}",outcome="success"}} 4"#)
    };
    assert!(metrics.contains(&reloads("http")) && metrics.contains(&reloads("grpc")), "{metrics}");
    assert!(metrics.contains("orders_tls_certificate_expiry_timestamp_seconds"), "{metrics}");

    // A broken file changes nothing.
    let current = presented().await;
    std::fs::write(files.path("tls.key"), "").expect("it is ours");
    dev.signal("HUP");
    dev.wait_for_log("the failure", |line| line.contains("failed to load TLS files").then_some(())).await;
    assert_eq!(presented().await, current);
    dev.terminate();
    dev.wait_for_success().await;
}

/// A gateway that requires client certificates and keys: a processor and the Node worker with a certificate need no key.
#[tokio::test]
async fn workers_authenticate_with_certificates() {
    let files = Files::new();
    let servers = Servers::new().await;
    files.client("worker", &Leaf::client("worker-1"));
    files.client("expired", &Leaf::client("worker-1").valid_until("2020-01-01T00:00:00Z"));
    let on_servers = [
        ("DATABASE_URL", servers.database_url.clone()),
        ("REDIS_URL", servers.redis_url.clone()),
        ("ORDERS_REDIS_PREFIX", servers.prefix.clone()),
    ];
    let folder = files.folder.path();
    let settings = [
        ("ORDERS_GRPC_CLIENT_CA", files.text("ca.crt")),
        ("ORDERS_AUTH", "keys".to_owned()),
        ("ORDERS_BOOTSTRAP_KEY_FILE", files.text("admin.key")),
    ];
    let variables = [&on_servers[..], &files.variables(), &settings].concat();
    let arguments = [&["gateway", "--log-format", "json"][..], &ADDRESSES].concat();
    let mut gateway = Process::start(orders(folder, &arguments, &variables), "gateway");
    let (http, grpc) = gateway
        .wait_for_log("its addresses", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            assert!(line["http"].is_null() || (line["https"] == true && line["grpc_tls"] == true), "{line}");
            Some((line["http"].as_str()?.to_owned(), line["grpc"].as_str()?.to_owned()))
        })
        .await;
    let admin = std::fs::read_to_string(files.path("admin.key")).expect("the file was created");
    let api = Api::with_key(format!("https://{http}"), Some(&files.authority.pem()), admin.trim_end());

    let mut check = script("tests/clients", "health_and_reflection.mjs");
    check.env("GRPC_ADDR", &grpc).env("GRPC_CA", files.path("ca.crt"));
    let check = within("a client without a certificate", check.output()).await.expect("node is installed");
    assert!(!check.status.success(), "a client without a certificate is refused");
    let order = api.create_id().await;
    let mut worker = script("tests/clients", "worker.mjs");
    worker
        .args(["--count", "1", "--timeout", "50"])
        .env("GRPC_ADDR", &grpc)
        .env("GRPC_CA", files.path("ca.crt"))
        .env("GRPC_CERT", files.path("worker.crt"))
        .env("GRPC_KEY", files.path("worker.key"))
        .env("REDIS_URL", &servers.redis_url)
        .env("ORDERS_QUEUE_KEY", format!("{}:queue", servers.prefix));
    Process::start(worker, "worker.mjs").wait_for_success().await;
    api.wait_for_status(&order, "completed").await;

    // The processor has an expired certificate first, and gets another one by SIGHUP.
    std::fs::copy(files.path("expired.crt"), files.path("client.crt")).expect("it is ours");
    std::fs::copy(files.path("expired.key"), files.path("client.key")).expect("it is ours");
    let variables = [
        &on_servers[..],
        &[
            ("ORDERS_GATEWAY_URL", format!("https://{grpc}")),
            ("ORDERS_GATEWAY_CA", files.text("ca.crt")),
            ("ORDERS_GATEWAY_CLIENT_CERT", files.text("client.crt")),
            ("ORDERS_GATEWAY_CLIENT_KEY", files.text("client.key")),
        ],
    ]
    .concat();
    let arguments = ["processor", "--metrics-addr", "127.0.0.1:0", "--log-format", "json"];
    let mut processor = Process::start(orders(folder, &arguments, &variables), "processor");
    processor
        .wait_for_log("the refusal", |line| {
            (line.contains("no gateway reachable") && line.contains("CertificateExpired")).then_some(())
        })
        .await;
    let order = api.create_id().await;
    std::fs::copy(files.path("worker.crt"), files.path("client.crt")).expect("it is ours");
    std::fs::copy(files.path("worker.key"), files.path("client.key")).expect("it is ours");
    processor.signal("HUP");
    api.wait_for_status(&order, "completed").await;
    let (_, metrics) = api.get("/metrics").await;
    let refused = r#"orders_tls_handshake_errors_total{reason="client_certificate"}"#;
    assert!(metrics.as_str().is_some_and(|metrics| metrics.contains(refused)), "{metrics}");
    processor.terminate();
    processor.wait_for_success().await;
    gateway.terminate();
    gateway.wait_for_success().await;
}

#[tokio::test]
async fn unusable_certificates_end_the_start_with_the_change() {
    let files = Files::new();
    let folder = files.folder.path();
    std::fs::write(files.path("other.key"), files.authority.issue(&Leaf::server()).key_pem())
        .expect("it is ours");
    for (arguments, expected) in [
        (
            &["dev", "--tls-cert", "tls.crt", "--tls-key", "other.key"][..],
            "other.key is not the key of the certificate tls.crt",
        ),
        (&["dev", "--tls-cert", "missing.crt", "--tls-key", "tls.key"], "missing.crt cannot be read"),
        (&["dev", "--tls-cert", "tls.crt"], "--tls-key (ORDERS_TLS_KEY) is not set"),
        (
            &["dev", "--tls-cert", "tls.crt", "--tls-key", "tls.key", "--grpc-client-ca", "ca.crt"],
            "--grpc-client-ca",
        ),
        (&["processor", "--redis-url", "redis://127.0.0.1", "--gateway-ca", "ca.crt"], "https URL"),
    ] {
        let output = command(folder, arguments, &[]).output();
        let output = within("the start to fail", output).await.expect("the binary can be run");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(expected), "{arguments:?}: {error}");
    }
}
