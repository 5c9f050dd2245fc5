//! The webhook handler with a real HTTP server.

use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use domain::{LeaseToken, Status};
use processor::handlers::{MAX_SECRETS, Secret, Webhook};
use processor::{Attempt, CancellationToken, OrderHandler, Outcome};
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::fake_gateway::order;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns whether the library of the standard accepts the request with this secret.
fn is_signed(request: &Request, secret: &Secret) -> bool {
    let verifier = standardwebhooks::Webhook::new(&secret.expose()).unwrap();
    verifier.verify(&request.body, &request.headers).is_ok()
}

fn attempt() -> Attempt {
    let order = domain::Order { attempt: 3, status: Status::Processing, ..order() };
    Attempt::new(order, LeaseToken::random())
}

/// Returns the outcome of one response, with its body in the reason.
async fn outcome(answer: ResponseTemplate) -> Outcome {
    outcome_showing(true, answer).await
}

async fn outcome_showing(responses: bool, answer: ResponseTemplate) -> Outcome {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).expect(1).mount(&server).await;
    let webhook = Webhook::new(&server.uri(), None, TIMEOUT).unwrap().show_responses_in_reasons(responses);
    webhook.handle(attempt(), CancellationToken::new()).await
}

#[tokio::test]
async fn request_and_signature_match_the_documentation() {
    let server = MockServer::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut attempt = attempt();
    attempt.trace = trace.parse().ok();
    Mock::given(method("POST"))
        .and(path("/orders"))
        .and(header("traceparent", trace))
        .and(header("Content-Type", "application/json"))
        .and(header("Idempotency-Key", attempt.order.id.to_string().as_str()))
        .and(header("Orders-Attempt", "3"))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let url = format!("{}/orders?key=hidden", server.uri());
    let secret = Secret::generate();
    let webhook = Webhook::new(&url, [secret.clone()], TIMEOUT).unwrap();
    assert!(!format!("{webhook:?}").contains("hidden"));
    assert_eq!(webhook.handle(attempt.clone(), CancellationToken::new()).await, Outcome::Completed);

    let request = &server.received_requests().await.unwrap()[0];
    let agent = request.headers["user-agent"].to_str().unwrap();
    assert!(agent.starts_with("orders-processor/"), "{agent}");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({
            "orderId": attempt.order.id.to_string(),
            "status": "processing",
            "attempt": 3,
            "lineItems": [{ "item": "Laptop", "quantity": 2, "price": "1299.99" }],
            "quantity": 2,
            "total": "2599.98",
            "currency": "USD",
            "customer": "Ann",
            "externalReference": null,
            "createdAt": "2023-11-14T22:13:20.000000Z",
        })
    );
    // The library refuses times that are minutes old.
    assert_eq!(request.headers["webhook-id"], attempt.order.id.to_string().as_str());
    assert!(is_signed(request, &secret));
    assert!(!is_signed(request, &Secret::generate()));
}

#[tokio::test]
async fn no_secret_gives_no_signature() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let webhook = Webhook::new(&server.uri(), None, TIMEOUT).unwrap();
    assert_eq!(webhook.handle(attempt(), CancellationToken::new()).await, Outcome::Completed);
    assert!(!server.received_requests().await.unwrap()[0].headers.contains_key("webhook-signature"));
}

/// A receiver with the old or with the new secret accepts the requests of a rotation.
#[tokio::test]
async fn replaced_url_and_secrets_apply_to_the_next_request() {
    let (first, second) = (MockServer::start().await, MockServer::start().await);
    for server in [&first, &second] {
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(204)).mount(server).await;
    }
    let (old, new) = (Secret::generate(), Secret::generate());
    let webhook = Webhook::new(&first.uri(), [old.clone()], TIMEOUT).unwrap();
    assert_eq!(webhook.handle(attempt(), CancellationToken::new()).await, Outcome::Completed);
    webhook.replace_url(&second.uri()).unwrap();
    webhook.replace_secrets([new.clone(), old.clone()]).unwrap();
    // What cannot be used changes nothing.
    assert!(webhook.replace_url("ftp://host/").is_err());
    assert!(webhook.replace_secrets(vec![old.clone(); MAX_SECRETS + 1]).is_err());
    assert_eq!(webhook.handle(attempt(), CancellationToken::new()).await, Outcome::Completed);

    let request = &first.received_requests().await.unwrap()[..];
    assert!(request.len() == 1 && is_signed(&request[0], &old) && !is_signed(&request[0], &new));
    let request = &second.received_requests().await.unwrap()[0];
    assert!(is_signed(request, &old) && is_signed(request, &new));
}

/// Every client can read a reason, and responses of endpoints may contain internal details.
#[tokio::test]
async fn response_body_is_in_the_reason_only_if_enabled() {
    for status in [400, 503] {
        let answer = || ResponseTemplate::new(status).set_body_string("Traceback: db password=hunter2");
        let (Outcome::Failed { reason, .. } | Outcome::Retry { reason, .. }) =
            outcome_showing(false, answer()).await
        else {
            panic!("{status} is no success");
        };
        assert!(reason.contains(&status.to_string()) && !reason.contains("hunter2"), "{reason}");
        let (Outcome::Failed { reason, .. } | Outcome::Retry { reason, .. }) =
            outcome_showing(true, answer()).await
        else {
            panic!("{status} is no success");
        };
        assert!(reason.contains("hunter2"), "{reason}");
    }
}

