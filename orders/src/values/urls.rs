//! Values that may hold a password, which only `reveal` gives away.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use gateway::store::BadUrl;
use url::Url;

use super::Wrong;

/// Which database to use. Its Debug and Display hide the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum DatabaseUrl {
    /// MySQL or MariaDB.
    MySql(Url),
    /// A file of ours.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// As the gateway's store takes it; with the password.
    pub(crate) fn reveal(&self) -> String {
        match self {
            Self::MySql(url) => url.to_string(),
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "use mysql://user:password@host:3306/database (MySQL, MariaDB; percent-encode \
            special characters of the password) or sqlite:path/of/file.db";
        let (scheme, rest) = text.split_once(':').ok_or_else(|| Wrong::new("it is not a URL", HINT))?;
        let wrong = |error: BadUrl| Wrong::new(format!("it {}", error.problem), error.hint);
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                gateway::store::check_database_url(text).map_err(wrong)?;
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            "mysql" | "mariadb" => {
                gateway::store::check_database_url(text).map_err(wrong)?;
                let url = Url::parse(text).map_err(|error| Wrong::new(error.to_string(), HINT))?;
                Ok(Self::MySql(url))
            }
            other => Err(Wrong::new(format!("databases of the kind {other:?} are not supported"), HINT)),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(url) => f.write_str(&masked(url)),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URL whose password is hidden by Debug and Display.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(Url);

impl ServerUrl {
    /// `redis://` or `rediss://`.
    pub(crate) fn redis(text: &str) -> Result<Self, Wrong> {
        Self::parse(
            text,
            &["redis", "rediss", "valkey", "valkeys", "unix"],
            "use redis://host:6379, redis://user:password@host:6379/0, rediss://… for TLS or unix:///path",
        )
    }

    /// `http://` or `https://`.
    pub(crate) fn http(text: &str) -> Result<Self, Wrong> {
        Self::parse(text, &["http", "https"], "use a URL such as http://127.0.0.1:8080/path")
    }

    /// The gRPC address of a gateway: `http://host:port` and nothing else, because the processor has
    /// no use for the rest.
    pub(crate) fn gateway(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "use http://host:port such as http://127.0.0.1:50051";
        let Self(url) = Self::parse(text, &["http"], HINT)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(Wrong::new("it has more than a host and a port", HINT));
        }
        Ok(Self(url))
    }

    fn parse(text: &str, schemes: &[&str], hint: &str) -> Result<Self, Wrong> {
        let url = Url::parse(text).map_err(|_| Wrong::new("it is not a URL", hint))?;
        if !schemes.contains(&url.scheme()) {
            return Err(Wrong::new(format!("it does not start with {}://", schemes.join(":// or ")), hint));
        }
        if url.host_str().is_none_or(str::is_empty) && url.scheme() != "unix" {
            return Err(Wrong::new("the host is missing", hint));
        }
        Ok(Self(url))
    }

    /// The URL with its password.
    pub(crate) fn reveal(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL without its password: not the one behind the user, not the user that stands alone (Redis
/// reads that as a password, web servers as a token), and not the query, which holds the password of a
/// Redis socket and the tokens of web addresses. A database's user and options are no secrets.
pub(crate) fn masked(url: &Url) -> String {
    let mut url = url.clone();
    let database = matches!(url.scheme(), "mysql" | "mariadb");
    if url.query().is_some() && !database {
        url.set_query(Some("***"));
    }
    let hidden = match (url.password(), url.username()) {
        (Some(_), _) => url.set_password(Some("***")),
        (None, "") => Ok(()),
        (None, _) if database => Ok(()),
        (None, _) => url.set_username("***"),
    };
    match hidden {
        Ok(()) => url.to_string(),
        Err(()) => format!("{}://***", url.scheme()),
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "use a long random string without whitespace, or remove the setting";
        // Files end with a line break, and so do variables that are read from them.
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(Wrong::new("it is empty", HINT));
        }
        // Both sides have to agree about every byte, and nobody sees these.
        if secret.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Wrong::new("it contains whitespace or control characters", HINT));
        }
        Ok(Self(secret.to_owned()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_lose_the_line_break_and_have_no_blanks() {
        for text in ["hush", "hush\n", "hush\r\n"] {
            assert_eq!(text.parse::<Secret>().unwrap().reveal(), "hush", "{text:?}");
        }
        for text in ["", "\n", " ", " hush", "hush ", "hu sh", "hush\n\thush", "hush\u{a0}"] {
            assert!(text.parse::<Secret>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_password_is_shown_wherever_it_stands() {
        for (text, shown) in [
            ("mysql://ann:hush@db/shop?ssl-mode=disabled", "mysql://ann:***@db/shop?ssl-mode=disabled"),
            ("mysql://ann@db/shop", "mysql://ann@db/shop"),
            ("redis://:hush@cache/0", "redis://:***@cache/0"),
            ("redis://hush@cache/0", "redis://***@cache/0"),
            ("unix:///run/redis.sock?db=1&pass=hush", "unix:///run/redis.sock?***"),
            ("https://hush@hook.example/a?key=hush", "https://***@hook.example/a?***"),
            ("http://ann:hush@gateway:50051/", "http://ann:***@gateway:50051/"),
        ] {
            assert_eq!(masked(&Url::parse(text).unwrap()), shown);
        }
    }
}
