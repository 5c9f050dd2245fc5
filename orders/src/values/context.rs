//! Values of contexts: their names, and the URLs of their gateways.

use std::fmt;
use std::str::FromStr;

use super::{ServerUrl, ValueError};

/// Maximum length of a name.
const MAX_NAME: usize = 63;

/// The name of a context: of a gateway and the key for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ContextName(String);

impl ContextName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContextName {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let is_name = name.len() <= MAX_NAME
            && name.chars().all(allowed)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if is_name {
            return Ok(Self(name.to_owned()));
        }
        Err(ValueError::new(
            "it is not the name of a context",
            "use 1 to 63 lower-case letters, digits, `.`, `_` and `-`; the first one is a letter or a digit",
        ))
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses the URL of the gateway of a context, which has no other secret than its key.
pub(crate) fn context_url(text: &str) -> Result<ServerUrl, ValueError> {
    let parsed = ServerUrl::http(text)?;
    let url = parsed.expose_secret();
    let is_bare = url.username().is_empty() && url.password().is_none();
    if is_bare && url.query().is_none() && url.fragment().is_none() {
        return Ok(parsed);
    }
    Err(ValueError::new(
        "it has a user, a password, a query or a fragment",
        "use a URL such as https://orders.example.com or http://127.0.0.1:8080/path",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["a", "7", "shop", "shop-1.eu_west", &"x".repeat(MAX_NAME)] {
            assert_eq!(name.parse::<ContextName>().unwrap().as_str(), name);
        }
        for name in ["", "-a", ".", "_a", "A", "a b", "a/b", "é", "a\n", "*", &"x".repeat(MAX_NAME + 1)] {
            assert!(name.parse::<ContextName>().is_err(), "{name:?}");
        }
        limits_page::row("name of a context", &format!("{MAX_NAME} characters"));
    }

    #[test]
    fn urls_contain_no_secret() {
        for url in ["http://127.0.0.1:3000", "https://orders.example/below"] {
            assert!(context_url(url).is_ok(), "{url}");
        }
        for url in [
            "orders.example",
            "ftp://orders.example",
            "https://ann:hush@orders.example",
            "https://hush@orders.example",
            "https://orders.example?key=hush",
            "https://orders.example#hush",
        ] {
            assert!(!context_url(url).unwrap_err().to_string().contains("hush"), "{url}");
        }
    }
}
