//! Values that can contain a password or are one. Debug and Display redact it; only `expose_secret` returns it.

use gateway::webhooks::{InvalidSecretKeys, SecretKeys};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use broker::redis::{BusKey, MIN_SECRET_BYTES};
use gateway::store::BadUrl;
use processor::handlers::{MAX_SECRETS, Secret};
use secrecy::{ExposeSecret, SecretString};
use url::{Position, Url};

use super::ValueError;

/// The URL of a database.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum DatabaseUrl {
    /// MySQL or MariaDB: a URL for each host, alike in every other part.
    MySql(Vec<Url>),
    /// An SQLite file.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// Returns the URL with its password, in the form that the store accepts.
    pub(crate) fn expose_secret(&self) -> String {
        match self {
            Self::MySql(urls) => joined(urls),
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
        }
    }
}

/// Returns one URL with all hosts.
fn joined(urls: &[Url]) -> String {
    let Some(first) = urls.first() else { return String::new() };
    let hosts: Vec<&str> = urls.iter().map(|url| &url[Position::BeforeHost..Position::AfterPort]).collect();
    [&first[..Position::BeforeHost], &hosts.join(","), &first[Position::AfterPort..]].concat()
}

impl FromStr for DatabaseUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const HINT: &str = "use mysql://user:password@host:3306/database (MySQL, MariaDB; several hosts with commas; \
            percent-encode special characters of the password) or sqlite:path/of/file.db";
        let (scheme, rest) = text.split_once(':').ok_or_else(|| ValueError::new("it is not a URL", HINT))?;
        let invalid = |error: BadUrl| ValueError::new(format!("it {}", error.problem), error.hint);
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                gateway::store::check_database_url(text).map_err(invalid)?;
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            "mysql" | "mariadb" => {
                let hosts = gateway::store::database_hosts(text).map_err(invalid)?;
                let urls: Result<Vec<Url>, _> = hosts.iter().map(|host| Url::parse(host)).collect();
                Ok(Self::MySql(urls.map_err(|error| ValueError::new(error.to_string(), HINT))?))
            }
            "postgres" | "postgresql" | "sqlserver" | "oracle" | "mongodb" => {
                Err(ValueError::new(format!("databases of the kind {scheme:?} are not supported"), HINT))
            }
            // Any other word may be a part of a password.
            _ => Err(ValueError::new("databases of this kind are not supported", HINT)),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(urls) => {
                let hidden: Option<Vec<Url>> = urls.iter().map(without_secrets).collect();
                f.write_str(&hidden.map_or_else(|| "mysql://***".to_owned(), |urls| joined(&urls)))
            }
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL of a server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(Url);

impl ServerUrl {
    /// Parses `http://` and `https://`.
    pub(crate) fn http(text: &str) -> Result<Self, ValueError> {
        Self::parse(text, &["http", "https"], "use a URL such as http://127.0.0.1:8080/path")
    }

