//! The command line: its output, and its errors.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::harness::{Process, command, run};

/// The id of no webhook endpoint.
const ENDPOINT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).expect("output is UTF-8")
}

async fn run_orders(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(folder.path(), arguments, variables).await
}

/// Checks one line `error: …`, one line `hint: …`, and the exit code.
fn assert_error(output: &Output, code: i32, parts: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let hints = stderr.lines().filter(|line| line.starts_with("hint: ")).count();
    assert_eq!((errors.len(), hints), (1, 1), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is missing in: {stderr}");
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
}

#[tokio::test]
async fn invalid_value_is_reported_with_flag_and_variable() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--http-addr", "abc"], &["--http-addr (ORDERS_HTTP_ADDR)", "\"abc\"", "127.0.0.1:3000"]),
        (&["--http-addr", "127.0.0.1:99999"], &["--http-addr (ORDERS_HTTP_ADDR)", "0 to 65535"]),
        (&["dev", "--grpc-addr", "http://127.0.0.1:1"], &["--grpc-addr (ORDERS_GRPC_ADDR)"]),
        (&["--concurrency", "0"], &["--concurrency (ORDERS_CONCURRENCY)", "1 to 10000"]),
        (&["--concurrency", "many"], &["--concurrency (ORDERS_CONCURRENCY)", "whole number"]),
        (&["--lease", "1ms"], &["--lease (ORDERS_LEASE)", "1s to 1h"]),
        (&["--lease", "30000"], &["--lease (ORDERS_LEASE)", "the unit is missing", "such as 30s"]),
        (&["--retain-completed", "-1"], &["--retain-completed (ORDERS_RETAIN_COMPLETED)", "0 to 36500d"]),
        (
            &["--retain-failed", "90"],
            &["--retain-failed (ORDERS_RETAIN_FAILED)", "the unit is missing", "such as 7d"],
        ),
        (
            &["--retain-completed", "1d", "--idempotency-ttl", "86401s"],
            &[
                "--retain-completed (ORDERS_RETAIN_COMPLETED) is 1d",
                "ORDERS_IDEMPOTENCY_TTL",
                "at least 1d1s",
            ],
        ),
        (
            &["gateway", "--retain-failed", "29d", "--idempotency-ttl", "30d"],
            &["--retain-failed (ORDERS_RETAIN_FAILED) is 29d", "at most 29d"],
        ),
        (&["--max-queue-depth", "-1"], &["--max-queue-depth (ORDERS_MAX_QUEUE_DEPTH)", "not within"]),
        (&["--max-queue-depth", "99999999999999999999"], &["ORDERS_MAX_QUEUE_DEPTH", "not within"]),
        (&["--simulate-failure-rate", "2"], &["--simulate-failure-rate (ORDERS_SIMULATE_FAILURE_RATE)"]),
        (
            &["--simulate-min-delay", "9s", "--simulate-max-delay", "1500ms"],
            &["ORDERS_SIMULATE_MIN_DELAY) is 9s", "ORDERS_SIMULATE_MAX_DELAY) with 1s500ms"],
        ),
        (&["--handler", "magic"], &["--handler (ORDERS_HANDLER)", "simulate, webhook, none"]),
        (&["processor", "--handler", "none"], &["--handler (ORDERS_HANDLER) is none", "start no processor"]),
        (&["--handler", "webhook"], &["--webhook-url (ORDERS_WEBHOOK_URL)"]),
        (&["--default-currency", "dollars"], &["--default-currency (ORDERS_DEFAULT_CURRENCY)", "USD"]),
        (&["--log-format", "xml"], &["--log-format (ORDERS_LOG_FORMAT)", "text, json"]),
        (&["--redis-prefix", "a b"], &["--redis-prefix (ORDERS_REDIS_PREFIX)"]),
        (&["--worker-id", ""], &["--worker-id (ORDERS_WORKER_ID)"]),
        (&["--redis-url", "http://x"], &["--redis-url (REDIS_URL)", "redis://"]),
        (&["--database-url", "postgres://u:hush@h/d"], &["--database-url (DATABASE_URL)", "mysql://"]),
        (&["--database-url", "mysql://u:hush@h"], &["--database-url (DATABASE_URL)", "name of the database"]),
        (&["gateway"], &["--redis-url (REDIS_URL) is not set", "orders dev"]),
        (&["processor", "--job-source", "queue"], &["--redis-url (REDIS_URL) is not set", "orders dev"]),
        (&["processor", "--gateway-url", "http://a,b"], &["--gateway-url (ORDERS_GATEWAY_URL)"]),
        (&["processor", "--gateway-url", "ftp://a:1"], &["--gateway-url (ORDERS_GATEWAY_URL)", "http://"]),
        (&["processor", "--gateway-url", "http://u:hush@a:1"], &["--gateway-url (ORDERS_GATEWAY_URL)"]),
        (
            &["--shutdown-timeout", "1s", "--shutdown-timeout", "2s"],
            &["--shutdown-timeout (ORDERS_SHUTDOWN_TIMEOUT)", "more than once"],
        ),
        (&["--http-addr"], &["--http-addr (ORDERS_HTTP_ADDR) needs a value"]),
        (&["--max-connections", "0"], &["--max-connections (ORDERS_MAX_CONNECTIONS)", "1 to 1000000"]),
        (&["--max-body-size", "1B"], &["--max-body-size (ORDERS_MAX_BODY_SIZE)", "1KiB to 64MiB"]),
        (&["--max-response-size", "big"], &["ORDERS_MAX_RESPONSE_SIZE", "not a size", "such as 256KiB"]),
        (
            &["--cors-origins", "shop.example"],
            &["--cors-origins (ORDERS_CORS_ORIGINS)", "https://shop.example"],
        ),
        (&["--cors-origins", "https://a/b"], &["--cors-origins (ORDERS_CORS_ORIGINS)", "without a path"]),
        (
            &["--trusted-proxies", "10.0.0.0/99"],
            &["--trusted-proxies (ORDERS_TRUSTED_PROXIES)", "10.0.0.0/8"],
        ),
        (&["--graphql-introspection", "no"], &["ORDERS_GRAPHQL_INTROSPECTION", "on, off"]),
        (&["--graphql-max-depth", "99"], &["--graphql-max-depth (ORDERS_GRAPHQL_MAX_DEPTH)", "1 to 32"]),
        (
            &["--graphql-trusted-documents", "none.json"],
            &["ORDERS_GRAPHQL_TRUSTED_DOCUMENTS", "cannot be read"],
        ),
        (&["--htp-addr", "x"], &["--htp-addr", "did you mean --http-addr?"]),
        (&["processor", "--http-addr", "127.0.0.1:1"], &["--http-addr", "another command"]),
        (
            &["gateway", "--gateway-url", "http://x"],
            &["--gateway-url", "another command: `orders processor`"],
        ),
        (&["queue", "status", "--repair"], &["--repair", "another command: `orders doctor`"]),
        (&["gateway", "--migrate", "never"], &["--migrate (ORDERS_MIGRATE)", "auto, off, wait"]),
        (&["--database-pool-size", "0"], &["--database-pool-size (ORDERS_DATABASE_POOL_SIZE)", "1 to 1000"]),
        (
            &["--database-url", "mysql://u:hush@h/d?ssl=true"],
            &["DATABASE_URL", "option ssl", "ssl-mode=DISABLED"],
        ),
        (&["--database-url", "mysql://u:hush@h/d?useSSL=false"], &["option useSSL", "ssl-mode=DISABLED"]),
        (&["--database-url", "mysql://u:hush@h/d?tls=skip-verify"], &["option tls", "ssl-mode=DISABLED"]),
        (
            &["--database-url", "mysql://u:hush@h/d?sslaccept=strict"],
            &["option sslaccept", "ssl-mode=DISABLED"],
        ),
        (&["--database-url", "mysql://u:hush@h/d?sslmode=require"], &["unknown ssl-mode", "VERIFY_IDENTITY"]),
        (&["--database-url", "mysql://u:hush@h/d?ssl-mode=REQUIRED&sslMode=DISABLED"], &["ssl-mode twice"]),
        (&["--database-url", "sqlite:a.db?mode=ro"], &["DATABASE_URL", "options behind the file"]),
        (&["gatewai"], &["\"gatewai\"", "did you mean gateway?"]),
        (&["dev", "more"], &["more"]),
        (&["health", "--http-addr", "127.0.0.1:0"], &["--http-addr (ORDERS_HTTP_ADDR)", "/readyz"]),
        (&["health", "ftp://x"], &["[URL]", "http://"]),
        (&["queue", "pause", "--until", "tomorrow"], &["--until", "\"tomorrow\"", "2026-01-31T12:00:00Z"]),
        (&["queue", "pause", "--url", "x"], &["--url (ORDERS_URL)", "http://"]),
        (&["queue", "stop"], &["\"stop\""]),
        (&["queue"], &["pause", "resume", "status"]),
        (&["dead-letters", "redrive"], &["no dead letters are selected", "--all"]),
        (&["dead-letters", "redrive", "--all", "--customer", "x"], &["contradict"]),
        (&["dead-letters", "redrive", "7"], &["7", "UUID", "dead-letters list"]),
        (&["webhooks", "get", "7"], &["7", "UUID", "webhooks list"]),
        (&["webhooks", "create"], &["ENDPOINT_URL"]),
        (&["webhooks", "create", "https://x", "--rate", "10001"], &["--rate", "1 to 10000"]),
        (&["webhooks", "create", "https://x", "--currency", "usd"], &["--currency", "USD"]),
        (&["webhooks", "update", ENDPOINT], &["no change is given", "--help"]),
        (&["webhooks", "update", ENDPOINT, "--payload", "all"], &["--payload", "full or thin"]),
        (&["webhooks", "update", ENDPOINT, "--rate", "5", "--no-rate"], &["--rate", "--no-rate"]),
        (&["webhooks", "rotate-secret", ENDPOINT, "--overlap", "90m"], &["--overlap", "whole hours"]),
        (&["webhooks", "recover", ENDPOINT], &["--since"]),
        (&["webhooks", "recover", ENDPOINT, "--since", "soon"], &["--since", "2h", "2026-01-31"]),
        (&["webhooks", "recover", ENDPOINT, "--wait", "--until", "1h"], &["--since"]),
        (&["dead-letters", "redrive", "--all", "--rate", "fast"], &["--rate", "50/s"]),
        (&["dead-letters", "redrive", "--all", "--rate", "0/s"], &["--rate", "50/s"]),
        (&["keys", "create", "--name", "a", "--role", "boss"], &["--role", "\"boss\"", "reader, writer"]),
        (&["keys", "create", "--name", "a", "--scopes", "orders:reed"], &["--scopes", "orders:read"]),
        (&["keys", "create", "--name", "a", "--role", "admin", "--ttl", "500d"], &["--ttl", "1s to 400d"]),
        (&["keys", "create", "--name", "a", "--role", "admin", "--tenant", "A"], &["--tenant", "lower-case"]),
        (&["keys", "rotate", "abcdefgh", "--grace", "31d"], &["--grace", "0 to 30d"]),
        (&["dead-letters", "list", "--limit", "0"], &["--limit", "1 to 1000000"]),
    ];
    for (arguments, parts) in cases {
        let output = run_orders(arguments, &[]).await;
        assert_error(&output, 2, parts);
        assert_eq!(text(&output.stdout), "");
        assert!(!text(&output.stderr).contains("hush"), "a password is shown");
    }
}

