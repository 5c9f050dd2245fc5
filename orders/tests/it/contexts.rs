//! Contexts of the command line: gateways of two tenants, the place of their keys, and who receives a key.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Api, Process, base_url, command, id, run, within};

/// A user with a home folder, which is also the folder of the commands.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder") }
    }

    fn file(&self) -> PathBuf {
        self.home.path().join(".config/orders/contexts.json")
    }

    /// Runs a command with this standard input and these variables besides `HOME`.
    async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)], stdin: &str) -> Output {
        let home = self.home.path().to_str().expect("UTF-8");
        let mut command = command(self.home.path(), arguments, &[&[("HOME", home)], variables].concat());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let mut input = child.stdin.take().expect("stdin is piped");
        // A command that does not read its input can have closed it.
        let _ = input.write_all(stdin.as_bytes()).await;
        drop(input);
        within("the command to end", child.wait_with_output()).await.expect("it can be waited for")
    }

    /// Runs a command that must succeed, and returns its stdout.
    async fn succeed(&self, arguments: &[&str]) -> String {
        succeeded(self.run_with(arguments, &[], "").await)
    }

    /// Runs a command that must end with exit code 2, and returns its stderr.
    async fn refuse(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.run_with(arguments, variables, "").await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("\nhint: "), "{stderr}");
        stderr
    }

    /// Stores a context with a key.
    async fn store(&self, name: &str, url: &str, key: &str) {
        let set = ["context", "set", name, "--url", url, "--token-stdin"];
        let shown = succeeded(self.run_with(&set, &[], &format!("{key}\n")).await);
        assert_eq!(shown, format!("the context {name} is stored\n"));
    }

    /// Creates the database of a gateway with a tenant, and returns a key of it for operators.
    async fn create_key(&self, tenant: &str) -> String {
        self.succeed(&["tenants", "create", tenant]).await;
        let create = ["keys", "create", "--name", tenant, "--role", "operator", "--tenant", tenant];
        self.succeed(&create).await.trim_end().to_owned()
    }
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

/// Fails an order of the caller, and returns its id.
async fn fail_order(api: &Api) -> String {
    let order = json!({"item": "Laptop", "quantity": 1, "price": 1, "maxAttempts": 1});
    let (status, order) = api.post("/orders", &order).await;
    assert_eq!(status, 201, "{order}");
    api.wait_for_status(&id(&order), "failed").await;
    id(&order)
}

#[tokio::test]
async fn commands_act_for_the_tenant_of_the_context() {
    let user = User::new();
    user.succeed(&["migrate"]).await;
    let keys = [user.create_key("north").await, user.create_key("south").await];
    let arguments = [
        &["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--auth", "keys"][..],
        &["--simulate-min-delay", "0", "--simulate-max-delay", "0", "--simulate-failure-rate", "1"],
    ]
    .concat();
    let mut gateway = Process::start(command(user.home.path(), &arguments, &[]), "orders dev");
    let base = base_url(&mut gateway).await;
    let mut orders = Vec::new();
    for key in &keys {
        orders.push(fail_order(&Api::with_key(base.clone(), None, key)).await);
    }
    user.store("north", &base, &keys[0]).await;
    let key_file = user.home.path().join("south.key");
    std::fs::write(&key_file, format!("{}\n", keys[1])).expect("it is ours");
    // The path is relative here and absolute in the context.
    user.succeed(&["context", "set", "south", "--url", &base, "--token-file", "south.key"]).await;
    assert_eq!((mode(&user.file()), mode(user.file().parent().expect("a folder"))), (0o600, 0o700));

    let list = ["dead-letters", "list", "-o", "id"];
    let listed = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let shown = succeeded(user.run_with(arguments, variables, "").await);
        shown.split_whitespace().next().unwrap_or_default().to_owned()
    };
    for (name, order) in [("north", &orders[0]), ("south", &orders[1])] {
        let shown = user.succeed(&["context", "use", name]).await;
        assert_eq!(shown, format!("the current context is {name}: {base}/\n"));
        assert_eq!(listed(&list, &[]).await, **order, "the current context is {name}");
    }
    assert_eq!(listed(&[&list[..], &["--context", "north"]].concat(), &[]).await, orders[0]);
    assert_eq!(listed(&list, &[("ORDERS_CONTEXT", "north")]).await, orders[0]);
    assert_eq!(listed(&list, &[("ORDERS_TOKEN", &keys[0])]).await, orders[0], "a variable precedes");

    let table = user.succeed(&["context", "list"]).await;
    let key_of_south = format!("file {}", key_file.display());
    let width = key_of_south.len();
    let north = format!("-        north  {base}/  {:width$}  -", format!("ord_{}", &keys[0][4..12]));
    let south = format!("*        south  {base}/  {key_of_south}  -");
    assert_eq!(table.lines().skip(1).map(str::trim_end).collect::<Vec<_>>(), [north, south]);
    let json = user.succeed(&["context", "list", "--json"]).await;
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&json[0]["keyId"], &json[1]["current"]), (&json!(keys[0][4..12]), &json!(true)));
    for shown in [table, json[0].to_string(), user.succeed(&["config"]).await] {
        assert!(!shown.contains(&keys[0]) && !shown.contains(&keys[1]), "{shown}");
    }

    let health = user.succeed(&["health", "--context", "north"]).await;
    assert!(health.contains("ok"), "{health}");

    // Another process of the user does not need the folder of the key's file.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let home = [("HOME", user.home.path().to_str().expect("UTF-8"))];
    let output = run(elsewhere.path(), &["queue", "status"], &home).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        user.succeed(&["context", "remove", "south"]).await,
        "the context south is removed; no context is current\n"
    );
    let without = user.run_with(&["queue", "status", "--url", &base], &[], "").await;
    let stderr = String::from_utf8_lossy(&without.stderr);
    assert!(stderr.contains("no credential") && stderr.contains("--context"), "{stderr}");
    gateway.terminate();
    gateway.wait_for_success().await;
}

