//! Tokens of a real OpenID issuer (`tests/issuer`): accepted, rotated, and while the issuer is down.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Process, base_url, command, eventually, run, script};

/// The issuer, its control port, and a client for both and for the gateway.
struct Issuer {
    process: Process,
    url: String,
    control: String,
    client: reqwest::Client,
}

impl Issuer {
    async fn start() -> Self {
        crate::harness::install_tls_provider();
        let mut process = Process::start(script("tests/issuer", "issuer.mjs"), "issuer.mjs");
        let line =
            |name: &'static str| move |line: &str| line.strip_prefix(name).map(|url| url.trim().to_owned());
        let url = process.wait_for_stdout("the URL of the issuer", line("issuer ")).await;
        let control = process.wait_for_stdout("the URL of the control port", line("control ")).await;
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        Self { process, url, control, client }
    }

    async fn control(&self, command: &str) {
        let response = self.client.post(format!("{}/{command}", self.control)).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "done");
    }

    async fn reads(&self) -> u64 {
        let response = self.client.get(format!("{}/reads", self.control)).send().await.unwrap();
        response.text().await.unwrap().parse().unwrap()
    }

    /// Requests an access token for a tenant, as a program without a user does (RFC 6749, section 4.4).
    async fn token(&self, tenant: &str, algorithm: &str, scope: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&resource=urn%3Aorders%3A{algorithm}&scope={}",
            scope.replace(':', "%3A").replace(' ', "+")
        );
        let request = self.client.post(format!("{}/token", self.url)).basic_auth(tenant, Some("secret"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let response: Value = request.send().await.unwrap().json().await.unwrap();
        let token = response["access_token"].as_str();
        token.unwrap_or_else(|| panic!("no token: {response}")).to_owned()
    }

    /// Sends a request to the gateway, and returns the status and the code of the error.
    async fn get(&self, base: &str, path: &str, token: &str) -> (u16, Value) {
        let response = self.client.get(format!("{base}{path}")).bearer_auth(token).send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap_or_default();
        (status, body["code"].clone())
    }

    async fn until_accepted(&self, base: &str, token: &str) {
        eventually("the token to be accepted", async || {
            (self.get(base, "/orders", token).await.0 == 200).then_some(())
        })
        .await;
    }
}

async fn start(folder: &Path, issuer: &str) -> (Process, String) {
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
        "keys,jwt",
        "--jwt-issuer",
        issuer,
        "--jwt-audience",
        "orders",
        "--bootstrap-key-file",
        "admin.key",
    ];
    let mut process = Process::start(command(folder, &arguments, &[]), "orders dev");
    let base = base_url(&mut process).await;
    (process, base)
}