#[tokio::test]
async fn status_of_the_response_determines_the_outcome() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(outcome(ResponseTemplate::new(status)).await, Outcome::Completed, "{status}");
    }
    for status in [408, 409, 425, 429, 500, 502, 503, 504, 599] {
        let outcome = outcome(ResponseTemplate::new(status).set_body_string("over\nload")).await;
        let Outcome::Retry { reason, class, after: None } = outcome else { panic!("{status}: {outcome:?}") };
        assert_eq!(class, Some(format!("http_{status}")));
        assert!(reason.contains(&status.to_string()) && reason.ends_with(": over load"), "{reason}");
    }
    for status in [300, 304, 400, 401, 404, 410, 422, 499] {
        let outcome = outcome(ResponseTemplate::new(status)).await;
        let Outcome::Failed { reason, class } = outcome else { panic!("{status}: {outcome:?}") };
        assert_eq!(class, Some(format!("http_{status}")));
        assert!(reason.contains(&status.to_string()), "{reason}");
    }
    let redirect = ResponseTemplate::new(307).insert_header("Location", "/").set_body_string("elsewhere");
    let reason = "the webhook answered 307 Temporary Redirect: elsewhere";
    assert_eq!(outcome(redirect).await, Outcome::failed(reason).with_class("http_307"));
    let refused = Outcome::failed("the webhook answered 402 Payment Required").with_class("http_402");
    assert_eq!(outcome(ResponseTemplate::new(402)).await, refused);
}

#[tokio::test]
async fn reason_is_the_start_of_the_body() {
    let body = format!("{}{}", "ä".repeat(500), "b".repeat(100_000));
    let outcome = outcome(ResponseTemplate::new(422).set_body_string(body)).await;
    let reason = format!("the webhook answered 422 Unprocessable Entity: {}", "ä".repeat(500));
    assert_eq!(outcome, Outcome::failed(reason).with_class("http_422"));
    // A character at the end of the kept part may be incomplete.
    let outcome = self::outcome(ResponseTemplate::new(422).set_body_string("€".repeat(1_000))).await;
    let reason = format!("the webhook answered 422 Unprocessable Entity: {}", "€".repeat(1024 / 3));
    assert_eq!(outcome, Outcome::failed(reason).with_class("http_422"));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let busy = |after: &str| outcome(ResponseTemplate::new(503).insert_header("Retry-After", after));
    let after = |outcome| match outcome {
        Outcome::Retry { after, .. } => after,
        other => panic!("{other:?}"),
    };
    assert_eq!(after(busy("17").await), Some(Duration::from_secs(17)));
    assert_eq!(after(busy("Sun, 06 Nov 1994 08:49:37 GMT").await), None, "no pause is asked for");
    assert_eq!(after(busy("0").await), None);
    assert_eq!(after(busy("999999999").await), Some(Duration::from_secs(24 * 60 * 60)), "the limit");
    let Outcome::Retry { reason, .. } = busy("17").await else { panic!("it may be repeated") };
    assert_eq!(reason, "the webhook answered 503 Service Unavailable and asked for a pause of 17 s");
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3_600));
    let wait = after(busy(&date).await).unwrap();
    assert!(wait > Duration::from_secs(3_000) && wait <= Duration::from_secs(3_600), "{wait:?}");
    assert_eq!(after(busy("soon").await), None);
}

#[tokio::test]
async fn no_response_means_retry() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    Mock::given(method("POST")).respond_with(slow).mount(&server).await;
    let webhook = Webhook::new(&server.uri(), None, Duration::from_millis(50)).unwrap();
    let outcome = webhook.handle(attempt(), CancellationToken::new()).await;
    assert!(matches!(&outcome, Outcome::Retry { reason, .. } if reason.contains("timed out")), "{outcome:?}");

    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let webhook = Webhook::new(&server.uri(), None, TIMEOUT).unwrap();
    assert!(matches!(webhook.handle(attempt(), cancelled).await, Outcome::Retry { .. }));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/?key=hidden", closed.local_addr().unwrap());
    drop(closed);
    let webhook = Webhook::new(&url, None, TIMEOUT).unwrap();
    let outcome = webhook.handle(attempt(), CancellationToken::new()).await;
    let Outcome::Retry { reason, class, after: None } = outcome else { panic!("{outcome:?}") };
    assert_eq!(class.as_deref(), Some("webhook_unreachable"));
    assert!(reason.starts_with("the webhook: ") && !reason.contains("hidden"), "{reason}");
}

#[test]
fn invalid_arguments_are_rejected() {
    for url in ["", "nonsense", "ftp://host/", "/path"] {
        assert!(Webhook::new(url, None, TIMEOUT).is_err(), "{url}");
    }
    assert!(Webhook::new("http://host/", None, Duration::ZERO).is_err());
    // It must not panic, with or without root certificates on this machine.
    let _ = Webhook::new("https://host/", None, TIMEOUT);
}
