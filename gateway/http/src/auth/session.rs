//! Sessions of browsers: a cookie that contains an encrypted credential.
//!
//! A page cannot keep a key out of the reach of its scripts, but a browser can keep a cookie. The cookie contains the
//! credential and the end of the session, encrypted with a key that only the gateways of an installation know. Each
//! request decrypts it, so that no gateway stores sessions, and a revoked credential ends its sessions.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::Timestamp;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Lifetime of a session.
pub const SESSION_TTL: Duration = Duration::from_secs(12 * 60 * 60);
/// Maximum length of the credential of a session. A browser stores cookies of up to 4,096 bytes.
pub const MAX_SESSION_CREDENTIAL: usize = 2_560;

/// The name of the cookie over HTTPS: browsers accept the prefix only from this host, with `Secure`.
const SECURE_NAME: &str = "__Host-orders";
/// The name of the cookie over HTTP.
const NAME: &str = "orders-session";
/// The scheme of a session in the header `Authorization`.
const SCHEME: &[u8] = b"Session ";
/// Distinguishes the encrypted bytes from those for another purpose.
const PURPOSE: &[u8] = b"session v1";
/// Length of the end of a session, in microseconds since 1970.
const END_LEN: usize = 8;

/// Encrypts and decrypts sessions.
pub struct Sessions {
    key: LessSafeKey,
    random: SystemRandom,
}

/// Why a cookie is not a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidSession {
    /// It has not the form of a session of this installation.
    Malformed,
    /// The session has ended.
    Ended,
}

impl Sessions {
    /// Creates the sessions of an installation from a secret of its gateways.
    pub fn new(secret: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, secret).expect("the key has the length of the algorithm");
        Self { key: LessSafeKey::new(key), random: SystemRandom::new() }
    }

    /// Returns the value of the cookie of a new session; `None` if the credential is too long.
    pub(super) fn seal(&self, credential: &str, end: Timestamp) -> Option<String> {
        if credential.len() > MAX_SESSION_CREDENTIAL {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = end.as_micros().to_be_bytes().to_vec();
        sealed.extend_from_slice(credential.as_bytes());
        let aad = Aad::from(PURPOSE);
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// Returns the header `Authorization` that is equivalent to a session, and the end of the session.
    pub(super) fn open(&self, value: &[u8], now: Timestamp) -> Result<(Vec<u8>, Timestamp), InvalidSession> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(value).map_err(|_| InvalidSession::Malformed)?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(InvalidSession::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| InvalidSession::Malformed)?;
        let mut bytes = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(PURPOSE), &mut bytes);
        let opened = opened.map_err(|_| InvalidSession::Malformed)?;
        let (end, credential) = opened.split_first_chunk::<END_LEN>().ok_or(InvalidSession::Malformed)?;
        let end = Timestamp::from_micros(i64::from_be_bytes(*end));
        if end <= now {
            Err(InvalidSession::Ended)
        } else {
            Ok(([&b"Bearer "[..], credential].concat(), end))
        }
    }
}

/// Returns the value of a header `Authorization` with the scheme of sessions.
pub(super) fn of_header(authorization: &[u8]) -> Option<&[u8]> {
    authorization.strip_prefix(SCHEME)
}

/// Returns the header `Authorization` of the session in the cookies of a request.
pub(super) fn from_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = |wanted: &str| {
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut cookies =
            lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let value = value(SECURE_NAME).or_else(|| value(NAME))?;
    let mut header = HeaderValue::try_from([SCHEME, value.as_bytes()].concat()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Returns the header `Set-Cookie` that begins a session.
pub(super) fn set_cookie(value: &str, is_secure: bool) -> Option<HeaderValue> {
    let age = SESSION_TTL.as_secs();
    let (name, secure) = if is_secure { (SECURE_NAME, "; Secure") } else { (NAME, "") };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    let mut header = HeaderValue::try_from(cookie).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Returns the headers `Set-Cookie` that end a session.
pub fn clear_cookies() -> [HeaderValue; 2] {
    [
        HeaderValue::from_static("__Host-orders=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure"),
        HeaderValue::from_static("orders-session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_session_contains_a_credential_until_its_end() {
        let sessions = Sessions::new(&[1; 32]);
        let value = sessions.seal("ord_key", at(100)).unwrap();
        assert!(!value.contains("ord_"));
        let (authorization, end) = sessions.open(value.as_bytes(), at(99)).unwrap();
        assert_eq!((&authorization[..], end), (&b"Bearer ord_key"[..], at(100)));
        assert_eq!(sessions.open(value.as_bytes(), at(100)).unwrap_err(), InvalidSession::Ended);
        let other = Sessions::new(&[2; 32]);
        assert_eq!(other.open(value.as_bytes(), at(99)).unwrap_err(), InvalidSession::Malformed);
        assert_ne!(sessions.seal("ord_key", at(100)).unwrap(), value, "a nonce is used once");
    }

    #[test]
    fn a_changed_session_is_refused() {
        let sessions = Sessions::new(&[1; 32]);
        let value = sessions.seal("ord_key", at(100)).unwrap();
        for n in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[n] = if changed[n] == b'A' { b'B' } else { b'A' };
            assert_eq!(sessions.open(&changed, at(99)).unwrap_err(), InvalidSession::Malformed, "byte {n}");
        }
        for wrong in ["", "x", "AAAA", "ord_key", &value[1..], &value[..value.len() - 2]] {
            assert!(sessions.open(wrong.as_bytes(), at(99)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(from_cookies(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("a=b; orders-session=abc;x"));
        assert_eq!(from_cookies(&headers).unwrap(), "Session abc");
        headers.append(COOKIE, HeaderValue::from_static("__Host-orders=def"));
        assert_eq!(of_header(from_cookies(&headers).unwrap().as_bytes()), Some(&b"def"[..]));
        let cookie = set_cookie("abc", true).unwrap();
        assert!(cookie.to_str().unwrap().starts_with("__Host-orders=abc; Path=/; HttpOnly; SameSite=Strict"));
        assert!(cookie.to_str().unwrap().ends_with("Max-Age=43200; Secure"));
        assert!(set_cookie("abc", false).unwrap().to_str().unwrap().starts_with("orders-session=abc"));
    }

    #[test]
    fn a_session_fits_into_a_cookie() {
        let sessions = Sessions::new(&[1; 32]);
        let value = sessions.seal(&"x".repeat(MAX_SESSION_CREDENTIAL), at(100)).unwrap();
        assert!(set_cookie(&value, true).unwrap().len() < 4_096);
        assert_eq!(sessions.seal(&"x".repeat(MAX_SESSION_CREDENTIAL + 1), at(100)), None);
        limits_page::row("session of a page", &format!("{} h", SESSION_TTL.as_secs() / 3_600));
        limits_page::row("credential of a session", &limits_page::bytes(MAX_SESSION_CREDENTIAL));
    }
}
