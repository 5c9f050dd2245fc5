//! Secrets in files, which change while the program runs.

use std::path::Path;

use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Api, Process, base_url, command};

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
    crate::harness::eventually(expected, || {
        let logged = process.count_logged(expected) > seen && process.stderr().contains(&setting);
        std::future::ready(logged.then_some(()))
    })
    .await;
}

/// Returns the setting of a file with its name.
fn setting_of(file: &Path) -> String {
    format!("--{}-file", file.file_name().and_then(|name| name.to_str()).expect("a name"))
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
    std::fs::write(&secret, "hush-1\n").expect("it is ours");
    let variables =
        [("ORDERS_WEBHOOK_URL_FILE", "webhook-url"), ("ORDERS_WEBHOOK_SECRET_FILE", "webhook-secret")];
    let (mut dev, api) = dev(folder.path(), &["--handler", "webhook"], &variables).await;
    let signatures = || async {
        let id = api.create_id().await;
        api.wait_for_status(&id, "completed").await;
        let mut requests = first.received_requests().await.expect("requests are recorded");
        requests.extend(second.received_requests().await.expect("requests are recorded"));
        let request = requests.iter().find(|request| String::from_utf8_lossy(&request.body).contains(&id));
        let request = request.expect("a request for the order").clone();
        let header = request.headers["orders-signature"].to_str().expect("ASCII").to_owned();
        let of = |secret: &str| {
            let time = header.strip_prefix("t=").and_then(|rest| rest.split(',').next()).expect("a time");
            processor::handlers::sign(secret, time.parse().expect("a number"), &request.body)
        };
        (header.clone(), of("hush-1"), of("hush-2"))
    };
    let (header, old, _) = signatures().await;
    assert_eq!(header, old);

    replace(&mut dev, &secret, "hush-2\nhush-1\n", IN_USE).await;
    let (header, old, new) = signatures().await;
    assert_eq!(header, format!("{new},{}", old.split_once(',').expect("a signature").1));
    replace(&mut dev, &secret, "hush-2\n\nhush-1\n", REFUSED).await;
    assert_eq!(signatures().await.0.matches("v1=").count(), 2);
    replace(&mut dev, &url, "hush-3", REFUSED).await;
    assert!(second.received_requests().await.expect("requests are recorded").is_empty());
    replace(&mut dev, &url, &second.uri(), IN_USE).await;
    replace(&mut dev, &secret, "hush-2", IN_USE).await;
    let (header, _, new) = signatures().await;
    assert_eq!(header, new);
    assert_eq!(second.received_requests().await.expect("requests are recorded").len(), 1);

    dev.terminate();
    dev.wait_for_success().await;
    assert!(!dev.stderr().contains("hush"), "{}", dev.stderr());
}
