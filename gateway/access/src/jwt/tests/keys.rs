//! The keys of an issuer: which are taken, when they are read, and what happens while they cannot be read.

use std::time::Duration;

use tokio::time::{Instant, advance};

use super::super::issuer_keys::{COOL_DOWN, MAX_AGE};
use super::super::key_set::MAX_KEYS;
use super::super::key_source::FILE_INTERVAL;
use super::*;

/// Lets the other tasks run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Ten thousand tokens with unknown keys cause one read in the cool-down.
#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_is_one_read() {
    let key = SigningKey::ed25519();
    let published = Published::new(&[key.jwk("1")]);
    let verifier = published.verifier();
    assert!(verifier.verify(&key.sign("1", &claims()), now()).await.is_ok());
    assert_eq!(published.reads(), 1);
    advance(COOL_DOWN).await;

    let started = Instant::now();
    let flood: Vec<_> = (0..10_000)
        .map(|n| {
            let (verifier, token) = (verifier.clone(), key.sign(&format!("unknown-{n}"), &claims()));
            tokio::spawn(async move { verifier.verify(&token, now()).await })
        })
        .collect();
    for request in flood {
        assert!(matches!(request.await.unwrap(), Err(TokenError::UnknownKey(_))));
    }
    assert_eq!(published.reads(), 2);
    for n in 0..1_000 {
        let token = key.sign(&format!("later-{n}"), &claims());
        assert!(verifier.verify(&token, now()).await.is_err());
    }
    assert_eq!((published.reads(), started.elapsed()), (2, Duration::ZERO));
    advance(COOL_DOWN).await;
    assert!(verifier.verify(&key.sign("unknown", &claims()), now()).await.is_err());
    assert_eq!(published.reads(), 3);
    assert!(verifier.verify(&key.sign("1", &claims()), now()).await.is_ok(), "the known key is in use");
}

