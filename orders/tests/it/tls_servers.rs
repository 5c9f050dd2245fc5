//! MariaDB and Redis with certificates of a private authority.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use test_certificates::{Authority, Leaf};

use crate::harness::{Api, Process, base_url, command, killed_with_test, run};
use crate::private_servers::{MariaDb, Port};

#[tokio::test]
async fn servers_with_a_private_authority_are_used_and_others_are_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let authority = Authority::new("ca");
    std::fs::write(path("ca.crt"), authority.pem()).expect("it is ours");
    std::fs::write(path("stranger.crt"), Authority::new("stranger").pem()).expect("it is ours");
    authority.issue(&Leaf::server()).write(folder.path(), "server");
    authority.issue(&Leaf::client("gateway")).write(folder.path(), "client");
    // The server runs as another user.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");

    let options = [("ssl-ca", "ca.crt"), ("ssl-cert", "server.crt"), ("ssl-key", "server.key")];
    let options = options.map(|(option, file)| format!("--{option}={}", path(file)));
    let mariadb = MariaDb::start_with(&options.each_ref().map(String::as_str)).await;
    let port = Port::claim();
    let mut redis = start_redis(folder.path(), port.number, "ca.crt").await;

    let database = |ca: &str| format!("{}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", mariadb.url(), path(ca));
    let redis_url = format!("rediss://localhost:{}", port.number);
    let variables = [
        ("DATABASE_URL", database("ca.crt")),
        ("REDIS_URL", redis_url),
        ("ORDERS_REDIS_CA", path("ca.crt")),
        ("ORDERS_REDIS_CLIENT_CERT", path("client.crt")),
        ("ORDERS_REDIS_CLIENT_KEY", path("client.key")),
    ];
    let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut dev = Process::start(command(folder.path(), &arguments, &variables), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let order = api.create_id().await;
    api.wait_for_status(&order, "completed").await;

    // A certificate that the server does not accept is not used.
    let next = Authority::new("next");
    std::fs::write(path("next.crt"), next.pem()).expect("it is ours");
    next.issue(&Leaf::client("gateway")).write(folder.path(), "client");
    dev.signal("HUP");
    dev.wait_for_log("the refusal", |line| line.contains("the previous one stays in use").then_some(()))
        .await;
    let order = api.create_id().await;
    api.wait_for_status(&order, "completed").await;
    // The server accepts certificates of the next authority only.
    redis.kill();
    redis.wait().await;
    let _redis = start_redis(folder.path(), port.number, "next.crt").await;
    dev.signal("HUP");
    dev.wait_for_log("the change", |line| line.contains("the changed secret is in use").then_some(())).await;
    let order = api.create_id().await;
    api.wait_for_status(&order, "completed").await;
    dev.terminate();
    dev.wait_for_success().await;
    assert_eq!(dev.count_logged("waiting for Redis"), 0, "{}", dev.stderr());

    let stranger = database("stranger.crt");
    let migrated = run(folder.path(), &["migrate"], &[("DATABASE_URL", &stranger)]).await;
    let error = String::from_utf8_lossy(&migrated.stderr).into_owned();
    assert!(!migrated.status.success() && error.contains("UnknownIssuer"), "{error}");
    let authority_of_redis = path("stranger.crt");
    variables[2].1 = &authority_of_redis;
    let mut dev = Process::start(command(folder.path(), &arguments, &variables), "orders dev");
    dev.wait_for_log("the refusal", |line| {
        (line.contains("waiting for Redis") && line.contains("UnknownIssuer")).then_some(())
    })
    .await;
    dev.terminate();
    dev.wait_for_success().await;

    let variables = [("REDIS_URL", "redis://localhost"), ("ORDERS_REDIS_CA", "ca.crt")];
    let plain = run(folder.path(), &["dev"], &variables).await;
    let error = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(plain.status.code() == Some(2) && error.contains("use rediss://"), "{error}");
}

/// Starts Redis with TLS, which accepts clients with a certificate of an authority.
async fn start_redis(folder: &Path, port: u16, clients: &str) -> Process {
    let mut redis = killed_with_test("redis-server");
    redis
        .args(["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "yes", "--save", ""])
        .args([
            "--tls-ca-cert-file",
            clients,
            "--tls-cert-file",
            "server.crt",
            "--tls-key-file",
            "server.key",
        ])
        .current_dir(folder);
    let mut redis = Process::start(redis, "Redis");
    redis.wait_for_stdout("its readiness", |line| line.contains("Ready to accept").then_some(())).await;
    redis
}
