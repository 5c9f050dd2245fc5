//! Tokens, valid ones and attacks, against an issuer whose keys the tests replace. The clock is that of the tests.

mod attacks;
mod http;
mod keys;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use test_tokens::{SigningKey, key_set};

use super::key_source::{LoadError, URL_INTERVAL};
use super::*;

const ISSUER: &str = "https://issuer.example";
/// The time of the tests, in seconds since 1970.
const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_micros(NOW * 1_000_000)
}

fn config(keys: KeyLocation) -> JwtConfig {
    JwtConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec!["orders".to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        tenant_claim: "tenant".parse().unwrap(),
        scope_claim: "scope".parse().unwrap(),
        all_tenants: false,
        keys,
        tls: None,
        reload: watch::channel(()).1,
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "orders", "sub": "ann", "exp": NOW + 300, "iat": NOW, "tenant": "shop",
        "scope": "openid orders:read role:worker",
    })
}

/// Valid claims with one that is replaced, or removed by null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
        value => claims[name] = value,
    }
    claims
}

/// The keys that the issuer publishes, and the number of reads.
#[derive(Clone, Default)]
struct Published(Arc<(Mutex<Option<String>>, AtomicUsize)>);

impl Published {
    fn new(keys: &[Value]) -> Self {
        let published = Self::default();
        published.publish(keys);
        published
    }

    fn publish(&self, keys: &[Value]) {
        *self.0.0.lock().unwrap() = Some(key_set(keys));
    }

    fn fail(&self) {
        *self.0.0.lock().unwrap() = None;
    }

    fn reads(&self) -> usize {
        self.0.1.load(Ordering::Relaxed)
    }

    /// A verifier whose task runs until the end of the test.
    fn verifier(&self) -> Arc<TokenVerifier> {
        self.verifier_with(&config(KeyLocation::File("none".into())))
    }

    fn verifier_with(&self, config: &JwtConfig) -> Arc<TokenVerifier> {
        let verifier = Arc::new(TokenVerifier::with_source(config, Box::new(self.clone())));
        run(&verifier);
        verifier
    }
}

fn run(verifier: &Arc<TokenVerifier>) {
    let verifier = verifier.clone();
    tokio::spawn(async move { verifier.run(&CancellationToken::new()).await });
}

impl KeySource for Published {
    fn load(&self) -> BoxFuture<'_, Result<Vec<u8>, LoadError>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            self.0.1.fetch_add(1, Ordering::Relaxed);
            let keys = self.0.0.lock().unwrap().clone();
            keys.map(String::into_bytes).ok_or_else(|| LoadError("down".to_owned()))
        })
    }

    fn interval(&self) -> std::time::Duration {
        URL_INTERVAL
    }
}
