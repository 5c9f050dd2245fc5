//! The URL of a database, and the database that it names.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use url::Url;

use super::host_list;
use super::mysql_url::{BadUrl, FORMS, bad};

/// A database that can be connected to.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) target: Target,
    /// Hosts and ports, or the file, for messages.
    pub(super) shown: String,
}

/// The database that a URL names.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A server of MySQL or MariaDB, or several of which one is the primary, with options that the driver knows.
    MySql(Vec<Url>),
    /// A file of SQLite.
    Sqlite(PathBuf),
}

/// Host and port, or the file, for messages.
pub(super) struct Shown(Mutex<String>);

impl Shown {
    pub(super) fn new(shown: String) -> Self {
        Self(Mutex::new(shown))
    }

    pub(super) fn load(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn store(&self, shown: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, BadUrl> {
        match text.split_once(':') {
            Some(("mysql" | "mariadb", _)) => {
                let urls = host_list::split(text)?;
                let shown = urls.iter().map(host_list::shown).collect::<Vec<_>>().join(", ");
                Ok(Self { target: Target::MySql(urls), shown })
            }
            Some(("sqlite", rest)) => {
                let file = sqlite_file(rest)?;
                let shown = file.display().to_string();
                Ok(Self { target: Target::Sqlite(file), shown })
            }
            _ => Err(bad("must start with mysql:// (MySQL, MariaDB) or sqlite: (a file)", FORMS)),
        }
    }
}

/// Checks whether the URL can name a database.
///
/// # Errors
/// [`BadUrl`].
pub fn check(text: &str) -> Result<(), BadUrl> {
    Address::parse(text).map(drop)
}

/// Reads the path after `sqlite:` unchanged, with percent and number signs. Only a part that looks like an option of
/// another program is refused.
fn sqlite_file(rest: &str) -> Result<PathBuf, BadUrl> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.starts_with(':') {
        return Err(bad("does not name a file", FORMS));
    }
    let last = path.rsplit('/').next().unwrap_or(path);
    if let Some((_, tail)) = last.split_once('?') {
        let name = tail.split_once('=').map(|(name, _)| name);
        if name.is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }) {
            return Err(bad(
                "has options behind the file",
                "remove them: the file is created when it is not there",
            ));
        }
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_character_of_a_path_is_kept() {
        for path in ["a/b.db", "/per%20cent/x", "what?x", "a#b", "über .db", "a?b/c=d", "a?b=c/d.db", "a+b&c"]
        {
            let address = Address::parse(&format!("sqlite:{path}")).unwrap();
            assert!(matches!(address.target, Target::Sqlite(file) if file == Path::new(path)), "{path}");
        }
        for refused in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "sqlite://a.db?cache=shared&mode=rwc",
            "postgres://u:p@h/d",
        ] {
            Address::parse(refused).expect_err(refused);
        }
    }
}