#[tokio::test]
async fn settings_of_a_file_have_their_source() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("orders.toml");
    let content = "lease = \"45s\"\nconcurrency = 7\n[gateway]\nhttp-addr = \"127.0.0.1:1\"\n";
    std::fs::write(&file, content).expect("the folder is ours");
    let shown = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let output =
            run(folder.path(), &[&["config", "gateway", "-o", "json"], arguments].concat(), variables).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        let settings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("an array");
        let of = |name: &str| {
            let setting = settings.iter().find(|setting| setting["setting"] == name).expect(name);
            (setting["value"].as_str().unwrap().to_owned(), setting["from"].as_str().unwrap().to_owned())
        };
        (of("--http-addr"), of("--lease"))
    };
    let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    let by_flag = ["--config", "orders.toml"];
    let from_file = (pair("127.0.0.1:1", "orders.toml"), pair("45s", "orders.toml"));
    assert_eq!(shown(&by_flag, &[]).await, from_file);
    assert_eq!(shown(&[], &[("ORDERS_CONFIG_FILE", "orders.toml")]).await, from_file);
    let (address, lease) =
        shown(&["--http-addr", "127.0.0.1:2", "--config=orders.toml"], &[("ORDERS_LEASE", "46s")]).await;
    assert_eq!((address, lease), (pair("127.0.0.1:2", "flag"), pair("46s", "environment")));
    std::fs::write(&file, "http-addr = \"abc\"\n").expect("the folder is ours");
    let output = run(folder.path(), &["--config", "orders.toml"], &[]).await;
    assert_error(&output, 2, &["orders.toml: --http-addr (ORDERS_HTTP_ADDR) is \"abc\""]);
    let output = run(folder.path(), &["--config", "none.toml", "schema"], &[]).await;
    assert_error(&output, 2, &["--config (ORDERS_CONFIG_FILE)", "none.toml", "cannot be read"]);
}

