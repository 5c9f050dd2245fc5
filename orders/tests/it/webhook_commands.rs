//! `orders webhooks` against a running system.

use std::time::Duration;

use serde_json::Value;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Api, Process, base_url, command, run};

const SETTINGS: [&str; 10] = [
    "--http-addr",
    "127.0.0.1:0",
    "--grpc-addr",
    "127.0.0.1:0",
    "--simulate-min-delay",
    "0",
    "--simulate-max-delay",
    "0",
    "--webhook-allow-networks",
    "127.0.0.0/8",
];

/// A running system, and a folder in which commands run.
struct System {
    folder: tempfile::TempDir,
    process: Process,
    api: Api,
}

impl System {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = Process::start(command(folder.path(), &SETTINGS, &[]), "orders dev");
        let api = Api::new(base_url(&mut process).await);
        Self { folder, process, api }
    }

    /// Runs `orders webhooks`, and returns the exit code, stdout and stderr.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let arguments = [&["webhooks"], arguments].concat();
        let output = run(self.folder.path(), &arguments, &[("ORDERS_URL", &self.api.base)]).await;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
        let code = output.status.code().expect("it has exited");
        (code, text(&output.stdout), text(&output.stderr))
    }

    async fn succeed(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    async fn fail(&self, arguments: &[&str], parts: &[&str]) {
        let (code, _, stderr) = self.run(arguments).await;
        assert!((1..=4).contains(&code), "{arguments:?}: {code} {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("hint: "), "{arguments:?}: {stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{arguments:?}: {stderr}");
    }

    /// Creates an endpoint, and returns its id.
    async fn create(&self, url: &str, arguments: &[&str]) -> String {
        let created = self.succeed(&[&["create", url, "--json"], arguments].concat()).await;
        json(&created)["endpoint"]["id"].as_str().expect("it has an id").to_owned()
    }

    async fn stop(mut self) {
        self.process.terminate();
        self.process.wait_for_success().await;
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one value of JSON")
}

async fn receiver(status: u16, delay: Duration) -> MockServer {
    let server = MockServer::start().await;
    let response = ResponseTemplate::new(status).set_body_string("a body").set_delay(delay);
    Mock::given(any()).respond_with(response).mount(&server).await;
    server
}

#[tokio::test]
async fn endpoints_are_managed() {
    let system = System::start().await;
    let accepting = receiver(204, Duration::ZERO).await;
    let rejecting = receiver(422, Duration::ZERO).await;
    // The secret is the only output.
    let (_, secret, explained) = system.run(&["create", &accepting.uri(), "--type", "order.failed"]).await;
    assert!(secret.starts_with("whsec_") && secret.trim_end().len() == 50, "{secret}");
    assert!(explained.contains("receives order.failed") && !explained.contains("whsec_"), "{explained}");
    let list = system.succeed(&["list", "--json"]).await;
    let id = json(&list)["id"].as_str().expect("it has an id").to_owned();
    assert!(!list.contains(&secret.trim_end()[6..]));
    let table = system.succeed(&["list"]).await;
    assert!(table.starts_with("ID ") && table.contains(&id) && table.contains(&accepting.uri()), "{table}");

    let flags = ["--thin", "--cloudevents", "--customer", "ann", "--currency", "EUR", "--rate", "5"];
    let flags = [&flags[..], &["--concurrency", "2", "--description", "the shop"]].concat();
    let other = system.create(&rejecting.uri(), &flags).await;
    let shown = system.succeed(&["get", &other]).await;
    for line in [
        "thin, cloudevents",
        "customer       ann",
        "currency       EUR",
        "2 at once, 5 per second",
        "the shop",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let update = ["update", &other, "--any-customer", "--any-currency", "--no-rate", "--payload", "full"];
    let update =
        [&update[..], &["--format", "standard", "--type", "order.*", "--type", "webhook.*"]].concat();
    let shown = system.succeed(&update).await;
    assert!(shown.contains("full, standard") && shown.contains("order.*,webhook.*"), "{shown}");
    assert!(
        !shown.contains("customer") && !shown.contains("currency") && !shown.contains("per second"),
        "{shown}"
    );
    let rotated = system.succeed(&["rotate-secret", &other, "--overlap", "2h"]).await;
    assert!(rotated.starts_with("whsec_"), "{rotated}");

    let sent = system.succeed(&["test", &id]).await;
    assert!(sent.starts_with("the endpoint answered 204 after "), "{sent}");
    system.fail(&["test", &other], &["answered 422", ": a body", "200 to 299"]).await;
    let order = system.api.create_id().await;
    let sent = system.succeed(&["resend", &id, &format!("{order}-1"), "--json"]).await;
    assert_eq!(json(&sent)["messageId"], format!("{order}-1"));
    system.fail(&["resend", &id, "x"], &["there is no event x", "event_not_found"]).await;
    let failed = system.succeed(&["attempts", &other, "--failed", "--limit", "100"]).await;
    assert!(failed.contains("webhook.ping") && failed.contains("422"), "{failed}");
    assert_eq!(system.succeed(&["attempts", &id, "--failed"]).await.lines().count(), 1);
    assert_eq!(system.succeed(&["messages", &id]).await, "no message waits or has failed\n");
    let ids = system.succeed(&["list", "-o", "id"]).await;
    assert!(ids.lines().count() == 2 && ids.contains(&id), "{ids}");

    assert!(system.succeed(&["disable", &other]).await.contains("disabled (request)"));
    assert!(system.succeed(&["enable", &other]).await.contains("state          active"));
    let changed = system.succeed(&["update", &other, "--endpoint-url", &accepting.uri()]).await;
    assert!(changed.contains(&accepting.uri()), "{changed}");
    system.fail(&["create", "https://10.0.0.1"], &["not public", "webhook_url_refused"]).await;
    assert_eq!(system.succeed(&["delete", &other]).await, format!("the endpoint {other} is removed\n"));
    system.fail(&["get", &other], &["there is no webhook endpoint", "webhook_not_found"]).await;
    system.stop().await;
}

#[tokio::test]
async fn recovery_is_followed_by_an_interrupted_and_repeated_command() {
    const EVENTS: usize = 20;
    let system = System::start().await;
    for _ in 0..EVENTS {
        let order = system.api.create_id().await;
        system.api.wait_for_status(&order, "completed").await;
    }
    let slow = receiver(200, Duration::from_millis(100)).await;
    let id = system.create(&slow.uri(), &["--type", "order.completed", "--concurrency", "1"]).await;
    let counted = system.succeed(&["recover", &id, "--since", "1h", "--dry-run"]).await;
    assert!(counted.starts_with(&format!("{EVENTS} events would be delivered again\n")), "{counted}");
    system.fail(&["recover", &id, "--wait"], &["no recovery of the endpoint is running", "--since"]).await;

    let arguments = ["webhooks", "recover", &id, "--since", "1h", "--wait"];
    let environment = [("ORDERS_URL", system.api.base.as_str())];
    let mut first = Process::start(command(system.folder.path(), &arguments, &environment), "recover");
    let passed = |text: &str| text.contains("events of the log passed").then_some(());
    first.wait_for_stdout("the progress", passed).await;
    first.kill();
    first.wait().await;
    let ended = system.succeed(&["recover", &id, "--wait"]).await;
    assert!(ended.ends_with("the recovery has ended\n"), "{ended}");
    let received = slow.received_requests().await.unwrap_or_default();
    let ids: std::collections::HashSet<_> =
        received.iter().map(|request| request.headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), EVENTS);

    // Nothing is delivered to a disabled endpoint, so a wait would have no end.
    system.succeed(&["disable", &id]).await;
    system.fail(&["recover", &id, "--since", "1h", "--wait"], &["disabled", "webhooks enable"]).await;
    assert!(system.succeed(&["get", &id]).await.contains("recovery       0 of "));
    assert!(!system.succeed(&["stop-recovery", &id]).await.contains("recovery"));
    let none = system.succeed(&["recover", &id, "--since", "0s"]).await;
    assert_eq!(none, "0 events are in the range: nothing is delivered\n");
    system.stop().await;
}
