//! What a response, or its absence, becomes.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::AsyncWriteExt as _;
use webhook::{MAX_KEPT_BYTES, OutcomeKind, Secret};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::receiver::{BODY, Receiver, TIMEOUT, client, post, read_request, send};

async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn signed_request_is_accepted_by_the_library_of_the_standard() {
    let server = server(ResponseTemplate::new(204)).await;
    let secrets = [Secret::generate(), Secret::generate(), Secret::generate()];
    let outcome = send(&client("127.0.0.1"), &server.uri(), &secrets, TIMEOUT).await;
    assert_eq!((outcome.kind, outcome.status), (OutcomeKind::Delivered, Some(204)));

    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(request.body, BODY);
    assert_eq!(request.headers["webhook-id"], "order-1");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["user-agent"], "orders-test/1");
    for secret in &secrets {
        let verifier = standardwebhooks::Webhook::new(&secret.expose()).unwrap();
        verifier.verify(BODY, &request.headers).unwrap();
        assert!(verifier.verify(b"{}", &request.headers).is_err());
    }
    let other = standardwebhooks::Webhook::new(&Secret::generate().expose()).unwrap();
    assert!(other.verify(BODY, &request.headers).is_err());
}

#[tokio::test]
async fn status_of_the_response_determines_the_kind() {
    for (status, kind) in [
        (200, OutcomeKind::Delivered),
        (304, OutcomeKind::Rejected),
        (404, OutcomeKind::Rejected),
        (410, OutcomeKind::Gone),
        (429, OutcomeKind::Throttled),
        (500, OutcomeKind::Failed),
        (503, OutcomeKind::Throttled),
    ] {
        let server = server(ResponseTemplate::new(status).set_body_string("text")).await;
        let outcome = post(&server.uri()).await;
        assert_eq!((outcome.kind, outcome.status, outcome.error), (kind, Some(status), None));
        if status != 304 {
            assert_eq!(outcome.response, b"text");
        }
    }
}

#[tokio::test]
async fn retry_after_is_returned() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3_600));
    for (value, least, most) in [("17", 17, 17), (date.as_str(), 3_500, 3_600)] {
        let server = server(ResponseTemplate::new(503).insert_header("Retry-After", value)).await;
        let pause = post(&server.uri()).await.retry_after.unwrap().as_secs();
        assert!((least..=most).contains(&pause), "{value}: {pause}");
    }
}

#[tokio::test]
async fn compressed_response_is_not_decoded() {
    let answer =
        ResponseTemplate::new(200).insert_header("Content-Encoding", "gzip").set_body_bytes(*b"\x1f\x8b!");
    assert_eq!(post(&server(answer).await.uri()).await.response, b"\x1f\x8b!");
}

#[tokio::test]
async fn slow_response_ends_at_the_timeout() {
    const SHORT: Duration = Duration::from_millis(300);
    let (silent, body) = (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstart");
    for (answer, kind, response) in
        [(&silent[..], OutcomeKind::Timeout, &b""[..]), (&body[..], OutcomeKind::Delivered, b"start")]
    {
        let receiver = Receiver::start("127.0.0.1:0", answer, true).await;
        let start = Instant::now();
        let outcome = send(&client("127.0.0.1"), &receiver.url(), &[], SHORT).await;
        assert_eq!((outcome.kind, outcome.response.as_slice()), (kind, response), "{outcome:?}");
        assert!(outcome.duration >= SHORT && start.elapsed() < TIMEOUT, "{outcome:?}");
    }
}

#[tokio::test]
async fn endless_response_is_read_in_part() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").await.unwrap();
        // It ends when the client closes the connection.
        while stream.write_all(&[b'a'; 1024]).await.is_ok() {}
    });
    let outcome = post(&url).await;
    assert_eq!((outcome.kind, outcome.response), (OutcomeKind::Failed, vec![b'a'; MAX_KEPT_BYTES]));
    tokio::time::timeout(TIMEOUT, server).await.expect("the connection is closed").unwrap();
}

#[tokio::test]
async fn unreachable_receiver_has_an_error_without_the_query() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let resets = Receiver::start("127.0.0.1:0", b"", false).await;
    let garbage = Receiver::start("127.0.0.1:0", b"SSH-2.0-server\r\n\r\n", false).await;
    for url in [
        format!("http://{closed}/?key=hidden"),
        resets.url(),
        garbage.url(),
        "http://name.invalid/?key=hidden".to_owned(),
    ] {
        let outcome = post(&url).await;
        let error = outcome.error.unwrap();
        assert_eq!((outcome.kind, outcome.status), (OutcomeKind::Unreachable, None), "{url}: {error}");
        assert!(!error.contains("hidden") && !error.is_empty(), "{error}");
    }
}