#[tokio::test]
async fn short_bus_secret_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = async |file: &str| {
        let free = [
            "gateway",
            "--http-addr",
            "127.0.0.1:0",
            "--grpc-addr",
            "127.0.0.1:0",
            "--bus-secret-file",
            file,
        ];
        run(folder.path(), &free, &[("REDIS_URL", "redis://127.0.0.1:1")]).await
    };
    let setting = "--bus-secret-file (ORDERS_BUS_SECRET_FILE)";
    assert_error(&with("missing").await, 2, &[setting, "missing", "cannot be read"]);
    // The line break at the end does not count.
    for (content, bytes) in [
        ("", "0 bytes"),
        ("fifteen letters\n", "15 bytes"),
        ("\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", "0 bytes"),
    ] {
        std::fs::write(folder.path().join("secret"), content).expect("it is ours");
        assert_error(&with("secret").await, 2, &[setting, bytes, "at least 16"]);
    }
}

#[tokio::test]
async fn time_past_the_year_9999_is_refused() {
    const TIME: &str = "9999-12-31T23:59:59-00:01";
    for arguments in [
        &["queue", "pause", "--until", TIME][..],
        &["dead-letters", "list", "--created-from", TIME],
        &["dead-letters", "redrive", "--created-before", TIME],
    ] {
        let output = run_orders(arguments, &[]).await;
        assert_error(&output, 2, &[arguments[2], TIME, "to 9999-12-31T23:59:59.999999Z"]);
    }
}