    /// Parses the gRPC address of a gateway: `http://host:port`, or `https://` for TLS. The processor uses no other part of a URL.
    pub(crate) fn gateway(text: &str) -> Result<Self, ValueError> {
        const HINT: &str = "use http://host:port such as http://127.0.0.1:50051, or https:// for TLS";
        let Self(url) = Self::parse(text, &["http", "https"], HINT)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(ValueError::new("it has more than a host and a port", HINT));
        }
        Ok(Self(url))
    }

    fn parse(text: &str, schemes: &[&str], hint: &str) -> Result<Self, ValueError> {
        let url = Url::parse(text).map_err(|_| ValueError::new("it is not a URL", hint))?;
        if !schemes.contains(&url.scheme()) {
            return Err(ValueError::new(
                format!("it does not start with {}://", schemes.join(":// or ")),
                hint,
            ));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(ValueError::new("the host is missing", hint));
        }
        Ok(Self(url))
    }

    /// Returns the URL with its password.
    pub(crate) fn expose_secret(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the text of a URL with one host or several, without its password; `None` if it is no URL.
pub(crate) fn redacted_text(text: &str) -> Option<String> {
    if let Ok(url) = Url::parse(text) {
        return Some(redacted(&url));
    }
    /// Stands for several hosts, which the URLs of the web do not have.
    const HOSTS: &str = "hosts.invalid";
    let (scheme, rest) = text.split_once("://")?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    if user.is_empty() && tail.contains('@') {
        // The authority may be the begin of a password that is not encoded.
        return None;
    }
    let url = Url::parse(&format!("{scheme}://{user}{HOSTS}{tail}")).ok()?;
    hosts.contains(',').then(|| redacted(&url).replacen(HOSTS, hosts, 1))
}

/// Returns the URL without its secrets.
///
/// They are the password, a user without a password (Redis reads it as a password, web servers as a token), and the
/// query, which contains the password of a Redis socket and the tokens of web addresses. The user and the options of
/// a database, and the options of an SMTP server, are not secret.
pub(crate) fn redacted(url: &Url) -> String {
    without_secrets(url).map_or_else(|| format!("{}://***", url.scheme()), String::from)
}

/// Parses the URL of a replica.
pub(crate) fn replica_url(text: &str) -> Result<DatabaseUrl, ValueError> {
    match text.parse()? {
        url @ DatabaseUrl::MySql(_) => Ok(url),
        DatabaseUrl::Sqlite(_) => Err(ValueError::new(
            "an SQLite file has no replica",
            "use mysql://user:password@host:3306/database, or remove the setting",
        )),
    }
}

fn without_secrets(url: &Url) -> Option<Url> {
    let mut url = url.clone();
    let database = matches!(url.scheme(), "mysql" | "mariadb");
    let options_only = database || matches!(url.scheme(), "smtp" | "smtps");
    if url.query().is_some() && !options_only {
        url.set_query(Some("***"));
    }
    let hidden = match (url.password(), url.username()) {
        (Some(_), _) => url.set_password(Some("***")),
        (None, "") => Ok(()),
        (None, _) if database => Ok(()),
        (None, _) => url.set_username("***"),
    };
    hidden.ok().map(|()| url)
}

/// Parses a secret.
pub(crate) fn secret(text: &str) -> Result<SecretString, ValueError> {
    const HINT: &str = "use a long random string without whitespace, or remove the setting";
    // Files end with a line break, and so do variables that are read from them.
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(ValueError::new("it is empty", HINT));
    }
    // Both sides must agree about every byte, and these bytes are invisible.
    if secret.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(ValueError::new("it contains whitespace or control characters", HINT));
    }
    Ok(SecretString::from(secret))
}

/// Parses a secret of a webhook.
pub(crate) fn webhook_secret(text: &str) -> Result<Secret, ValueError> {
    const HINT: &str = "create a secret with: echo \"whsec_$(openssl rand -base64 32)\"";
    // Files end with a line break, and so do variables that are read from them.
    let secret = text.trim_end_matches(['\r', '\n']).parse();
    secret.map_err(|error| ValueError::new(format!("it {error}"), HINT))
}

/// Parses the secrets of a webhook, one in each line.
pub(crate) fn webhook_secrets(text: &str) -> Result<Vec<Secret>, ValueError> {
    let lines = text.trim_end_matches(['\r', '\n']).split('\n');
    let secrets = lines.take(MAX_SECRETS + 1).map(webhook_secret).collect::<Result<Vec<_>, _>>()?;
    if secrets.len() > MAX_SECRETS {
        let hint = "write the new secret in the first line, and the previous one below until the receiver has the new one";
        return Err(ValueError::new(format!("it has more than {MAX_SECRETS} lines"), hint));
    }
    Ok(secrets)
}

/// The secrets of the messages between gateways.
#[derive(Clone)]
pub(crate) struct BusSecrets {
    pub(crate) signing: SecretString,
    /// Is accepted as well.
    pub(crate) accepted: Option<SecretString>,
}

impl BusSecrets {
    /// Signs and accepts messages with these secrets from now on.
    pub(crate) fn apply_to(&self, key: &BusKey) {
        let accepted = self.accepted.as_ref().map(|secret| secret.expose_secret().as_bytes());
        key.replace_secrets(self.signing.expose_secret().as_bytes(), accepted);
    }
}

/// Parses the secrets of the messages between gateways: one, or two during a replacement.
pub(crate) fn bus_secrets(text: &str) -> Result<BusSecrets, ValueError> {
    const HINT: &str = "write one with: (umask 077; head -c 32 /dev/urandom | base64 > FILE)";
    let one = |line: &str| {
        if line.len() < MIN_SECRET_BYTES {
            let problem = format!("a secret has {} bytes, and needs at least {MIN_SECRET_BYTES}", line.len());
            return Err(ValueError::new(problem, HINT));
        }
        secret(line).map_err(|ValueError { problem, .. }| ValueError::new(problem, HINT))
    };
    let mut lines = text.trim_ascii_end().lines();
    let signing = one(lines.next().unwrap_or_default())?;
    let accepted = lines.next().map(one).transpose()?;
    match lines.next() {
        None => Ok(BusSecrets { signing, accepted }),
        Some(_) => {
            Err(ValueError::new("it has more than two lines", "remove the secrets that no gateway uses"))
        }
    }
}

