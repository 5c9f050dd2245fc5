//! E-mail to a real SMTP server: its parts, outages of the server, refusals, and kills.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    Api, Process, base_url, command, eventually, grpc_addr, id, killed_with_test, metrics_url, redis_url, run,
};

/// An SMTP server in a separate process.
struct Smtp {
    folder: TempDir,
    port: u16,
    process: Process,
}

impl Smtp {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (process, port) = start_server(folder.path(), 0).await;
        Self { folder, port, process }
    }

    async fn kill(&mut self) {
        self.process.kill();
        self.process.wait().await;
    }

    async fn restart(&mut self) {
        (self.process, _) = start_server(self.folder.path(), self.port).await;
    }

    fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Creates a file that controls the answers.
    fn control(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).expect("the folder is ours");
    }

    fn release(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).expect("the file is ours");
    }

    /// Returns the mails, in the order of their arrival.
    fn mails(&self) -> Vec<String> {
        let files = (1..).map(|number| self.folder.path().join(format!("{number}.eml")));
        files.map_while(|file| std::fs::read_to_string(file).ok()).collect()
    }

    async fn wait_for_mails(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} mails"), || {
            let mails = self.mails();
            std::future::ready((mails.len() >= count).then_some(mails))
        })
        .await
    }
}

async fn start_server(folder: &Path, port: u16) -> (Process, u16) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/smtp");
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "aiosmtpd is missing: run scripts/test.sh, which installs it");
    let mut command = killed_with_test(python.to_str().expect("UTF-8"));
    command.arg(root.join("server.py")).arg(folder).arg(port.to_string()).stdin(Stdio::null());
    let mut process = Process::start(command, "the SMTP server");
    let port = process.wait_for_stdout("its port", |line| line.trim().parse().ok()).await;
    (process, port)
}

const DEV: [&str; 9] = [
    "dev",
    "--http-addr",
    "127.0.0.1:0",
    "--grpc-addr",
    "127.0.0.1:0",
    "--simulate-min-delay",
    "0ms",
    "--simulate-max-delay",
    "20ms",
];
const RECIPIENTS: [&str; 4] =
    ["--email-customer", "order.completed", "--email-staff", "Ops <ops@example.com>=order.cancelled"];

/// Starts `orders dev` with e-mail to this server.
async fn dev(folder: &Path, smtp: &Smtp, arguments: &[&str]) -> (Process, Api) {
    let arguments = [&DEV[..], &RECIPIENTS, arguments].concat();
    let url = smtp.url();
    let variables = [("ORDERS_SMTP_URL", url.as_str()), ("ORDERS_EMAIL_FROM", "Shop <shop@example.com>")];
    let mut dev = Process::start(command(folder, &arguments, &variables), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    wait_for_lease(&mut dev).await;
    (dev, api)
}

/// Starts `orders email` for this gateway.
fn role(folder: &Path, smtp: &Smtp, grpc: &str) -> Process {
    let (url, gateway) = (smtp.url(), format!("http://{grpc}"));
    let variables = [
        ("ORDERS_SMTP_URL", url.as_str()),
        ("ORDERS_EMAIL_FROM", "shop@example.com"),
        ("ORDERS_GATEWAY_URL", gateway.as_str()),
    ];
    let arguments = [&["email", "--metrics-addr", "127.0.0.1:0"][..], &RECIPIENTS].concat();
    Process::start(command(folder, &arguments, &variables), "orders email")
}

/// A new reader begins at the end of the log: only orders after this get mails.
async fn wait_for_lease(process: &mut Process) {
    process.wait_for_log("the lease", |line| line.contains("this process has the lease").then_some(())).await;
}

async fn create(api: &Api, customer: &str) -> String {
    let order = json!({"item": "<Tea>", "quantity": 2, "price": "1299.99", "customer": customer});
    let (status, order) = api.post("/orders", &order).await;
    assert_eq!(status, 201, "{order}");
    id(&order)
}

/// Returns the value of a header of a mail.
fn header<'m>(mail: &'m str, name: &str) -> Option<&'m str> {
    mail.lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Returns the order of each mail.
fn orders_of(mails: &[String]) -> Vec<String> {
    let order = |mail: &String| header(mail, "Message-ID").expect("an id")[1..37].to_owned();
    mails.iter().map(order).collect()
}