#[tokio::test]
async fn invalid_trusted_document_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (documents, parts) in [
        ("nonsense", vec!["not a JSON object"]),
        (r#"{"good": "{ __typename }", "bad": "{ nonsense }"}"#, vec!["\"bad\"", "Cannot query field"]),
    ] {
        std::fs::write(folder.path().join("documents.json"), documents).expect("the folder is writable");
        let output = run(folder.path(), &["--graphql-trusted-documents", "documents.json"], &[]).await;
        let flag = "--graphql-trusted-documents (ORDERS_GRAPHQL_TRUSTED_DOCUMENTS)";
        assert_error(&output, 2, &[&[flag], parts.as_slice()].concat());
    }
}

/// The table itself is tested in `cli/renamed.rs`; this test runs the program.
#[tokio::test]
async fn old_setting_is_refused_with_its_new_name() {
    let flag = "--drain-ms (ORDERS_DRAIN_MS) was renamed to --shutdown-timeout (ORDERS_SHUTDOWN_TIMEOUT)";
    for arguments in [
        &["--drain-ms", "10000"][..],
        &["dev", "--drain-ms=10000"],
        &["gateway", "--drain-ms", "10000"],
        &["processor", "--drain-ms", "10000"],
        &["config", "gateway", "--drain-ms", "10000"],
        &["--drain-ms", "10000", "gateway"],
    ] {
        let output = run_orders(arguments, &[]).await;
        assert_error(&output, 2, &[flag, "write --shutdown-timeout 10s"]);
    }
    for arguments in [&[][..], &["gateway"], &["processor"], &["config"]] {
        let output = run_orders(arguments, &[("ORDERS_DRAIN_MS", "10000")]).await;
        assert_error(&output, 2, &[flag, "write ORDERS_SHUTDOWN_TIMEOUT=10s"]);
    }
    let queue = ["processor", "--job-source", "queue"];
    let output = run_orders(&queue, &[("ORDERS_INFLIGHT_BODY_BYTES", "1048576")]).await;
    assert_error(&output, 2, &["--redis-url (REDIS_URL) is not set"]);
    let output = run_orders(&["config"], &[("ORDERS_DRAIN_MS", "")]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&run_orders(&["gateway", "--help"], &[]).await.stdout).contains("drain-ms"));
}

