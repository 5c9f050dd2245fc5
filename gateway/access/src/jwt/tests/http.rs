//! The keys of an issuer over HTTP and HTTPS.

use test_certificates::{Authority, Leaf};
use tls::{ClientFiles, ServerFiles, ServerTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::key_source::MAX_DOCUMENT_BYTES;
use super::*;

fn source(server: &MockServer, path: &str) -> HttpSource {
    let url = Url::parse(&format!("{}{path}", server.uri())).unwrap();
    HttpSource { location: HttpLocation::Keys(url), tls: None }
}

async fn serve(server: &MockServer, at: &str, response: ResponseTemplate) {
    Mock::given(path(at)).respond_with(response).mount(server).await;
}

#[tokio::test]
async fn unusable_responses_are_errors() {
    let server = MockServer::start().await;
    serve(&server, "/keys", ResponseTemplate::new(200).set_body_string("{}")).await;
    serve(&server, "/large", ResponseTemplate::new(200).set_body_bytes(vec![b' '; MAX_DOCUMENT_BYTES + 1]))
        .await;
    let target = format!("{}/keys", server.uri());
    serve(&server, "/moved", ResponseTemplate::new(302).insert_header("location", &*target)).await;
    serve(&server, "/broken", ResponseTemplate::new(500)).await;
    assert_eq!(source(&server, "/keys").load().await.unwrap(), b"{}");
    for (at, problem) in [("/large", "larger than"), ("/moved", "302"), ("/broken", "500"), ("/none", "404")]
    {
        let error = source(&server, at).load().await.unwrap_err().to_string();
        assert!(error.contains(problem), "{at}: {error}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 5, "the redirect was not followed");
}

/// The issuer announces the URL of its keys, and its tokens are accepted.
#[tokio::test]
async fn keys_are_discovered() {
    let server = MockServer::start().await;
    let issuer = format!("{}/realms/shop", server.uri());
    let key = SigningKey::p256();
    let metadata = json!({"issuer": issuer, "jwks_uri": format!("{}/keys", server.uri())});
    let json = |body: String| ResponseTemplate::new(200).set_body_raw(body, "application/json");
    serve(&server, "/realms/shop/.well-known/openid-configuration", json(metadata.to_string())).await;
    serve(&server, "/keys", json(key_set(&[key.jwk("1")]))).await;
    let location = KeyLocation::discovery(&issuer).unwrap();
    assert!(!location.uses_tls());
    let verifier = Arc::new(TokenVerifier::new(&JwtConfig { issuer: issuer.clone(), ..config(location) }));
    run(&verifier);
    let token = key.sign("1", &with("iss", json!(issuer)));
    assert!(verifier.verify(&token, now()).await.is_ok());
}

/// One HTTPS server whose certificate is of a private authority.
async fn https_keys(folder: &std::path::Path, authority: &Authority, keys: String) -> Url {
    let (certificate, key) = authority.issue(&Leaf::server()).write(folder, "issuer");
    let files = ServerFiles { certificate, key, client_ca: None };
    let tls = ServerTls::load("http", files, &[b"http/1.1"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(tls.config()).accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", keys.len());
            let _ = stream.write_all(format!("{head}{keys}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Url::parse(&url).unwrap()
}

#[tokio::test]
async fn https_needs_a_trusted_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let url = https_keys(folder.path(), &authority, "{}".to_owned()).await;
    let source = |authority: &Authority, name: &str| {
        let ca = folder.path().join(name);
        std::fs::write(&ca, authority.pem()).unwrap();
        let files = ClientFiles { ca: Some(ca), certificate_and_key: None };
        let tls = ClientTls::load("jwt_issuer", files, &[b"http/1.1"]).unwrap();
        HttpSource { location: HttpLocation::Keys(url.clone()), tls: Some(Arc::new(tls)) }
    };
    assert_eq!(source(&authority, "ca.crt").load().await.unwrap(), b"{}");
    let replaced = source(&other, "other.crt");
    let error = replaced.load().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    std::fs::write(folder.path().join("other.crt"), authority.pem()).unwrap();
    assert_eq!(replaced.load().await.unwrap(), b"{}", "the file is read again");
}