#[tokio::test]
async fn customers_and_staff_get_mails_with_text_and_html() {
    let (smtp, folder) = (Smtp::start().await, tempfile::tempdir().expect("a temporary folder"));
    let (mut dev, api) = dev(folder.path(), &smtp, &[]).await;
    let order = create(&api, "ann@example.com").await;
    let mails = smtp.wait_for_mails(1).await;
    let mail = &mails[0];
    assert_eq!(header(mail, "X-From"), Some("shop@example.com"));
    assert_eq!(header(mail, "X-To"), Some("ann@example.com"));
    assert_eq!(header(mail, "To"), Some("ann@example.com"));
    assert_eq!(header(mail, "From"), Some("Shop <shop@example.com>"));
    assert_eq!(header(mail, "Message-ID"), Some(format!("<{order}-3@example.com>").as_str()));
    assert_eq!(header(mail, "Auto-Submitted"), Some("auto-generated"));
    assert!(header(mail, "Date").is_some());
    assert_eq!(header(mail, "Subject"), Some("Your order is complete: 2599.98 USD"));
    for part in ["Content-Type: text/plain", "Content-Type: text/html", "2 x <Tea>", "&lt;Tea&gt;"] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    // Neither a name nor a header injection is an address; staff gets other types.
    for customer in ["Ann", "eve@example.com\r\nBcc: all@example.com", "a@b@c", "Ann <ann@example.com>"] {
        let order = json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer});
        let (status, order) = api.post("/orders", &order).await;
        if status == 201 {
            api.wait_for_status(&id(&order), "completed").await;
        }
    }
    api.post("/queue/pause", &json!({})).await;
    let order = create(&api, "ann@example.com").await;
    let (status, _) = api.post(&format!("/orders/{order}/cancel"), &json!({})).await;
    assert_eq!(status, 200);
    let mails = smtp.wait_for_mails(2).await;
    assert_eq!(mails.len(), 2);
    assert_eq!(header(&mails[1], "X-To"), Some("ops@example.com"));
    assert_eq!(header(&mails[1], "To"), Some("Ops <ops@example.com>"));
    assert_eq!(header(&mails[1], "Subject"), Some(format!("Order {order} is cancelled").as_str()));
    let url = format!("{}/metrics", metrics_url(&mut dev).await.trim_end_matches("/metrics"));
    let metrics = reqwest::get(url).await.expect("metrics").text().await.expect("text");
    for line in [
        r#"orders_email_sent_total{outcome="sent"} 2"#,
        r#"orders_subscriber_events_total{reader="email",outcome="applied"}"#,
        r#"orders_subscriber_lag_seconds{reader="email"}"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    dev.terminate();
    dev.wait_for_success().await;
}

/// The subscriber of `orders dev` has a key that only this process knows. The log has neither a password nor an address.
#[tokio::test]
async fn dev_sends_with_authentication() {
    let (smtp, folder) = (Smtp::start().await, tempfile::tempdir().expect("a temporary folder"));
    assert!(run(folder.path(), &["migrate"], &[]).await.status.success());
    let key = run(folder.path(), &["keys", "create", "--role", "admin", "--name", "test"], &[]).await;
    let key = String::from_utf8_lossy(&key.stdout).into_owned();
    let key = key.split_whitespace().find(|word| word.starts_with("ord_")).expect("a key").to_owned();
    let (mut dev, api) = dev(folder.path(), &smtp, &["--auth", "keys"]).await;
    let api = Api::with_key(api.base, None, &key);
    let order = create(&api, "ann@example.com").await;
    assert_eq!(orders_of(&smtp.wait_for_mails(1).await), [order]);
    create(&api, "rejected@example.com").await;
    dev.wait_for_log("the rejection", |line| line.contains("rejects an e-mail").then_some(())).await;
    assert!(!dev.stderr().contains("ann@"), "{}", dev.stderr());
    dev.terminate();
    dev.wait_for_success().await;
}