#[tokio::test]
async fn variables_are_checked_like_flags() {
    for (name, value, part) in [
        ("ORDERS_HTTP_ADDR", "abc", "--http-addr (ORDERS_HTTP_ADDR)"),
        ("DATABASE_URL", "hush", "--database-url (DATABASE_URL)"),
        ("REDIS_URL", "hush", "--redis-url (REDIS_URL)"),
        ("ORDERS_CONCURRENCY", "1.5", "--concurrency (ORDERS_CONCURRENCY)"),
        ("RUST_LOG", "a=b=c", "RUST_LOG"),
    ] {
        let output = run_orders(&[], &[(name, value)]).await;
        assert_error(&output, 2, &[part]);
        assert!(!text(&output.stderr).contains("hush"), "a value that can be a password is shown");
    }
}

#[tokio::test]
async fn config_prints_values_and_sources_without_secrets() {
    let variables = [
        ("DATABASE_URL", "mysql://ann:hush@db:3306/shop"),
        ("REDIS_URL", ""),
        ("ORDERS_RETAIN_COMPLETED", "90d"),
        ("ORDERS_WEBHOOK_SECRET", "whsec_hushhushhushhushhushhushhushhush"),
        ("ORDERS_WEBHOOK_URL", "https://hook.example/orders?token=hush"),
    ];
    let output = run_orders(&["config", "--http-addr", "127.0.0.1:8080"], &variables).await;
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("{start} is missing in:\n{shown}"))
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(line("--http-addr"), ["--http-addr", "ORDERS_HTTP_ADDR", "127.0.0.1:8080", "flag"]);
    assert_eq!(
        line("--database-url"),
        ["--database-url", "DATABASE_URL", "mysql://ann:***@db:3306/shop", "environment"]
    );
    assert_eq!(line("--redis-url"), ["--redis-url", "REDIS_URL", "(in", "memory)", "default"]);
    assert_eq!(line("--lease"), ["--lease", "ORDERS_LEASE", "30s", "default"]);
    assert_eq!(line("--max-body-size"), ["--max-body-size", "ORDERS_MAX_BODY_SIZE", "256KiB", "default"]);
    assert_eq!(
        line("--retain-completed"),
        ["--retain-completed", "ORDERS_RETAIN_COMPLETED", "90d", "environment"]
    );
    assert_eq!(line("--retain-failed"), ["--retain-failed", "ORDERS_RETAIN_FAILED", "0", "default"]);
    assert!(!shown.contains("hush"), "{shown}");

    let output = run_orders(&["config", "processor"], &[("REDIS_URL", "redis://:hush@cache")]).await;
    let shown = text(&output.stdout);
    assert!(shown.contains("redis://:***@cache") && shown.contains("--gateway-url"), "{shown}");
    assert!(!shown.contains("--http-addr"), "a processor has none: {shown}");
}