/// A server that records its requests.
async fn recorder(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    server
}

#[tokio::test]
async fn a_key_is_sent_to_the_url_of_its_context_only() {
    let queue = json!({"paused": false, "workers": 1, "length": 0});
    let own = recorder(ResponseTemplate::new(200).set_body_json(&queue)).await;
    let other = recorder(ResponseTemplate::new(200).set_body_json(&queue)).await;
    let to_other = ResponseTemplate::new(307).insert_header("Location", format!("{}/queue", other.uri()));
    let redirecting = recorder(to_other).await;
    let user = User::new();
    user.store("own", &own.uri(), "hush-hush").await;
    user.store("moved", &redirecting.uri(), "hush-hush").await;
    user.succeed(&["context", "use", "own"]).await;
    let keys_of = async |server: &MockServer| {
        let requests = server.received_requests().await.expect("requests are recorded");
        let key = |request: &wiremock::Request| {
            request.headers.get("authorization").map(|key| key.to_str().expect("ASCII").to_owned())
        };
        requests.iter().map(key).collect::<Vec<_>>()
    };
    let status = ["queue", "status"];
    user.succeed(&status).await;
    assert_eq!(keys_of(&own).await, [Some("Bearer hush-hush".to_owned())]);

    user.succeed(&["queue", "status", "--url", &other.uri()]).await;
    succeeded(user.run_with(&status, &[("ORDERS_URL", &other.uri())], "").await);
    assert_eq!(keys_of(&other).await, [None, None], "another URL gets no key");

    let output = user.run_with(&["queue", "status", "--context", "moved"], &[], "").await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("redirects") && stderr.contains("context moved"), "{stderr}");
    assert_eq!(keys_of(&other).await.len(), 2, "a redirect is not followed");

    // A changed URL does not get the key, a repeated one keeps it.
    user.succeed(&["context", "set", "own", "--url", &own.uri()]).await;
    user.succeed(&status).await;
    user.succeed(&["context", "set", "own", "--url", &other.uri()]).await;
    user.succeed(&status).await;
    assert_eq!(keys_of(&own).await, vec![Some("Bearer hush-hush".to_owned()); 2]);
    assert_eq!(keys_of(&other).await, [None, None, None]);
}

