//! URLs and receivers that lead elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use webhook::dns::{Addrs, Name, Resolve, Resolving};
use webhook::{Client, EndpointUrl, OutcomeKind};

use crate::receiver::{Receiver, TIMEOUT, client, loopback, post, send};

const ACCEPTED: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn redirect_is_not_followed() {
    let metadata = Receiver::start(
        "127.0.0.1:0",
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
        false,
    )
    .await;
    let outcome = post(&metadata.url()).await;
    assert_eq!((outcome.kind, outcome.status), (OutcomeKind::Rejected, Some(302)));
    // Also one to the same receiver.
    let same =
        Receiver::start("127.0.0.1:0", b"HTTP/1.1 307 T\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", false)
            .await;
    assert_eq!(post(&same.url()).await.kind, OutcomeKind::Rejected);
    assert_eq!((metadata.connections(), same.connections()), (1, 1));
}

/// Answers the first lookup of a name with one address, and all others with another one.
struct Rebinding {
    addresses: [IpAddr; 2],
    lookups: AtomicUsize,
}

impl Resolve for Rebinding {
    fn resolve(&self, _: Name) -> Resolving {
        let lookup = self.lookups.fetch_add(1, Ordering::SeqCst);
        let address = SocketAddr::new(self.addresses[lookup.min(1)], 0);
        Box::pin(async move { Ok(Box::new([address].into_iter()) as Addrs) })
    }
}

/// The name has a permitted address while the endpoint is registered, and an internal one at the next connection.
#[tokio::test]
async fn name_that_changes_its_address_is_refused() {
    let permitted = Receiver::start("127.0.0.2:0", ACCEPTED, false).await;
    let internal = Receiver::start(&format!("127.0.0.1:{}", permitted.address.port()), ACCEPTED, false).await;
    let addresses = [permitted.address.ip(), internal.address.ip()];
    let resolver = Arc::new(Rebinding { addresses, lookups: AtomicUsize::new(0) });
    let allowed = "127.0.0.2".parse().unwrap();
    let client = Client::with_resolver(allowed, "test", resolver.clone()).unwrap();
    for scheme in ["http", "https"] {
        resolver.lookups.store(0, Ordering::SeqCst);
        let url = format!("{scheme}://hooks.example:{}/", permitted.address.port());
        let first = send(&client, &url, &[], TIMEOUT).await;
        assert_ne!(first.kind, OutcomeKind::Refused, "{first:?}");
        let second = send(&client, &url, &[], TIMEOUT).await;
        assert_eq!((second.kind, second.status), (OutcomeKind::Refused, None), "{second:?}");
        assert!(second.error.unwrap().contains("not public"));
    }
    assert_eq!((permitted.connections(), internal.connections()), (2, 0));
}

#[tokio::test]
async fn internal_address_is_refused_without_a_connection() {
    let receiver = Receiver::start("127.0.0.1:0", ACCEPTED, false).await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
        for scheme in ["http", "https"] {
            let outcome = send(&client(""), &format!("{scheme}://{host}:{port}/"), &[], TIMEOUT).await;
            assert_eq!(outcome.kind, OutcomeKind::Refused, "{scheme} {host}: {outcome:?}");
        }
    }
    assert_eq!(receiver.connections(), 0);
    let outcome = post(&format!("http://0x7f.1:{port}/")).await;
    assert_eq!(outcome.kind, OutcomeKind::Delivered, "{outcome:?}");
}

/// A name may be in an allowed network when the URL is checked, and in a public one at the connection.
#[tokio::test]
async fn plain_http_to_a_public_address_is_refused() {
    let resolver = Rebinding { addresses: ["8.8.8.8".parse().unwrap(); 2], lookups: AtomicUsize::new(0) };
    let client = Client::with_resolver(loopback(), "test", Arc::new(resolver)).unwrap();
    let url = "http://hooks.example/";
    EndpointUrl::parse(url, &loopback()).unwrap();
    let outcome = send(&client, url, &[], TIMEOUT).await;
    assert_eq!(outcome.kind, OutcomeKind::Refused);
    assert!(outcome.error.unwrap().contains("https://"));
}

/// The variables are read by the process that starts with them, so the test starts itself again.
#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    const RECEIVER: &str = "WEBHOOK_TEST_RECEIVER";
    if let Ok(url) = std::env::var(RECEIVER) {
        let outcome = post(&url).await;
        assert_eq!(outcome.kind, OutcomeKind::Delivered, "{outcome:?}");
        return;
    }
    let receiver = Receiver::start("127.0.0.1:0", ACCEPTED, false).await;
    let proxy = Receiver::start("127.0.0.1:0", ACCEPTED, false).await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "attacks::proxies_of_the_environment_are_not_used"]).env(RECEIVER, receiver.url());
    for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(variable, format!("http://{}", proxy.address));
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY").env_remove("REQUEST_METHOD");
    let status = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    assert_eq!((receiver.connections(), proxy.connections()), (1, 0));
}