/// Tokens for others and tokens of the past are refused before the keys are read for them.
#[tokio::test(start_paused = true)]
async fn only_tokens_for_this_gateway_lead_to_a_read() {
    let key = SigningKey::ed25519();
    let published = Published::new(&[key.jwk("1")]);
    let verifier = published.verifier();
    assert!(verifier.verify(&key.sign("1", &claims()), now()).await.is_ok());
    advance(COOL_DOWN).await;
    for claims in [with("iss", json!("x")), with("aud", json!("x")), with("exp", json!(NOW - 60))] {
        assert!(verifier.verify(&key.sign("2", &claims), now()).await.is_err());
    }
    assert_eq!(published.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn rotated_keys_are_read_when_a_token_has_one() {
    let (old, new) = (SigningKey::p256(), SigningKey::p256());
    let published = Published::new(&[old.jwk("old")]);
    let verifier = published.verifier();
    let (old_token, new_token) = (old.sign("old", &claims()), new.sign("new", &claims()));
    assert!(verifier.verify(&old_token, now()).await.is_ok());
    published.publish(&[old.jwk("old"), new.jwk("new")]);
    assert!(verifier.verify(&new_token, now()).await.is_err(), "the keys were just read");
    advance(COOL_DOWN).await;
    assert!(verifier.verify(&new_token, now()).await.is_ok());
    assert!(verifier.verify(&old_token, now()).await.is_ok());

    // The issuer withdraws the old key. The next read at the interval shows it.
    published.publish(&[new.jwk("new")]);
    assert!(verifier.verify(&old_token, now()).await.is_ok());
    advance(URL_INTERVAL).await;
    settle().await;
    assert!(verifier.verify(&old_token, now()).await.is_err());
    assert!(verifier.verify(&new_token, now()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_issuer_may_be_down_at_the_start_and_later() {
    let key = SigningKey::p256();
    let published = Published::default();
    let verifier = published.verifier();
    let token = key.sign("1", &claims());
    assert_eq!(verifier.verify(&token, now()).await, Err(TokenError::IssuerUnavailable));
    assert_eq!(verifier.verify(&token, now()).await, Err(TokenError::IssuerUnavailable));
    assert_eq!(published.reads(), 1, "the cool-down applies to failures");
    let expired = key.sign("1", &with("exp", json!(NOW - 60)));
    assert_eq!(verifier.verify(&expired, now()).await, Err(TokenError::Expired), "its end needs no key");

    // It comes up, and is read without a token.
    published.publish(&[key.jwk("1")]);
    advance(COOL_DOWN).await;
    settle().await;
    assert_eq!(published.reads(), 2);
    assert!(verifier.verify(&token, now()).await.is_ok());

    // It goes down: the keys stay in use for a day, and unreadable documents change nothing.
    published.fail();
    let down_at = Instant::now();
    advance(URL_INTERVAL).await;
    settle().await;
    assert_eq!(published.reads(), 3);
    *published.0.0.lock().unwrap() = Some("<html>".to_owned());
    advance(COOL_DOWN).await;
    settle().await;
    assert_eq!(published.reads(), 4);
    advance(MAX_AGE - down_at.elapsed() - Duration::from_secs(1)).await;
    assert!(verifier.verify(&token, now()).await.is_ok());
    advance(Duration::from_secs(1)).await;
    assert_eq!(verifier.verify(&token, now()).await, Err(TokenError::IssuerUnavailable));
    published.publish(&[key.jwk("1")]);
    advance(COOL_DOWN).await;
    settle().await;
    assert!(verifier.verify(&token, now()).await.is_ok());
}

#[tokio::test]
async fn a_replaced_file_is_read_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (old, new) = (SigningKey::ed25519(), SigningKey::ed25519());
    std::fs::write(&file, key_set(&[old.jwk("old")])).unwrap();
    assert_eq!(check_key_file(&file, &Algorithm::ALL), Ok(()));
    let (request, reload) = watch::channel(());
    let verifier =
        Arc::new(TokenVerifier::new(&JwtConfig { reload, ..config(KeyLocation::File(file.clone())) }));
    run(&verifier);
    let (old_token, new_token) = (old.sign("old", &claims()), new.sign("new", &claims()));
    assert!(verifier.verify(&old_token, now()).await.is_ok());

    // An unusable file changes nothing.
    std::fs::write(&file, "{").unwrap();
    request.send(()).unwrap();
    assert!(verifier.verify(&old_token, now()).await.is_ok());
    assert!(check_key_file(&file, &Algorithm::ALL).unwrap_err().contains("JWK set"));
    std::fs::write(&file, key_set(&[new.jwk("new")])).unwrap();
    request.send(()).unwrap();
    let replaced = async {
        while verifier.verify(&new_token, now()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), replaced).await.expect("the file is read");
    assert!(verifier.verify(&old_token, now()).await.is_err());

    std::fs::write(&file, key_set(&[SigningKey::Secret(vec![1; 32]).jwk("oct")])).unwrap();
    assert!(check_key_file(&file, &Algorithm::ALL).unwrap_err().contains("no key"));
    assert!(
        check_key_file(&folder.path().join("none"), &Algorithm::ALL).unwrap_err().contains("cannot be read")
    );
    std::fs::write(&file, vec![b' '; super::super::key_source::MAX_DOCUMENT_BYTES + 1]).unwrap();
    assert!(check_key_file(&file, &Algorithm::ALL).unwrap_err().contains("larger"));
    assert!(FILE_INTERVAL < URL_INTERVAL);
}

#[test]
fn only_keys_for_signatures_are_taken() {
    let parse = |jwk: Value| KeySet::parse(key_set(&[jwk]).as_bytes(), &Algorithm::ALL).unwrap().len();
    let key = |name: &str, value: Value| {
        let mut jwk = SigningKey::p256().jwk("1");
        jwk[name] = value;
        jwk
    };
    for (name, value) in [
        ("use", json!("sig")),
        ("alg", json!("ES256")),
        ("key_ops", json!(["verify"])),
        ("x5c", json!(["certificate"])),
        ("kid", json!(5)),
    ] {
        assert_eq!(parse(key(name, value.clone())), 1, "{name} {value}");
    }
    for (name, value) in [
        ("use", json!("enc")),
        ("alg", json!("ES384")),
        ("alg", json!("HS256")),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!("verify")),
        ("d", json!("AAAA")),
        ("crv", json!("P-384")),
        ("kty", json!("oct")),
        ("kty", json!("RSA")),
        ("x", json!("AAAA")),
        ("y", json!("!")),
        ("y", Value::Null),
    ] {
        assert_eq!(parse(key(name, value.clone())), 0, "{name} {value}");
    }
    let mut short = SigningKey::rsa().jwk("1");
    assert_eq!(parse(short.clone()), 1);
    short["n"] = "A".repeat(100).into();
    assert_eq!(parse(short), 0, "an RSA key of 600 bits");
    assert_eq!(parse(SigningKey::Secret(vec![1; 32]).jwk("1")), 0);
    assert_eq!(parse(json!(5)), 0);
    let zero = {
        let mut jwk = SigningKey::rsa().jwk("1");
        // Some issuers write a zero before the modulus.
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        jwk["n"] = URL_SAFE_NO_PAD.encode([&[0], &modulus[..]].concat()).into();
        jwk
    };
    assert_eq!(parse(zero), 1);
}

#[test]
fn a_token_without_an_id_has_the_only_key() {
    let (one, other, third) = (SigningKey::p256(), SigningKey::p256(), SigningKey::ed25519());
    let parse = |keys: &[Value]| KeySet::parse(key_set(keys).as_bytes(), &Algorithm::ALL).unwrap();
    assert!(parse(&[one.jwk("1"), third.jwk("3")]).find(None, Algorithm::Es256).is_some());
    let two = parse(&[one.jwk("1"), other.jwk("2")]);
    assert!(two.find(None, Algorithm::Es256).is_none() && two.find(Some("2"), Algorithm::Es256).is_some());
    assert!(two.find(Some("2"), Algorithm::Rs256).is_none());
}

#[test]
fn unusable_sets_are_refused() {
    let parse = |document: &str| KeySet::parse(document.as_bytes(), &Algorithm::ALL);
    for unreadable in ["", "[]", "{}", r#"{"keys": {}}"#, "<html>"] {
        assert!(parse(unreadable).is_err(), "{unreadable}");
    }
    let key = SigningKey::ed25519();
    let keys = |count: usize| key_set(&(0..count).map(|n| key.jwk(&n.to_string())).collect::<Vec<_>>());
    assert_eq!(parse(&keys(MAX_KEYS)).unwrap().len(), MAX_KEYS);
    assert!(parse(&keys(MAX_KEYS + 1)).is_err());
}