/// Parses the keys that encrypt the secrets of webhook endpoints.
pub(crate) fn secret_keys(text: &str) -> Result<SecretKeys, ValueError> {
    let hint = "write one with: (umask 077; openssl rand -base64 32 > FILE)";
    text.parse().map_err(|error: InvalidSecretKeys| ValueError::new(error.to_string(), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_has_no_line_break_and_no_blanks() {
        for text in ["hush", "hush\n", "hush\r\n"] {
            let secret = secret(text).unwrap();
            assert_eq!(secret.expose_secret(), "hush", "{text:?}");
            assert!(!format!("{secret:?}").contains("hush"));
        }
        for text in ["", "\n", " ", " hush", "hush ", "hu sh", "hush\n\thush", "hush\u{a0}"] {
            assert!(secret(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_webhook_has_one_secret_in_each_line() {
        let lines = |text: &str| text.replace('s', &format!("whsec_{}", "hush".repeat(8)));
        for (text, count) in [("s", 1), ("s\n", 1), ("s\r\ns\r\n", 2), ("s\ns\ns\n\n", 3)] {
            let secrets = webhook_secrets(&lines(text)).unwrap();
            assert_eq!(secrets.len(), count, "{text:?}");
            assert!(!format!("{secrets:?}").contains("hush"));
        }
        for text in ["", "\n", "s\n\ns", "s\ns s", " s", "s ", "a", "s\ns\ns\ns"] {
            assert!(webhook_secrets(&lines(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_bus_has_one_secret_or_two() {
        let secrets = |text: &str| bus_secrets(text).map(|secrets| secrets.accepted.is_some());
        assert_eq!(secrets("0123456789abcdef\n"), Ok(false));
        assert_eq!(secrets("0123456789abcdef\r\nfedcba9876543210\n"), Ok(true));
        for text in ["", "0123456789abcde", "0123456789abcdef\nx", "0123456789 abcdef"] {
            assert!(secrets(text).is_err(), "{text:?}");
        }
        assert!(secrets(&"0123456789abcdef\n".repeat(3)).is_err());
    }

    #[test]
    fn redacted_url_has_no_password() {
        for (text, shown) in [
            ("mysql://ann:hush@db/shop?ssl-mode=disabled", "mysql://ann:***@db/shop?ssl-mode=disabled"),
            ("mysql://ann@db/shop", "mysql://ann@db/shop"),
            ("redis://:hush@cache/0", "redis://:***@cache/0"),
            ("redis://hush@cache/0", "redis://***@cache/0"),
            ("unix:///run/redis.sock?db=1&pass=hush", "unix:///run/redis.sock?***"),
            ("https://hush@hook.example/a?key=hush", "https://***@hook.example/a?***"),
            ("http://ann:hush@gateway:50051/", "http://ann:***@gateway:50051/"),
        ] {
            assert_eq!(redacted(&Url::parse(text).unwrap()), shown);
            assert_eq!(redacted_text(text).as_deref(), Some(shown));
        }
        assert_eq!(
            redacted_text("redis+sentinel://:hush@a:1,b:2/shop?sentinel-password=hush").as_deref(),
            Some("redis+sentinel://:***@a:1,b:2/shop?***")
        );
        assert_eq!(redacted_text("redis://:hu/sh@a:x"), None);
        assert_eq!(redacted_text("mysql://ann:hu,sh/x@a/d"), None);
    }

    #[test]
    fn a_list_of_hosts_is_kept_and_shown_without_the_password() {
        let text = "mysql://ann:hush@db:3307,[::1],c/shop?ssl-mode=disabled";
        let url: DatabaseUrl = text.parse().unwrap();
        assert_eq!(url.expose_secret(), text);
        assert_eq!(url.to_string(), text.replace("hush", "***"));
        assert_eq!(format!("{url:?}"), url.to_string());
        assert_eq!(redacted_text(text), Some(url.to_string()));
        assert!(replica_url(text).is_ok() && replica_url("sqlite:orders.db").is_err());
    }
}
