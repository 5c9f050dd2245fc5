//! Which tokens are accepted, and the reason that the others get.

use domain::{Role, Scope, Scopes};

use super::*;

#[tokio::test(start_paused = true)]
async fn every_algorithm_is_verified() {
    for key in [SigningKey::rsa(), SigningKey::p256(), SigningKey::ed25519()] {
        let verifier = Published::new(&[key.jwk("1")]).verifier();
        let caller = verifier.verify(&key.sign("1", &claims()), now()).await.unwrap();
        assert_eq!((&*caller.name, caller.tenant.as_str(), caller.all_tenants), ("jwt:ann", "shop", false));
        assert_eq!(caller.scopes, Role::Worker.scopes().union(Scopes::of(&[Scope::OrdersRead])));
        let end = Timestamp::from_micros((NOW + 330) * 1_000_000);
        assert_eq!(caller.expires_at, Some(end), "the end has the leeway");
    }
}

#[tokio::test(start_paused = true)]
async fn valid_variations_are_accepted() {
    let key = SigningKey::p256();
    let verifier = Published::new(&[key.jwk("1")]).verifier();
    for (name, value) in [
        ("aud", json!(["other", "orders"])),
        ("nbf", json!(NOW + 29)),
        ("exp", json!(NOW - 29)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("exp", json!(u64::MAX)),
        ("scope", Value::Null),
        ("iat", json!("never")),
    ] {
        let verified = verifier.verify(&key.sign("1", &with(name, value.clone())), now()).await;
        assert!(verified.is_ok(), "{name} {value}: {verified:?}");
    }
    for header in [
        json!({"alg": "ES256", "kid": "1"}),
        json!({"alg": "ES256", "kid": "1", "typ": "JWT"}),
        json!({"alg": "ES256", "kid": "1", "typ": "AT+JWT"}),
        json!({"alg": "ES256", "kid": "1", "typ": "application/at+jwt"}),
        json!({"alg": "ES256", "typ": "jwt", "x5t": "x", "jku": "https://evil.example/keys"}),
    ] {
        assert!(verifier.verify(&key.sign_with(&header, &claims()), now()).await.is_ok(), "{header}");
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_claims_are_named() {
    let key = SigningKey::ed25519();
    let verifier = Published::new(&[key.jwk("1")]).verifier();
    for (name, value, problem) in [
        ("iss", json!("https://issuer.example/"), "iss"),
        ("iss", json!([ISSUER]), "iss"),
        ("iss", Value::Null, "no claim iss"),
        ("aud", json!("shop"), "aud"),
        ("aud", json!(["shop", 5]), "aud"),
        ("aud", json!({"orders": true}), "aud"),
        ("aud", json!([]), "aud"),
        ("aud", Value::Null, "no claim aud"),
        ("exp", json!(NOW - 30), "expired"),
        ("exp", json!(0), "expired"),
        ("exp", json!((NOW + 300).to_string()), "exp"),
        ("exp", Value::Null, "no claim exp"),
        ("nbf", json!(NOW + 31), "nbf"),
        ("nbf", json!("soon"), "nbf"),
        ("sub", json!(5), "sub"),
        ("sub", Value::Null, "no claim sub"),
        ("tenant", json!("*"), "all tenants"),
        ("tenant", Value::Null, "no claim tenant"),
        ("scope", json!(5), "scope"),
    ] {
        let token = key.sign("1", &with(name, value.clone()));
        let error = verifier.verify(&token, now()).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{name} {value}: {error}");
        assert_eq!(error == TokenError::Expired, problem == "expired", "{name} {value}");
    }
}

/// The published key as the secret of an HMAC, no signature, keys in the header: none of them verifies.
#[tokio::test(start_paused = true)]
async fn forged_tokens_are_refused() {
    let (rsa, p256, ed25519, foreign) =
        (SigningKey::rsa(), SigningKey::p256(), SigningKey::ed25519(), SigningKey::p256());
    let secret = SigningKey::Secret(vec![7; 32]);
    let published = Published::new(&[rsa.jwk("rsa"), p256.jwk("p256"), ed25519.jwk("ed"), secret.jwk("oct")]);
    let verifier = published.verifier();
    let claims = claims();
    let public = SigningKey::Secret(rsa.jwk("rsa").to_string().into_bytes());
    let mut forged: Vec<(String, &str)> = vec![
        (SigningKey::None.sign("rsa", &claims), "alg"),
        (SigningKey::None.sign_with(&json!({"alg": "None", "kid": "rsa"}), &claims), "alg"),
        (SigningKey::None.sign_with(&json!({"alg": "RS256", "kid": "rsa"}), &claims), "signature"),
        (public.sign("rsa", &claims), "alg"),
        (secret.sign("oct", &claims), "alg"),
        (secret.sign_with(&json!({"alg": "ES256", "kid": "oct"}), &claims), "kid"),
        (public.sign_with(&json!({"alg": "RS256", "kid": "rsa"}), &claims), "signature"),
        // The key of another algorithm.
        (p256.sign_with(&json!({"alg": "ES256", "kid": "rsa"}), &claims), "kid"),
        (p256.sign_with(&json!({"alg": "EdDSA", "kid": "ed"}), &claims), "signature"),
        (rsa.sign_with(&json!({"alg": "PS256", "kid": "rsa"}), &claims), "alg"),
        (rsa.sign_with(&json!({"alg": ["RS256"], "kid": "rsa"}), &claims), "not a JWT"),
        (foreign.sign("p256", &claims), "signature"),
        (foreign.sign_with(&json!({"alg": "ES256", "kid": "x", "jwk": foreign.jwk("x")}), &claims), "kid"),
        (p256.sign_with(&json!({"alg": "ES256", "kid": "p256", "typ": "dpop+jwt"}), &claims), "typ"),
        (p256.sign_with(&json!({"alg": "ES256", "kid": "p256", "typ": 5}), &claims), "typ"),
        (
            p256.sign_with(&json!({"alg": "ES256", "kid": "p256", "crit": ["b64"], "b64": false}), &claims),
            "crit",
        ),
        (p256.sign_with(&json!({"alg": "ES256", "kid": "p256", "crit": null}), &claims), "crit"),
        (p256.sign_with(&json!(["ES256"]), &claims), "not a JWT"),
        (p256.sign("p256", &json!([claims.clone()])), "not a JWT"),
        (p256.sign("p256", &json!("claims")), "not a JWT"),
        ("..".to_owned(), "not a JWT"),
        ("a.b.c".to_owned(), "not a JWT"),
    ];
    let valid = p256.sign("p256", &claims);
    let (head, signature) = valid.rsplit_once('.').unwrap();
    let other = p256.sign("p256", &with("sub", json!("eve")));
    let (other, _) = other.rsplit_once('.').unwrap();
    forged.push((format!("{other}.{signature}"), "signature"));
    forged.push((format!("{head}."), "signature"));
    forged.push((format!("{head}.{signature}="), "not a JWT"));
    // A signature of zeros, as with CVE-2022-21449.
    forged.push((format!("{head}.{}", "A".repeat(86)), "signature"));
    for (token, problem) in &forged {
        let error = verifier.verify(token, now()).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{token}: {error}");
        assert!(
            !error.contains(token.as_str()) && error.len() < 120,
            "the reason repeats the token: {error}"
        );
    }
    assert!(verifier.verify(&valid, now()).await.is_ok());
}

/// No character of a token can be changed, removed or repeated.
#[tokio::test(start_paused = true)]
async fn every_change_of_a_token_is_noticed() {
    let key = SigningKey::ed25519();
    let verifier = Published::new(&[key.jwk("1")]).verifier();
    let token = key.sign("1", &claims());
    assert!(verifier.verify(&token, now()).await.is_ok());
    for place in 0..token.len() {
        let (head, tail) = (&token[..place], &token[place + 1..]);
        let this = &token[place..=place];
        let other = if this == "A" { "B" } else { "A" };
        for changed in
            [format!("{head}{other}{tail}"), format!("{head}{tail}"), format!("{head}{this}{this}{tail}")]
        {
            assert!(verifier.verify(&changed, now()).await.is_err(), "{changed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_configured_algorithms_are_accepted() {
    let (rsa, ed25519) = (SigningKey::rsa(), SigningKey::ed25519());
    let published = Published::new(&[rsa.jwk("1"), ed25519.jwk("2")]);
    let config = JwtConfig { algorithms: vec![Algorithm::EdDsa], ..config(KeyLocation::File("none".into())) };
    let verifier = published.verifier_with(&config);
    assert!(verifier.verify(&ed25519.sign("2", &claims()), now()).await.is_ok());
    let error = verifier.verify(&rsa.sign("1", &claims()), now()).await.unwrap_err().to_string();
    assert_eq!(error, "the algorithm of the token (alg) is not one of EdDSA");
}

/// The examples of RFC 7515 (A.2, A.3) and RFC 8037 (A.4).
#[test]
fn signatures_of_the_standards_are_verified() {
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SF",
        "d2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7",
        "WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs",
        "91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    )});
    let p256 = json!({
        "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let claims =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (jwk, algorithm, message, signature) in [
        (
            rsa,
            Algorithm::Rs256,
            format!("eyJhbGciOiJSUzI1NiJ9.{claims}"),
            concat!(
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9u",
                "JdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_e",
                "SN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5",
                "AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
            ),
        ),
        (
            p256,
            Algorithm::Es256,
            format!("eyJhbGciOiJFUzI1NiJ9.{claims}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            ed25519,
            Algorithm::EdDsa,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        use base64::Engine as _;
        let keys = KeySet::parse(key_set(&[jwk]).as_bytes(), &Algorithm::ALL).unwrap();
        let key = keys.find(None, algorithm).unwrap();
        let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(key.verify(message.as_bytes(), &signature), "{algorithm}");
        assert!(!key.verify(format!("{message}x").as_bytes(), &signature), "{algorithm}");
    }
}