#[tokio::test]
async fn help_and_version_go_to_stdout() {
    let output = run_orders(&["--help"], &[]).await;
    let shown = text(&output.stdout);
    for word in
        ["dev", "gateway", "processor", "migrate", "schema", "openapi", "health", "config", "Examples:"]
    {
        assert!(shown.contains(word), "{word} is missing in:\n{shown}");
    }
    let output = run_orders(&["gateway", "--help"], &[("DATABASE_URL", "mysql://u:hush@h/d")]).await;
    let shown = text(&output.stdout);
    assert!(shown.contains("--database-url") && shown.contains("DATABASE_URL"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
    let output = run_orders(&["--version"], &[]).await;
    assert_eq!(text(&output.stdout), format!("orders {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn schema_and_openapi_are_printed() {
    let schema = text(&run_orders(&["schema"], &[]).await.stdout);
    assert!(schema.contains("type Subscription"), "{schema}");
    let document = text(&run_orders(&["openapi"], &[]).await.stdout);
    let document: serde_json::Value = serde_json::from_str(&document).expect("OpenAPI is JSON");
    assert!(document["paths"]["/orders"]["post"].is_object());
}

/// As in `orders schema | head -0`.
#[tokio::test]
async fn closed_stdout_is_no_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut schema = command(folder.path(), &["schema"], &[]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    schema.stdout(writer);
    let output = schema.stderr(std::process::Stdio::piped()).spawn().expect("the binary can be run");
    let output = output.wait_with_output().await.expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

/// As in `orders 2>&1 | head -1`: stderr is closed, and the program continues.
#[tokio::test]
async fn closed_stderr_does_not_stop_the_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let free = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut dev = Process::start_with_stderr(command(folder.path(), &free, &[]), writer, "orders dev");
    dev.wait_for_stdout("its banner", |line| line.contains("is ready").then_some(())).await;
    dev.terminate();
    dev.wait_for_success().await;
}

#[tokio::test]
async fn used_port_is_reported() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = busy.local_addr().expect("an address").to_string();
    for (flag, variable) in [("--http-addr", "ORDERS_HTTP_ADDR"), ("--grpc-addr", "ORDERS_GRPC_ADDR")] {
        let mut arguments = vec!["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
        let at = arguments.iter().position(|word| *word == flag).expect("both are listed");
        arguments[at + 1] = &addr;
        assert_error(&run_orders(&arguments, &[]).await, 1, &[&addr, "in use", flag, variable]);
    }
}

#[tokio::test]
async fn unusable_data_folder_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("file"), "not a folder").expect("it is ours");
    let free = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let arguments = [&free[..], &["--data-dir", "file"]].concat();
    let output = run(folder.path(), &arguments, &[]).await;
    assert_error(&output, 1, &["file", "--data-dir (ORDERS_DATA_DIR)"]);

    std::fs::create_dir(folder.path().join("full")).expect("it is ours");
    std::fs::write(folder.path().join("full/orders.db"), "this is not a database".repeat(100))
        .expect("it is ours");
    let output = run(folder.path(), &["migrate", "--data-dir", "full"], &[]).await;
    assert_error(&output, 1, &["orders.db", "--data-dir (ORDERS_DATA_DIR)"]);
}

#[tokio::test]
async fn second_process_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let free = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut first = Process::start(command(folder.path(), &free, &[]), "the first");
    first.wait_for_stdout("its banner", |line| line.contains("is ready").then_some(())).await;
    assert_error(&run(folder.path(), &free, &[]).await, 4, &["in use", "ORDERS_DATA_DIR"]);
    assert_error(&run(folder.path(), &["migrate"], &[]).await, 4, &["in use", "ORDERS_DATA_DIR"]);
    first.terminate();
    first.wait_for_success().await;
    assert!(run(folder.path(), &["migrate"], &[]).await.status.success());
}

#[tokio::test]
async fn health_checks_the_running_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let free = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut dev = Process::start(command(folder.path(), &free, &[]), "orders dev");
    let base = crate::harness::base_url(&mut dev).await;
    let addr = base.trim_start_matches("http://").to_owned();
    let output = run(folder.path(), &["health", "--http-addr", &addr], &[]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = run(folder.path(), &["health"], &[("ORDERS_HTTP_ADDR", &addr)]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = run(folder.path(), &["health", &format!("{base}/livez")], &[]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = run(folder.path(), &["health", &base], &[]).await;
    assert_eq!(text(&output.stdout).trim(), r#"{"status":"ok"}"#, "and not the start page");
    dev.terminate();
    dev.wait_for_success().await;
    let output = run(folder.path(), &["health", &format!("http://ann:hush@{addr}/readyz")], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains("hush"), "{}", text(&output.stderr));
    let output = run(folder.path(), &["health", "--http-addr", &addr], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is not ready"), "{}", text(&output.stderr));
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Runs `orders migrate` with an umask that removes no permission.
async fn migrate_with_open_umask(folder: &std::path::Path, arguments: &str) {
    let script = format!("umask 000; exec {} migrate {arguments}", env!("CARGO_BIN_EXE_orders"));
    let mut command = tokio::process::Command::new("sh");
    let output = command.args(["-c", &script]).current_dir(folder).output().await.expect("sh runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test]
async fn database_is_private() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |path: &str| folder.path().join(path);
    let open = |path: &str, mode| {
        std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    migrate_with_open_umask(folder.path(), "").await;
    assert_eq!(
        (mode(&at("data")), mode(&at("data/orders.db")), mode(&at("data/orders.db.lock"))),
        (0o700, 0o600, 0o600)
    );

    // The permissions of an earlier version.
    open("data", 0o755);
    open("data/orders.db", 0o644);
    migrate_with_open_umask(folder.path(), "").await;
    assert_eq!((mode(&at("data")), mode(&at("data/orders.db"))), (0o700, 0o600));

    // A folder with other files keeps its permissions: it can be shared on purpose.
    std::fs::write(at("data/report.txt"), "").expect("it is ours");
    open("data", 0o755);
    migrate_with_open_umask(folder.path(), "").await;
    assert_eq!((mode(&at("data")), mode(&at("data/orders.db"))), (0o755, 0o600));

    // A folder from a setting keeps them too, unless the program creates it.
    std::fs::create_dir(at("named")).expect("it is ours");
    open("named", 0o755);
    migrate_with_open_umask(folder.path(), "--data-dir named").await;
    assert_eq!((mode(&at("named")), mode(&at("named/orders.db"))), (0o755, 0o600));
    migrate_with_open_umask(folder.path(), "--database-url sqlite:deep/er/shop.db").await;
    assert_eq!((mode(&at("deep/er")), mode(&at("deep/er/shop.db"))), (0o700, 0o600));
}

/// Secrets that containers mount as files. Neither the settings nor errors show their content.
#[tokio::test]
async fn secrets_are_read_from_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("it is ours");
        path.display().to_string()
    };
    let database = file("database", &format!("sqlite:{}\n", folder.path().join("shop.db").display()));
    let output = run_orders(&["migrate"], &[("ORDERS_DATABASE_URL_FILE", &database)]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(folder.path().join("shop.db").exists());

    let database = file("mysql", "mysql://ann:hush@db:3306/shop\n");
    let redis = file("redis", "redis://:hush@cache:6379\n");
    let (url, secret) = (
        file("url", "https://hook.example/?token=hush\n"),
        file("secret", "whsec_hushhushhushhushhushhushhushhush\n"),
    );
    let variables = [
        ("ORDERS_DATABASE_URL_FILE", database.as_str()),
        ("ORDERS_REDIS_URL_FILE", &redis),
        ("ORDERS_WEBHOOK_URL_FILE", &url),
        ("ORDERS_WEBHOOK_SECRET_FILE", &secret),
    ];
    let output = run_orders(&["config"], &variables).await;
    let shown = text(&output.stdout);
    assert!(output.status.success() && !shown.contains("hush"), "{shown}{}", text(&output.stderr));
    for part in [&database, "(in --database-url-file)", &redis, "(in --redis-url-file)"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for (variable, file_variable) in [
        ("DATABASE_URL", "ORDERS_DATABASE_URL_FILE"),
        ("REDIS_URL", "ORDERS_REDIS_URL_FILE"),
        ("ORDERS_WEBHOOK_URL", "ORDERS_WEBHOOK_URL_FILE"),
        ("ORDERS_WEBHOOK_SECRET", "ORDERS_WEBHOOK_SECRET_FILE"),
    ] {
        let (_, path) = variables.iter().find(|(name, _)| *name == file_variable).expect("it is above");
        let value = std::fs::read_to_string(path).expect("it is ours");
        let both = [(variable, value.trim_end()), (file_variable, path)];
        let output = run_orders(&["dev"], &both).await;
        assert_error(&output, 2, &[variable, file_variable, "are both set", "remove one of them"]);
        assert!(!text(&output.stderr).contains("hush"), "{}", text(&output.stderr));
        let unusable = file("unusable", "hush hush\n");
        for path in [&unusable, "missing"] {
            let output = run_orders(&["dev"], &[(file_variable, path)]).await;
            assert_error(&output, 2, &[file_variable, path]);
            assert!(!text(&output.stderr).contains("hush"), "{}", text(&output.stderr));
        }
    }
}
