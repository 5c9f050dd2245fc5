//! The signature of Standard Webhooks, symmetric (`v1`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// The header with the id of the message, the same for all attempts.
pub const HEADER_ID: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since 1970.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures.
pub const HEADER_SIGNATURE: &str = "webhook-signature";

/// The maximum number of secrets that sign a request.
pub const MAX_SECRETS: usize = 3;

/// Returns the signatures of a request with each secret, separated by spaces.
///
/// Each is `v1,` and the HMAC-SHA256 of `{id}.{timestamp_secs}.{body}` in base64. An id contains no dot.
pub fn sign(secrets: &[Secret], id: &str, timestamp_secs: u64, body: &[u8]) -> String {
    let signature = |secret: &Secret| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp_secs.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    /// The example of the standard's libraries.
    #[test]
    fn signature_is_that_of_the_known_example() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&secret), ID, TIME, BODY), expected);
        assert_ne!(sign(std::slice::from_ref(&secret), ID, TIME + 1, BODY), expected);
    }

    #[test]
    fn each_secret_signs_in_order() {
        let secrets = [Secret::generate(), Secret::generate()];
        let both = sign(&secrets, ID, TIME, BODY);
        let alone = secrets.each_ref().map(|secret| sign(std::slice::from_ref(secret), ID, TIME, BODY));
        assert_eq!(both, alone.join(" "));
        assert_eq!(sign(&[], ID, TIME, BODY), "");
    }
}