#[tokio::test]
async fn own_templates_replace_the_examples() {
    let (smtp, folder) = (Smtp::start().await, tempfile::tempdir().expect("a temporary folder"));
    let written = run(folder.path(), &["email", "templates", "mail"], &[]).await;
    assert!(written.status.success());
    let template = folder.path().join("mail/order.completed.subject.txt");
    std::fs::write(&template, "{{ order.customer }}\r\nBcc: eve@example.com").expect("it is ours");
    let (mut dev, api) = dev(folder.path(), &smtp, &["--email-templates", "mail"]).await;
    create(&api, "ann@example.com").await;
    let mails = smtp.wait_for_mails(1).await;
    assert_eq!(header(&mails[0], "Subject"), Some("ann@example.com Bcc: eve@example.com"));
    assert_eq!(header(&mails[0], "Bcc"), None);
    dev.terminate();
    dev.wait_for_success().await;
    // A defect is found at start.
    std::fs::write(&template, "{{ order.custmer }}").expect("it is ours");
    let arguments =
        [&DEV[..], &RECIPIENTS, &["--email-templates", "mail", "--smtp-url", "smtp://127.0.0.1:1"]].concat();
    let output = run(folder.path(), &arguments, &[("ORDERS_EMAIL_FROM", "shop@example.com")]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("order.completed.subject.txt") && stderr.contains("line 1"), "{stderr}");
}

#[tokio::test]
async fn a_server_that_is_down_loses_nothing() {
    let (mut smtp, folder) = (Smtp::start().await, tempfile::tempdir().expect("a temporary folder"));
    let (mut dev, api) = dev(folder.path(), &smtp, &[]).await;
    smtp.kill().await;
    let mut orders = Vec::new();
    for n in 0..5 {
        orders.push(create(&api, &format!("customer-{n}@example.com")).await);
    }
    dev.wait_for_log("the failure", |line| line.contains("cannot be sent now").then_some(())).await;
    // A restart while the server is down changes nothing.
    let mut email = {
        dev.terminate();
        dev.wait_for_success().await;
        let url = smtp.url();
        let variables = [("ORDERS_SMTP_URL", url.as_str()), ("ORDERS_EMAIL_FROM", "shop@example.com")];
        let arguments = [&DEV[..], &RECIPIENTS].concat();
        Process::start(command(folder.path(), &arguments, &variables), "orders dev again")
    };
    email.wait_for_log("the failure", |line| line.contains("cannot be sent now").then_some(())).await;
    smtp.restart().await;
    let mails = smtp.wait_for_mails(5).await;
    orders.sort();
    let mut sent = orders_of(&mails);
    sent.sort();
    assert_eq!(sent, orders);
    email.terminate();
    email.wait_for_success().await;
    assert_eq!(smtp.mails().len(), 5);
}

#[tokio::test]
async fn refusals_are_repeated_and_rejections_are_not() {
    let (smtp, folder) = (Smtp::start().await, tempfile::tempdir().expect("a temporary folder"));
    let (mut dev, api) = dev(folder.path(), &smtp, &[]).await;
    let refused = |process: &Process| process.count_logged("cannot be sent now");
    // Temporary refusals of the message and of a recipient.
    smtp.control("refuse-data", "451 4.3.0 later");
    create(&api, "ann@example.com").await;
    eventually("a refusal", || std::future::ready((refused(&dev) >= 2).then_some(()))).await;
    assert!(smtp.mails().is_empty());
    smtp.release("refuse-data");
    smtp.wait_for_mails(1).await;
    smtp.control("busy", "");
    let before = refused(&dev);
    create(&api, "busy@example.com").await;
    eventually("a refusal", || std::future::ready((refused(&dev) > before).then_some(()))).await;
    smtp.release("busy");
    smtp.wait_for_mails(2).await;
    // Permanent ones: the next mail follows.
    create(&api, "rejected@example.com").await;
    smtp.control("refuse-data", "554 5.7.1 spam");
    let spam = create(&api, "bob@example.com").await;
    let spam = dev
        .wait_for_log("the rejection", |line| line.contains(&spam).then(|| line.contains("rejects")))
        .await;
    assert!(spam);
    smtp.release("refuse-data");
    let last = create(&api, "eve@example.com").await;
    let mails = smtp.wait_for_mails(3).await;
    assert_eq!(orders_of(&mails)[2], last);
    assert_eq!(dev.count_logged("the server rejects an e-mail"), 2);
    // A connection that breaks after the message: it is not sent again.
    smtp.control("break-data", "");
    create(&api, "ann@example.com").await;
    dev.wait_for_log("the warning", |line| line.contains("it may be lost").then_some(())).await;
    smtp.release("break-data");
    create(&api, "bob@example.com").await;
    let mails = smtp.wait_for_mails(5).await;
    assert_eq!(mails.len(), 5);
    dev.terminate();
    dev.wait_for_success().await;
}

