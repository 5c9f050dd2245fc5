//! Secrets in files, which change while the program runs.

use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};
use url::Url;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Api, Process, Servers, base_url, command, eventually, free_ports, within};

const DEV: [&str; 5] = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

/// Starts `orders dev` with these variables.
async fn dev(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Process, Api) {
    let arguments = [&DEV[..], arguments].concat();
    let mut dev = Process::start(command(folder, &arguments, variables), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    (dev, api)
}

/// Replaces the file, and waits until its content is in use or refused.
async fn replace(process: &mut Process, file: &Path, content: &str, expected: &str) {
    std::fs::write(file, content).expect("it is ours");
    let (setting, seen) = (setting_of(file), process.count_logged(expected));
    process.signal("HUP");
    eventually(expected, || {
        let logged = process.count_logged(expected) > seen && process.stderr().contains(&setting);
        std::future::ready(logged.then_some(()))
    })
    .await;
}

/// Returns the setting of a file with its name.
fn setting_of(file: &Path) -> String {
    format!("--{}-file (", file.file_name().and_then(|name| name.to_str()).expect("a name"))
}

const IN_USE: &str = "the changed secret is in use";
const REFUSED: &str = "the previous one stays in use";

#[tokio::test]
async fn url_and_secrets_of_a_webhook_are_read_again() {
    let (first, second) = (MockServer::start().await, MockServer::start().await);
    for server in [&first, &second] {
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(204)).mount(server).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (url, secret) = (folder.path().join("webhook-url"), folder.path().join("webhook-secret"));
    std::fs::write(&url, format!("{}/?key=hush-0", first.uri())).expect("it is ours");
    let (old, new) = ("whsec_hushhushhushhushhushhushhushold1", "whsec_hushhushhushhushhushhushhushnew2");
    std::fs::write(&secret, format!("{old}\n")).expect("it is ours");
    let variables =
        [("ORDERS_WEBHOOK_URL_FILE", "webhook-url"), ("ORDERS_WEBHOOK_SECRET_FILE", "webhook-secret")];
    let (mut dev, api) = dev(folder.path(), &["--handler", "webhook"], &variables).await;
    // Returns the number of signatures, and whether the old and the new secret accept the request.
    let signatures = || async {
        let id = api.create_id().await;
        api.wait_for_status(&id, "completed").await;
        let mut requests = first.received_requests().await.expect("requests are recorded");
        requests.extend(second.received_requests().await.expect("requests are recorded"));
        let request = requests.iter().find(|request| String::from_utf8_lossy(&request.body).contains(&id));
        let request = request.expect("a request for the order");
        let signatures = request.headers["webhook-signature"].to_str().expect("ASCII");
        let accepts = |secret| {
            let verifier = standardwebhooks::Webhook::new(secret).expect("a secret");
            verifier.verify(&request.body, &request.headers).is_ok()
        };
        (signatures.split(' ').count(), accepts(old), accepts(new))
    };
    assert_eq!(signatures().await, (1, true, false));

    replace(&mut dev, &secret, &format!("{new}\n{old}\n"), IN_USE).await;
    assert_eq!(signatures().await, (2, true, true));
    replace(&mut dev, &secret, &format!("{new}\n\n{old}\n"), REFUSED).await;
    assert_eq!(signatures().await, (2, true, true));
    replace(&mut dev, &url, "hush-3", REFUSED).await;
    assert!(second.received_requests().await.expect("requests are recorded").is_empty());
    replace(&mut dev, &url, &second.uri(), IN_USE).await;
    replace(&mut dev, &secret, new, IN_USE).await;
    assert_eq!(signatures().await, (1, false, true));
    assert_eq!(second.received_requests().await.expect("requests are recorded").len(), 1);

    dev.terminate();
    dev.wait_for_success().await;
    assert!(!dev.stderr().contains("hush"), "{}", dev.stderr());
}

/// Runs `redis-cli` on the shared server, and returns its output.
async fn redis(servers: &Servers, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("redis-cli")
        .args(["-u", &servers.redis_url, "--no-auth-warning", "-e"])
        .args(arguments)
        .output();
    let output = within("redis-cli", output).await.expect("redis-cli is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Creates the user of Redis, or adds a password.
async fn grant(servers: &Servers, user: &str, password: &str) {
    let password = format!(">{password}");
    redis(servers, &["ACL", "SETUSER", user, "on", &password, "~*", "&*", "+@all"]).await;
}

fn with_user(server: &str, user: &str, password: &str) -> String {
    let mut url = Url::parse(server).expect("a URL");
    url.set_username(user).and_then(|()| url.set_password(Some(password))).expect("it has a host");
    url.into()
}

/// Starts a gateway and a processor with these variables, and returns a client of the gateway.
async fn gateway_and_processor(
    folder: &Path,
    variables: &[(&str, &str)],
    of_gateway: &[(&str, &str)],
) -> (Process, Process, Api) {
    let arguments =
        ["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-format", "json"];
    let mut gateway =
        Process::start(command(folder, &arguments, &[variables, of_gateway].concat()), "gateway");
    let (http, grpc) = gateway
        .wait_for_log("its addresses", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some((line["http"].as_str()?.to_owned(), line["grpc"].as_str()?.to_owned()))
        })
        .await;
    let grpc = format!("http://{grpc}");
    let variables = [variables, &[("ORDERS_GATEWAY_URL", grpc.as_str())]].concat();
    let arguments = [
        "processor",
        "--job-source",
        "queue",
        "--metrics-addr",
        "127.0.0.1:0",
        "--simulate-min-delay",
        "0ms",
    ];
    let processor = Process::start(command(folder, &arguments, &variables), "processor");
    (gateway, processor, Api::new(format!("http://{http}")))
}

/// Creates an order and follows it to its end, over the queue and the bus.
async fn order_is_completed(api: &Api) {
    let id = api.create_id().await;
    api.wait_for_status(&id, "completed").await;
    assert_eq!(api.watch(&id).await.len(), 3);
}

/// First the password of the user changes, then the user.
#[tokio::test]
async fn credentials_of_redis_are_read_again() {
    let servers = Servers::new().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("redis-url");
    let (first, second) = (format!("{}-a", servers.prefix), format!("{}-b", servers.prefix));
    let url = |user: &str, password: &str| with_user(&servers.redis_url, user, password);
    grant(&servers, &first, "hush-1").await;
    std::fs::write(&file, url(&first, "hush-1")).expect("it is ours");
    let variables =
        [("ORDERS_REDIS_URL_FILE", "redis-url"), ("ORDERS_REDIS_PREFIX", servers.prefix.as_str())];
    let of_gateway = [("DATABASE_URL", servers.database_url.as_str())];
    let (mut gateway, mut processor, api) =
        gateway_and_processor(folder.path(), &variables, &of_gateway).await;
    order_is_completed(&api).await;

    // The server does not know the password yet, so the previous one stays in use.
    for process in [&mut gateway, &mut processor] {
        replace(process, &file, &url(&first, "hush-2"), REFUSED).await;
    }
    order_is_completed(&api).await;
    grant(&servers, &first, "hush-2").await;
    for process in [&mut gateway, &mut processor] {
        replace(process, &file, &url(&first, "hush-2"), IN_USE).await;
    }
    redis(&servers, &["ACL", "SETUSER", &first, "<hush-1"]).await;
    redis(&servers, &["CLIENT", "KILL", "USER", &first]).await;
    order_is_completed(&api).await;

    // Every connection changes to the new user, also those that block or subscribe.
    grant(&servers, &second, "hush-3").await;
    for process in [&mut gateway, &mut processor] {
        replace(process, &file, &url(&second, "hush-3"), IN_USE).await;
    }
    let of_first = format!("user={first} ");
    eventually("no connection of the first user", || async {
        (!redis(&servers, &["CLIENT", "LIST"]).await.contains(&of_first)).then_some(())
    })
    .await;
    redis(&servers, &["ACL", "DELUSER", &first]).await;
    order_is_completed(&api).await;
    let clients = redis(&servers, &["CLIENT", "LIST"]).await;
    assert!(clients.contains(&format!("user={second} ")), "{clients}");

    for process in [&mut processor, &mut gateway] {
        process.terminate();
        process.wait_for_success().await;
        assert!(!process.stderr().contains("hush"), "{}", process.stderr());
    }
    redis(&servers, &["ACL", "DELUSER", &second]).await;
}

/// Executes a statement on the shared server, and returns the first number of its rows.
async fn mysql(servers: &Servers, statement: String) -> i64 {
    let mut connection = MySqlConnection::connect(&servers.database_url).await.expect("the server runs");
    let rows = sqlx::raw_sql(AssertSqlSafe(statement.clone())).fetch_all(&mut connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
    rows.first().map_or(0, |row| row.get(0))
}

/// First the password of the user changes, then the user, while orders are created.
#[tokio::test]
async fn credentials_of_the_database_are_read_again() {
    let servers = Servers::new().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("database-url");
    let (first, second) = (format!("{}_a", servers.prefix), format!("{}_b", servers.prefix));
    let url = |user: &str, password: &str| with_user(&servers.database_url, user, password);
    let create_user = async |user: &str, password: &str| {
        mysql(&servers, format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'")).await;
        mysql(&servers, format!("GRANT ALL ON `{}`.* TO '{user}'@'%'", servers.prefix)).await;
    };
    create_user(&first, "hush-1").await;
    std::fs::write(&file, url(&first, "hush-1")).expect("it is ours");
    let variables = [("REDIS_URL", servers.redis_url.as_str()), ("ORDERS_REDIS_PREFIX", &servers.prefix)];
    let of_gateway = [("ORDERS_DATABASE_URL_FILE", "database-url")];
    let (mut gateway, mut processor, api) =
        gateway_and_processor(folder.path(), &variables, &of_gateway).await;
    order_is_completed(&api).await;

    let other = Servers::new().await;
    for refused in [
        url(&first, "hush-2"),
        "sqlite:orders.db".to_owned(),
        with_user(&other.database_url, &first, "hush-1"),
        "hush-1".to_owned(),
    ] {
        replace(&mut gateway, &file, &refused, REFUSED).await;
        order_is_completed(&api).await;
    }
    // As a server with the database of another installation.
    let database = &servers.prefix;
    mysql(&servers, format!("UPDATE `{database}`.installation SET id = REVERSE(id)")).await;
    replace(&mut gateway, &file, &format!("{}?ssl-mode=DISABLED", url(&first, "hush-1")), REFUSED).await;
    assert_eq!(gateway.count_logged("leads to another database"), 3);
    mysql(&servers, format!("UPDATE `{database}`.installation SET id = REVERSE(id)")).await;

    mysql(&servers, format!("ALTER USER '{first}'@'%' IDENTIFIED BY 'hush-2'")).await;
    replace(&mut gateway, &file, &url(&first, "hush-2"), IN_USE).await;
    mysql(&servers, format!("KILL USER '{first}'")).await;
    // Writes and reads can each find a connection that was in use just before, and was killed as well.
    eventually("an order after the kill", || async {
        let order = api.try_create().await?;
        let waits = format!("/orders/{}?waitForSequence=3&timeout=20", order["id"].as_str()?);
        let (status, order) = api.get(&waits).await;
        (status == 200 && order["status"] == "completed").then_some(())
    })
    .await;

    // Orders are created during the change, so that connections are in use. The first host of the new list is away.
    create_user(&second, "hush-3").await;
    let list = url(&second, "hush-3").replacen('@', &format!("@127.0.0.1:{},", free_ports(1)[0]), 1);
    let creates = async {
        loop {
            api.create_id().await;
        }
    };
    let change = async {
        replace(&mut gateway, &file, &list, IN_USE).await;
        eventually("no connection of the first user", || async {
            let question = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ";
            (mysql(&servers, format!("{question}'{first}'")).await == 0).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = creates => {}
        () = change => {}
    }
    mysql(&servers, format!("DROP USER '{first}'@'%'")).await;
    order_is_completed(&api).await;

    for process in [&mut processor, &mut gateway] {
        process.terminate();
        process.wait_for_success().await;
        assert!(!process.stderr().contains("hush"), "{}", process.stderr());
    }
    mysql(&servers, format!("DROP USER '{second}'@'%'")).await;
}

/// Returns whether the gateway has dropped messages with a wrong signature.
async fn has_dropped_messages(api: &Api) -> bool {
    let (_, metrics) = api.get("/metrics").await;
    let metrics = metrics.as_str().expect("text").to_owned();
    let mut counts = metrics.lines().filter(|line| line.contains(r#"rejected_total{reason="forged"}"#));
    counts.any(|line| !line.ends_with(" 0"))
}

#[tokio::test]
async fn the_secret_between_gateways_is_replaced_without_a_lost_message() {
    let servers = Servers::new().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bus-secret");
    std::fs::write(&file, "hush-0123456789-1").expect("it is ours");
    let variables = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &servers.redis_url),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
        ("ORDERS_BUS_SECRET_FILE", "bus-secret"),
    ];
    let (mut first, one) = dev(folder.path(), &[], &variables).await;
    let (mut second, two) = dev(folder.path(), &[], &variables).await;
    for secrets in [
        "hush-0123456789-1\nhush-0123456789-2\n",
        "hush-0123456789-2\nhush-0123456789-1\n",
        "hush-0123456789-2\n",
    ] {
        for process in [&mut first, &mut second] {
            replace(process, &file, secrets, IN_USE).await;
            for (creates, watches) in [(&one, &two), (&two, &one)] {
                let id = creates.create_id().await;
                assert_eq!(watches.watch(&id).await.len(), 3);
            }
        }
    }
    assert!(!has_dropped_messages(&one).await && !has_dropped_messages(&two).await);
    replace(&mut first, &file, "hush-3", REFUSED).await;
    replace(&mut first, &file, "hush-0123456789-3", IN_USE).await;
    one.create_id().await;
    eventually("the second gateway to drop a message", || async {
        has_dropped_messages(&two).await.then_some(())
    })
    .await;
    for process in [&mut first, &mut second] {
        process.terminate();
        process.wait_for_success().await;
        assert!(!process.stderr().contains("hush"), "{}", process.stderr());
    }
}

#[tokio::test]
async fn a_secret_in_a_flag_is_a_warning() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (url, secret) = ("http://ann:hush@127.0.0.1:1/", "whsec_hushhushhushhushhushhushhushhush");
    let flags = ["--handler", "webhook", "--webhook-url", url, "--webhook-secret", secret];
    let variables =
        [("ORDERS_HANDLER", "webhook"), ("ORDERS_WEBHOOK_URL", url), ("ORDERS_WEBHOOK_SECRET", secret)];
    for (flags, variables, warnings) in [(&flags[..], &variables[..0], 2), (&[], &variables, 0)] {
        let (mut dev, _) = dev(folder.path(), flags, variables).await;
        dev.terminate();
        dev.wait_for_success().await;
        assert_eq!(dev.count_logged("can read the secret in this flag"), warnings, "{}", dev.stderr());
        let (log, printed) = (dev.stderr(), dev.stdout().await);
        assert!(!log.contains("hush") && !printed.contains("hush"), "{log}{printed}");
    }
}
