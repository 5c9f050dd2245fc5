//! Values that may hold a password, which only `reveal` gives away.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

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
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path.starts_with(':') || path.contains('?') {
                    return Err(Wrong::new("it does not name a file", HINT));
                }
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            "mysql" | "mariadb" => {
                let url = Url::parse(text).map_err(|error| Wrong::new(error.to_string(), HINT))?;
                if url.host_str().is_none_or(str::is_empty) {
                    return Err(Wrong::new("the host is missing", HINT));
                }
                if url.path().trim_matches('/').is_empty() {
                    return Err(Wrong::new("the name of the database is missing", HINT));
                }
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
            &["redis", "rediss", "unix"],
            "use redis://host:6379, redis://user:password@host:6379/0, rediss://… for TLS or unix:///path",
        )
    }

    /// `http://` or `https://`.
    pub(crate) fn http(text: &str) -> Result<Self, Wrong> {
        Self::parse(text, &["http", "https"], "use a URL such as http://127.0.0.1:50051")
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

/// The URL without its password, and without the query of a web address, which may be one.
pub(crate) fn masked(url: &Url) -> String {
    let mut url = url.clone();
    if url.query().is_some() && matches!(url.scheme(), "http" | "https") {
        url.set_query(Some("***"));
    }
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return format!("{}://***", url.scheme());
    }
    url.to_string()
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
        if text.is_empty() {
            return Err(Wrong::new("it is empty", "give a long random text, or leave the setting out"));
        }
        Ok(Self(text.to_owned()))
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
