//! Exposure and authentication of the running program.

use serde_json::json;

use crate::harness::{Api, Process, base_url, command, eventually, metrics_url, run};

#[tokio::test]
async fn an_exposed_gateway_refuses_to_start_without_authentication() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let loopback = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    for (exposed, setting) in [
        (["0.0.0.0:0", "127.0.0.1:0", "127.0.0.1:0"], "--http-addr (ORDERS_HTTP_ADDR)"),
        (["127.0.0.1:0", "0.0.0.0:0", "127.0.0.1:0"], "--grpc-addr (ORDERS_GRPC_ADDR)"),
        (["127.0.0.1:0", "127.0.0.1:0", "0.0.0.0:0"], "--admin-addr (ORDERS_ADMIN_ADDR)"),
    ] {
        let [http, grpc, admin] = exposed;
        let arguments = ["--http-addr", http, "--grpc-addr", grpc, "--admin-addr", admin];
        let output = run(folder.path(), &arguments, &[]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let errors: Vec<&str> = stderr.lines().filter(|line| !line.contains("WARN")).collect();
        assert_eq!(errors.len(), 1, "one line: {stderr}");
        for part in [setting, "orders keys create", "--auth keys", "--insecure-allow-anonymous"] {
            assert!(errors[0].contains(part), "{part}: {stderr}");
        }
        assert!(!folder.path().join("data").exists(), "the database is not opened");
    }
    let open = ["--http-addr", "0.0.0.0:0", "--grpc-addr", "0.0.0.0:0", "--insecure-allow-anonymous"];
    for arguments in [&loopback[..], &open[..]] {
        let mut process = Process::start(command(folder.path(), arguments, &[]), "orders dev");
        base_url(&mut process).await;
        process.terminate();
        process.wait_for_success().await;
    }
}

/// The first keys come from files, the processor of the process and the commands authenticate, and other clients must.
#[tokio::test]
async fn dev_with_keys_processes_orders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = [
        "--http-addr",
        "127.0.0.1:0",
        "--grpc-addr",
        "127.0.0.1:0",
        "--simulate-min-delay",
        "0",
        "--simulate-max-delay",
        "0",
        "--auth",
        "keys",
        "--bootstrap-key-file",
        "admin.key",
    ];
    let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let base = base_url(&mut process).await;
    let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the file was created");
    let key = key.trim_end();

    let status = run(folder.path(), &["queue", "status"], &[("ORDERS_URL", &base)]).await;
    let stderr = String::from_utf8_lossy(&status.stderr);
    assert!(stderr.contains("no credential") && stderr.contains("ORDERS_TOKEN"), "{stderr}");
    for variables in [("ORDERS_TOKEN", key), ("ORDERS_TOKEN_FILE", "admin.key")] {
        let status = run(folder.path(), &["queue", "status"], &[("ORDERS_URL", &base), variables]).await;
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    }

    crate::harness::install_tls_provider();
    let client = reqwest::Client::new();
    let order = json!({"item": "Laptop", "quantity": 1, "price": 1});
    let created = client.post(format!("{base}/orders")).bearer_auth(key).json(&order).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let created: serde_json::Value = created.json().await.unwrap();
    let url = format!("{base}/orders/{}", created["id"].as_str().expect("an id"));
    eventually("the order to be completed", async || {
        let order = client.get(&url).bearer_auth(key).send().await.unwrap();
        let order: serde_json::Value = order.json().await.unwrap();
        (order["status"] == "completed").then_some(())
    })
    .await;
    let (status, _) = Api::new(base).get("/orders").await;
    assert_eq!(status, 401);
    process.terminate();
    process.wait_for_success().await;
    assert!(!process.stderr().contains(key), "the log has no key");

    // The file is not used again, also if it contains another key.
    std::fs::remove_file(folder.path().join("admin.key")).unwrap();
    let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    base_url(&mut process).await;
    assert!(!folder.path().join("admin.key").exists());
    process.terminate();
    process.wait_for_success().await;
}

/// Starts a program with keys and an admin server, and returns its public URL and that of the metrics.
async fn with_admin_server(folder: &std::path::Path, admin: &str) -> (Process, String, String) {
    let arguments = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--auth", "keys"];
    let arguments = [
        &arguments[..],
        &["--admin-addr", admin, "--bootstrap-key-file", "admin.key", "--allowed-hosts", "shop.example"],
    ]
    .concat();
    let mut process = Process::start(command(folder, &arguments, &[]), "orders dev");
    let public = base_url(&mut process).await;
    let metrics = metrics_url(&mut process).await.replace("0.0.0.0", "127.0.0.1");
    (process, public, metrics)
}

#[tokio::test]
async fn the_admin_server_has_only_probes_and_metrics() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut process, public, metrics) = with_admin_server(folder.path(), "127.0.0.1:0").await;
    let admin = metrics.strip_suffix("/metrics").expect("the address of the metrics");
    assert_ne!(admin, public);
    crate::harness::install_tls_provider();
    let client = reqwest::Client::new();
    let status = async |url: &str| client.get(url).send().await.unwrap().status().as_u16();
    for (path, expected) in
        [("/livez", 200), ("/readyz?verbose", 200), ("/metrics", 200), ("/orders", 404), ("/", 404)]
    {
        assert_eq!(status(&format!("{admin}{path}")).await, expected, "{path}");
    }
    for path in ["/readyz?verbose", "/metrics"] {
        assert_eq!(status(&format!("{public}{path}")).await, 401, "{path}");
    }
    process.terminate();
    process.wait_for_success().await;

    let (mut process, public, metrics) = with_admin_server(folder.path(), "0.0.0.0:0").await;
    assert_eq!(status(&metrics).await, 401, "other machines reach it");
    let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the file was created");
    let with_key = client.get(&metrics).bearer_auth(key.trim_end()).send().await.unwrap();
    assert_eq!(with_key.status(), 200);
    // A probe of Kubernetes names the address of the container.
    let named =
        async |url: &str| client.get(url).header("host", "10.1.2.3:9091").send().await.unwrap().status();
    assert_eq!(named(&metrics.replace("/metrics", "/readyz")).await, 200);
    assert_eq!(named(&format!("{public}/readyz")).await, 421);
    process.terminate();
    process.wait_for_success().await;
}

#[tokio::test]
async fn a_wrong_token_is_refused_without_being_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = ("REDIS_URL", "redis://127.0.0.1:1");
    for (variables, part) in [
        (&[redis, ("ORDERS_TOKEN", "hu sh")][..], "ORDERS_TOKEN"),
        (&[redis, ("ORDERS_TOKEN_FILE", "none")][..], "--token-file (ORDERS_TOKEN_FILE)"),
        (&[redis, ("ORDERS_TOKEN_FILE", "none"), ("ORDERS_TOKEN", "x")][..], "both set"),
    ] {
        let output = run(folder.path(), &["processor"], variables).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part) && stderr.contains("hint: ") && !stderr.contains("hu sh"), "{stderr}");
    }
}