#[tokio::test]
async fn a_mail_that_is_refused_for_too_long_is_given_up() {
    let (smtp, folder) = (Smtp::start().await, tempfile::tempdir().expect("a temporary folder"));
    let (mut dev, api) = dev(folder.path(), &smtp, &["--email-refusal-timeout", "1s"]).await;
    smtp.control("busy", "");
    create(&api, "busy@example.com").await;
    dev.wait_for_log("the end", |line| line.contains("it is given up").then_some(())).await;
    let next = create(&api, "ann@example.com").await;
    assert_eq!(orders_of(&smtp.wait_for_mails(1).await), [next]);
    dev.terminate();
    dev.wait_for_success().await;
}

/// Deletes the keys of a test from the shared Redis.
async fn wipe_redis(prefix: &str) {
    let script =
        format!("for _, key in ipairs(redis.call('KEYS', '{prefix}*')) do redis.call('DEL', key) end");
    let output = tokio::process::Command::new("redis-cli")
        .args(["-u", &redis_url(), "--no-auth-warning", "-e", "EVAL", &script, "0"])
        .output()
        .await
        .expect("redis-cli is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The subscriber is killed in the middle of its work, the gateway once, and Redis loses its data. No mail comes twice. Each
/// kill can lose one: the one whose mark was stored.
#[tokio::test]
async fn kills_send_nothing_twice() {
    const ORDERS: usize = 60;
    const KILLS: usize = 4;
    let (smtp, folder) = (Smtp::start().await, tempfile::tempdir().expect("a temporary folder"));
    let redis = redis_url();
    let prefix = folder.path().file_name().expect("a name").to_string_lossy().replace('.', "email-");
    let variables = [("REDIS_URL", redis.as_str()), ("ORDERS_REDIS_PREFIX", prefix.as_str())];
    let arguments = [&DEV[..], &["--visibility-timeout", "2s"]].concat();
    let mut dev = Process::start(command(folder.path(), &arguments, &variables), "orders dev");
    let base = base_url(&mut dev).await;
    let (mut api, grpc) = (Api::new(base.clone()), grpc_addr(&mut dev).await);
    let mut email = role(folder.path(), &smtp, &grpc);
    wait_for_lease(&mut email).await;
    // Kills find a mail in transit.
    smtp.control("slow-data", "");
    let mut orders = Vec::new();
    for n in 0..ORDERS {
        orders.push(create(&api, &format!("customer-{n}@example.com")).await);
    }
    for kill in 1..=KILLS {
        smtp.wait_for_mails(smtp.mails().len() + 5).await;
        email.kill();
        email.wait().await;
        wipe_redis(&prefix).await;
        if kill == 2 {
            dev.kill();
            dev.wait().await;
            let http = base.trim_start_matches("http://");
            let arguments = ["dev", "--http-addr", http, "--grpc-addr", &grpc, "--visibility-timeout", "2s"];
            dev = Process::start(command(folder.path(), &arguments, &variables), "orders dev again");
            api = Api::new(base_url(&mut dev).await);
        }
        email = role(folder.path(), &smtp, &grpc);
    }
    smtp.release("slow-data");
    // The last order is sent after all others.
    for order in &orders {
        api.wait_for_status(order, "completed").await;
    }
    let last = create(&api, "last@example.com").await;
    let mails = eventually("the last mail", || {
        let mails = smtp.mails();
        std::future::ready(orders_of(&mails).contains(&last).then_some(mails))
    })
    .await;
    let mut counts: BTreeMap<String, usize> = orders.iter().map(|order| (order.clone(), 0)).collect();
    for order in orders_of(&mails) {
        *counts.entry(order).or_default() += 1;
    }
    let (lost, twice) = (
        counts.values().filter(|count| **count == 0).count(),
        counts.values().filter(|count| **count > 1).count(),
    );
    assert_eq!(twice, 0, "{counts:?}");
    assert!(lost <= KILLS, "{lost} mails are lost");
    email.terminate();
    email.wait_for_success_within(Duration::from_secs(20)).await;
    dev.terminate();
    dev.wait_for_success().await;
}