#[tokio::test]
async fn tokens_of_an_openid_issuer_are_accepted() {
    let issuer = Issuer::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    for arguments in [&["migrate"][..], &["tenants", "create", "shop"]] {
        let output = run(folder.path(), arguments, &[]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (mut gateway, base) = start(folder.path(), &issuer.url).await;

    let mut tokens = Vec::new();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let token = issuer.token("shop", algorithm, "orders:read orders:write").await;
        let order = json!({"item": "Laptop", "quantity": 1, "price": 1});
        let created = issuer.client.post(format!("{base}/orders")).bearer_auth(&token).json(&order);
        let created = created.send().await.unwrap();
        assert_eq!(created.status(), 201, "{algorithm}");
        assert_eq!(issuer.get(&base, "/metrics", &token).await, (403, json!("forbidden")), "{algorithm}");
        tokens.push(token);
    }
    let reader = issuer.token("shop", "ES256", "orders:read").await;
    let status =
        run(folder.path(), &["queue", "status"], &[("ORDERS_URL", &base), ("ORDERS_TOKEN", &reader)]).await;
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let worker = issuer.token("shop", "ES256", "role:worker").await;
    assert_eq!(issuer.get(&base, "/metrics", &worker).await, (403, json!("forbidden")));
    let unknown = issuer.token("unknown", "ES256", "orders:read").await;
    assert_eq!(issuer.get(&base, "/orders", &unknown).await, (401, json!("unauthenticated")));

    // Tokens with unknown keys cause at most one read in 30 s.
    let (before, started) = (issuer.reads().await, Instant::now());
    let (_, rest) = reader.split_once('.').expect("a JWT");
    for n in 0..100 {
        let header = format!(r#"{{"alg":"ES256","kid":"unknown-{n:08}"}}"#);
        let header = test_tokens::encode(header.as_bytes());
        let (status, _) = issuer.get(&base, "/orders", &format!("{header}.{rest}")).await;
        assert!([401, 429].contains(&status), "{status}");
    }
    let allowed = 1 + started.elapsed().as_secs() / 30;
    assert!(issuer.reads().await - before <= allowed);

    // After the rotation and SIGHUP, only the new keys verify. A token that was verified before is cached.
    let unused = issuer.token("shop", "RS256", "orders:read").await;
    issuer.control("rotate").await;
    let rotated = issuer.token("shop", "RS256", "orders:read").await;
    gateway.signal("HUP");
    issuer.until_accepted(&base, &rotated).await;
    assert_eq!(issuer.get(&base, "/orders", &unused).await, (401, json!("unauthenticated")));

    // The loaded keys verify while the issuer is down.
    let signed_before = issuer.token("shop", "EdDSA", "orders:read").await;
    issuer.control("down").await;
    gateway.signal("HUP");
    gateway
        .wait_for_log("a failed read", |line| {
            line.contains("failed to read the keys of the token issuer").then_some(())
        })
        .await;
    assert_eq!(issuer.get(&base, "/orders", &signed_before).await.0, 200);
    gateway.terminate();
    gateway.wait_for_success().await;
    tokens.extend([reader, worker, unknown, unused, rotated, signed_before]);
    let log = gateway.stderr();
    assert!(!tokens.iter().any(|token| log.contains(token)), "the log has no token");
}

#[tokio::test]
async fn keys_work_while_the_issuer_is_down_at_the_start() {
    let mut issuer = Issuer::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = issuer.token("default", "ES256", "orders:read").await;
    issuer.control("down").await;
    let (mut gateway, base) = start(folder.path(), &issuer.url).await;
    let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the file was created");
    assert_eq!(issuer.get(&base, "/orders", key.trim_end()).await.0, 200);
    assert_eq!(issuer.get(&base, "/orders", &token).await, (503, json!("token_issuer_unavailable")));
    issuer.control("up").await;
    gateway.signal("HUP");
    issuer.until_accepted(&base, &token).await;
    gateway.terminate();
    gateway.wait_for_success().await;
    issuer.process.terminate();
    issuer.process.wait().await;
}

#[tokio::test]
async fn settings_that_do_not_fit_together_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("keys.json"), r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#)
        .unwrap();
    std::fs::write(folder.path().join("large.json"), " ".repeat(256 * 1024 + 1)).unwrap();
    let issuer = ["--auth", "jwt", "--jwt-issuer", "https://issuer.example"];
    let complete = [&issuer[..], &["--jwt-audience", "orders"]].concat();
    let with = |more: &[&'static str]| [&complete[..], more].concat();
    for (arguments, problem) in [
        (vec!["--auth", "tokens"], "keys,jwt"),
        (vec!["--auth", "off,jwt"], "keys,jwt"),
        (vec!["--auth", "jwt"], "--jwt-issuer"),
        (issuer.to_vec(), "--jwt-audience"),
        (vec!["--jwt-issuer", "https://issuer.example"], "add jwt"),
        (vec!["--auth", "keys", "--jwt-audience", "orders"], "add jwt"),
        (vec!["--auth", "keys", "--jwt-allow-all-tenants"], "add jwt"),
        (
            with(&["--jwt-jwks-url", "https://issuer.example/keys", "--jwt-jwks-file", "keys.json"]),
            "both set",
        ),
        (with(&["--jwt-jwks-url", "http://issuer.example/keys"]), "https://"),
        (with(&["--jwt-jwks-url", "https://ann:hush@issuer.example/keys"]), "--jwt-jwks-url"),
        (with(&["--jwt-jwks-file", "none.json"]), "cannot be read"),
        (with(&["--jwt-jwks-file", "keys.json"]), "no key that can verify"),
        (with(&["--jwt-jwks-file", "large.json"]), "larger than"),
        (with(&["--jwt-jwks-url", "http://127.0.0.1:1/keys", "--jwt-ca", "ca.crt"]), "--jwt-ca"),
        (with(&["--jwt-ca", "none.crt"]), "none.crt"),
        (with(&["--jwt-algorithms", "RS256,HS256"]), "RS256, ES256 and EdDSA"),
        (with(&["--jwt-algorithms", "none"]), "RS256, ES256 and EdDSA"),
        (with(&["--jwt-tenant-claim", "/"]), "JSON pointer"),
        (vec!["--auth", "jwt", "--jwt-issuer", "shop", "--jwt-audience", "orders"], "--jwt-jwks-file"),
        (vec!["--auth", "jwt", "--jwt-issuer", "http://issuer.example", "--jwt-audience", "a"], "https://"),
    ] {
        let output = run(folder.path(), &arguments, &[]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(problem) && stderr.contains("hint: "), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("hush"), "{stderr}");
    }
    assert!(!folder.path().join("data").exists(), "the database is not opened");
}
