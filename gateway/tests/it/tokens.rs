//! Tokens of an issuer on every surface of a gateway, on both pairs of back ends.

use std::path::PathBuf;

use domain::{Limits, Role};
use futures_util::SinkExt;
use gateway::Config;
use gateway::access::{Algorithm, JwtConfig, KeyLocation};
use gateway::store::{KeyActor, TenantCreation, TenantState};
use serde_json::{Value, json};
use test_tokens::{SigningKey, key_set};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::access::{first_frame, next_frame, role, send};
use crate::harness::{Backend, PATIENCE, eventually};
use crate::on_both;

const ISSUER: &str = "https://issuer.example";

/// An issuer whose keys are in a file.
struct Issuer {
    key: SigningKey,
    folder: tempfile::TempDir,
}

impl Issuer {
    fn new() -> Self {
        let issuer = Self { key: SigningKey::p256(), folder: tempfile::tempdir().unwrap() };
        std::fs::write(issuer.file(), key_set(&[issuer.key.jwk("1")])).unwrap();
        issuer
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    fn config(&self, keys: bool) -> Config {
        let mut config = Config::default();
        config.access.keys = keys;
        config.access.developer_tools = false;
        config.access.jwt = Some(JwtConfig {
            issuer: ISSUER.to_owned(),
            audiences: vec!["orders".to_owned()],
            algorithms: Algorithm::ALL.to_vec(),
            tenant_claim: "tenant".parse().unwrap(),
            scope_claim: "scope".parse().unwrap(),
            all_tenants: false,
            keys: KeyLocation::File(self.file()),
            tls: None,
            reload: watch::channel(()).1,
        });
        config
    }

    /// A token that ends this number of seconds after the present time of the database.
    fn token(&self, backend: &Backend, tenant: &str, scope: &str, seconds: i64) -> String {
        let end = backend.store.now().as_micros() / 1_000_000 + seconds;
        let claims = json!({"iss": ISSUER, "aud": "orders", "sub": "ann", "exp": end, "tenant": tenant, "scope": scope});
        self.key.sign("1", &claims)
    }
}

fn actor() -> KeyActor {
    KeyActor { name: "test".to_owned(), tenant: None, request_id: None }
}

async fn create_tenant(backend: &Backend, tenant: &str) {
    create_limited_tenant(backend, tenant, &Limits::default()).await;
}

async fn create_limited_tenant(backend: &Backend, tenant: &str, limits: &Limits) {
    let created =
        backend.store.create_tenant(&tenant.parse().unwrap(), tenant, limits, &actor()).await.unwrap();
    assert_eq!(created, TenantCreation::Created);
}

on_both!(a_token_is_accepted_on_every_surface, |on| async move {
    let backend = Backend::new(on).await;
    create_tenant(&backend, "shop").await;
    let issuer = Issuer::new();
    let gateway = backend.gateway(issuer.config(false)).await;
    let reader = issuer.token(&backend, "shop", "role:reader", 300);
    assert_eq!(send(&gateway, "get", "/orders", Some(&reader)).await.0, 200);
    let (status, body) = send(&gateway, "get", "/metrics", Some(&reader)).await;
    assert_eq!((status, &body["code"]), (403, &json!("forbidden")));
    let none = issuer.token(&backend, "shop", "openid reader", 300);
    let (status, body) = send(&gateway, "get", "/metrics", Some(&none)).await;
    assert_eq!((status, &body["code"]), (403, &json!("forbidden")), "unknown words are no scopes");

    let bearer = json!({"authorization": format!("Bearer {reader}")});
    let (mut socket, accepted) = first_frame(&gateway, None, bearer).await;
    assert_eq!(accepted, Ok(json!({"type": "connection_ack"})));
    let query = json!({"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}});
    socket.send(Message::text(query.to_string())).await.unwrap();
    assert_eq!(next_frame(&mut socket).await.unwrap()["type"], "next");
    assert_eq!(first_frame(&gateway, None, json!({"authorization": "Bearer a.b.c"})).await.1, Err(4401));

    let worker = issuer.token(&backend, "shop", "work", 300);
    let mut workers = gateway.workers().await;
    for (token, error) in
        [(&reader, "forbidden"), (&worker, "order_not_found"), (&"a.b.c".to_owned(), "unauthenticated")]
    {
        let mut report = tonic::Request::new(proto::v1::UpdateStatusRequest {
            order_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            status: "processing".to_owned(),
            ..proto::v1::UpdateStatusRequest::default()
        });
        report.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let status = workers.update_status(report).await.unwrap_err();
        assert_eq!(status.metadata().get(proto::ERROR_METADATA).unwrap(), error);
    }
    gateway.stop().await;
});

on_both!(refused_tokens_get_the_reason, |on| async move {
    let backend = Backend::new(on).await;
    create_tenant(&backend, "shop").await;
    let issuer = Issuer::new();
    let gateway = backend.gateway(issuer.config(false)).await;
    let key = role(&backend, Role::Admin).await;
    let foreign = Issuer { key: SigningKey::p256(), folder: tempfile::tempdir().unwrap() };
    for (credential, code, reason) in [
        (issuer.token(&backend, "shop", "role:reader", -31), "token_expired", "expired"),
        (issuer.token(&backend, "other", "role:reader", 300), "unauthenticated", "does not exist"),
        (issuer.token(&backend, "*", "role:reader", 300), "unauthenticated", "all tenants"),
        (issuer.token(&backend, "", "role:reader", 300), "unauthenticated", "claim tenant"),
        (foreign.token(&backend, "shop", "role:reader", 300), "unauthenticated", "signature"),
        (issuer.key.sign("2", &json!({})), "unauthenticated", "no claim iss"),
        ("x".repeat(8 * 1024 + 1), "unauthenticated", "longer than"),
        ("secret".to_owned(), "unauthenticated", "neither"),
        (key.key.expose().to_owned(), "unauthenticated", "API keys are not accepted"),
    ] {
        // The second response comes from the cache.
        for _ in 0..2 {
            let (status, body) = send(&gateway, "get", "/orders", Some(&credential)).await;
            assert_eq!((status, &body["code"]), (401, &json!(code)), "{reason}: {body}");
            assert!(body["detail"].as_str().unwrap().contains(reason), "{reason}: {body}");
            assert!(!body.to_string().contains(&credential), "the error repeats the credential");
        }
    }
    gateway.stop().await;
});

on_both!(a_token_has_the_state_and_the_limits_of_its_tenant, |on| async move {
    let backend = Backend::new(on).await;
    create_tenant(&backend, "shop").await;
    backend.store.set_tenant_state(&"shop".parse().unwrap(), TenantState::Suspended, &actor()).await.unwrap();
    create_limited_tenant(
        &backend,
        "small",
        &Limits { rate_per_s: Some(1), burst: Some(1), ..Limits::default() },
    )
    .await;
    let issuer = Issuer::new();
    let gateway = backend.gateway(issuer.config(false)).await;
    let suspended = issuer.token(&backend, "shop", "role:reader", 300);
    let (status, body) = send(&gateway, "get", "/orders", Some(&suspended)).await;
    assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")));
    assert!(body["detail"].as_str().unwrap().contains("suspended"), "{body}");
    // Each request has another token; a second may end within them, but not each time within the limit.
    let mut limited = false;
    for n in 0..50 {
        let token = issuer.token(&backend, "small", "role:reader", 300 + n);
        let (status, body) = send(&gateway, "get", "/orders", Some(&token)).await;
        limited = limited || (status == 429 && body["code"] == "rate_limited");
    }
    assert!(limited, "the tenant exceeded its limit");
    gateway.stop().await;
});

on_both!(keys_work_while_the_issuer_does_not, |on| async move {
    let backend = Backend::new(on).await;
    let issuer = Issuer::new();
    let token = issuer.token(&backend, "default", "role:reader", 300);
    std::fs::remove_file(issuer.file()).unwrap();
    let (request, reload) = watch::channel(());
    let mut config = issuer.config(true);
    config.access.jwt.as_mut().unwrap().reload = reload;
    let gateway = backend.gateway(config).await;
    let admin = role(&backend, Role::Admin).await;
    assert_eq!(send(&gateway, "get", "/orders", Some(admin.key.expose())).await.0, 200);
    let (status, body) = send(&gateway, "get", "/orders", Some(&token)).await;
    assert_eq!((status, &body["code"]), (503, &json!("token_issuer_unavailable")));

    std::fs::write(issuer.file(), key_set(&[issuer.key.jwk("1")])).unwrap();
    request.send(()).unwrap();
    eventually("the token to be accepted", || async {
        (send(&gateway, "get", "/orders", Some(&token)).await.0 == 200).then_some(())
    })
    .await;
    gateway.stop().await;
});

on_both!(a_socket_ends_when_its_token_expires, |on| async move {
    let backend = Backend::new(on).await;
    let issuer = Issuer::new();
    let gateway = backend.gateway(issuer.config(false)).await;
    // The clock of the issuer may differ by 30 s, so this token ends in 5 s.
    let token = issuer.token(&backend, "default", "role:reader", -25);
    let (mut socket, accepted) = first_frame(&gateway, Some(&token), json!({})).await;
    assert_eq!(accepted, Ok(json!({"type": "connection_ack"})));
    let closed = async {
        loop {
            let frame: Result<Value, u16> = next_frame(&mut socket).await;
            if let Err(code) = frame {
                break code;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, closed).await.expect("the socket ends"), 4403);
    gateway.stop().await;
});