#[tokio::test]
async fn contexts_that_cannot_be_used_are_errors() {
    let user = User::new();
    let url = "http://127.0.0.1:1";
    let unknown = async |arguments: &[&str]| {
        let output = user.run_with(arguments, &[], "").await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {stderr}");
        stderr
    };
    let stderr = unknown(&["queue", "status", "--context", "shop"]).await;
    assert!(stderr.contains("context shop does not exist") && stderr.contains("no contexts"), "{stderr}");
    user.store("north", url, "hush-hush").await;
    user.succeed(&["context", "set", "south", "--url", url]).await;
    for arguments in [
        &["queue", "status", "--context", "shop"][..],
        &["health", "--context", "shop"],
        &["context", "use", "shop"],
        &["context", "remove", "shop"],
    ] {
        let stderr = unknown(arguments).await;
        assert!(stderr.contains("use one of: north, south"), "{stderr}");
    }
    let both = ["queue", "status", "--context", "north"];
    for (arguments, variables) in [
        (&[&both[..], &["--url", url]].concat()[..], &[][..]),
        (&both, &[("ORDERS_URL", url)]),
        (&["queue", "status", "--url", url], &[("ORDERS_CONTEXT", "north")]),
        (&["queue", "status"], &[("ORDERS_CONTEXT", "north"), ("ORDERS_URL", url)]),
    ] {
        let stderr = user.refuse(arguments, variables).await;
        for part in ["--url (ORDERS_URL)", "--context (ORDERS_CONTEXT)", "are both set"] {
            assert!(stderr.contains(part), "{arguments:?} {variables:?}: {stderr}");
        }
    }
    for (arguments, part) in [
        (&["context", "set", "Shop", "--url", url][..], "lower-case"),
        (&["context", "set", "shop"], "--url is missing"),
        (&["context", "set", "shop", "--url", "https://ann:hush-hush@x"], "a password"),
        (&["context", "set", "shop", "--url", url, "--token-file", "no.key"], "--token-file"),
        (&["context", "set", "shop", "--url", url, "--ca", "no.crt"], "--ca"),
        (&["context", "set", "shop", "--url", url, "--token-stdin"], "--token-stdin: it is empty"),
    ] {
        let stderr = user.refuse(arguments, &[]).await;
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }

    // Without a home, only commands that need the file fail.
    for arguments in [&["context", "list"][..], &["queue", "status", "--context", "north"]] {
        let output = run(user.home.path(), arguments, &[]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("HOME is not set") && stderr.contains("ORDERS_CONFIG"), "{stderr}");
    }
    let output =
        run(user.home.path(), &["queue", "status", "--url", url, "--connect-timeout", "0"], &[]).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be reached"));

    user.succeed(&["context", "use", "north"]).await;
    std::fs::set_permissions(user.file(), std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let stderr = user.refuse(&["queue", "status"], &[]).await;
    assert!(stderr.contains("other users can read") && stderr.contains("chmod 600"), "{stderr}");
    let content = std::fs::read_to_string(user.file()).expect("it is ours");
    let unknown = content.replace("\"token\"", "\"tokens\"");
    let line = unknown.lines().position(|line| line.contains("tokens")).expect("a key is stored") + 1;
    std::fs::write(user.file(), unknown).expect("it is ours");
    for arguments in [&["queue", "status"][..], &["context", "list"], &["context", "use", "south"]] {
        let stderr = user.refuse(arguments, &[]).await;
        assert!(stderr.contains(&format!("line {line}: the field `tokens` is unknown")), "{stderr}");
        assert!(!stderr.contains("hush"), "{stderr}");
    }
    let output =
        user.run_with(&["queue", "status", "--url", url], &[("ORDERS_CONNECT_TIMEOUT", "0")], "").await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be reached"), "--url needs no file");
}

/// `orders config client` shows where the address and the key of a command are from.
#[tokio::test]
async fn the_settings_of_a_context_have_their_source() {
    let user = User::new();
    let shown = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["config", "client", "-o", "json"], arguments].concat();
        let shown = succeeded(user.run_with(&arguments, variables, "").await);
        assert!(!shown.contains("hush"), "{shown}");
        let settings: Vec<Value> = serde_json::from_str(&shown).expect("an array");
        move |variable: &str| {
            let setting = settings.iter().find(|setting| setting["variable"] == variable).expect("a setting");
            let word = |name: &str| setting[name].as_str().expect("a string").to_owned();
            (word("value"), word("from"))
        }
    };
    let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    let without = shown(&[], &[]).await;
    assert_eq!(without("ORDERS_URL"), pair("http://127.0.0.1:3000", "default"));
    assert_eq!(without("ORDERS_TOKEN"), pair("(none)", "default"));
    user.store("shop", "https://orders.example.com", "hush-hush").await;
    user.succeed(&["context", "set", "test", "--url", "https://test.example.com"]).await;
    user.succeed(&["context", "use", "shop"]).await;
    let current = shown(&[], &[]).await;
    assert_eq!(current("ORDERS_URL"), pair("https://orders.example.com/", "context shop"));
    assert_eq!(current("ORDERS_TOKEN"), pair("***", "context shop"));
    assert_eq!(current("ORDERS_CONTEXT"), pair("shop", "current context"));
    assert_eq!(current("ORDERS_CONNECT_TIMEOUT"), pair("10s", "default"));
    let named = shown(&["--context", "test"], &[("ORDERS_TOKEN", "hush")]).await;
    assert_eq!(named("ORDERS_URL"), pair("https://test.example.com/", "context test"));
    assert_eq!(named("ORDERS_CONTEXT"), pair("test", "flag"));
    assert_eq!(named("ORDERS_TOKEN"), pair("***", "environment"));
    let file = "connect-timeout = \"3s\"\nurl = \"http://gateway:3000\"\n";
    std::fs::write(user.home.path().join("orders.toml"), file).expect("the folder is ours");
    let of_file = shown(&["--config", "orders.toml"], &[]).await;
    assert_eq!(of_file("ORDERS_URL"), pair("http://gateway:3000/", "orders.toml"));
    assert_eq!(of_file("ORDERS_CONNECT_TIMEOUT"), pair("3s", "orders.toml"));
    assert_eq!(of_file("ORDERS_TOKEN"), pair("(none)", "default"), "the key is only for its URL");
}

#[tokio::test]
async fn concurrent_changes_keep_all_contexts() {
    let user = User::new();
    let names: Vec<String> = (0..12).map(|number| format!("shop-{number:02}")).collect();
    let stored = names.iter().map(|name| user.store(name, "https://orders.example", "hush-hush"));
    futures_util::future::join_all(stored).await;
    let listed = user.succeed(&["context", "list", "--json"]).await;
    let name = |line: &str| {
        let context: Value = serde_json::from_str(line).expect("JSON");
        context["name"].as_str().expect("a name").to_owned()
    };
    assert_eq!(listed.lines().map(name).collect::<Vec<_>>(), names);
    assert_eq!(mode(&user.file()), 0o600);
}
