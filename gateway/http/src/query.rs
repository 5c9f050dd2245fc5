//! Parses query strings strictly: unknown parameters, and repeated ones with a single value, are errors.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use domain::ErrorCode;
use url::form_urlencoded;

use super::problem::{InputError, MAX_ERRORS, Problem};

/// Maximum length of a name of the client in an error, in characters.
const MAX_NAME: usize = 100;

/// The parameters of one request and their errors.
#[derive(Debug)]
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    errors: Vec<InputError>,
}

impl<'a> Query<'a> {
    /// Parses the query string. A parameter that is not `known` is an error. A known name that ends with a dot permits all
    /// parameters that begin with it.
    pub fn new(query: Option<&'a str>, known: &[&str]) -> Self {
        let mut errors = Vec::new();
        let (pairs, unknown): (Vec<_>, Vec<_>) = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .partition(|(name, _)| known.iter().any(|known| is_named(name, known)));
        for (name, _) in unknown.into_iter().take(MAX_ERRORS) {
            let name: String = name.chars().take(MAX_NAME).collect();
            let detail = match known {
                [] => "is not known here; there are no parameters".to_owned(),
                _ => format!("is not known here; known are {}", known.join(", ")),
            };
            errors.push(InputError::parameter(name, detail));
        }
        Self { pairs, errors }
    }

    /// Returns all known parameters except those with these names, for a link.
    pub fn pairs_without(&self, names: &[&str]) -> Vec<(String, String)> {
        let kept = self.pairs.iter().filter(|(key, _)| !names.contains(&key.as_ref()));
        kept.map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    /// Returns the rests of the names that begin with a prefix, and their values.
    pub fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let named = self.pairs.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
        named.map(|(rest, value)| (rest.to_owned(), value.to_string())).collect()
    }

    /// Returns all values of the parameter.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.to_string()).collect()
    }

    /// Returns the single value of the parameter. A repetition is an error.
    pub fn one(&mut self, name: &'static str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.add(name, "is there more than once");
        }
        values.pop()
    }

    /// Parses the single value of the parameter. The parse error completes the sentence "is …".
    pub fn parse<T: FromStr>(&mut self, name: &'static str) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.one(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(name, format!("is {error}"));
                None
            }
        }
    }

    /// Adds the error of a parameter.
    pub fn add(&mut self, name: &'static str, detail: impl Into<Cow<'static, str>>) {
        self.errors.push(InputError::parameter(name, detail));
    }

    /// Returns the collected errors as a problem.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::input(ErrorCode::InvalidInput, self.errors))
        }
    }
}

fn is_named(name: &str, known: &str) -> bool {
    name == known || (known.ends_with('.') && name.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_repeated_and_invalid_parameters_are_reported() {
        let mut query = Query::new(Some("limit=x&after=1&after=2&%66oo=1"), &["limit", "after"]);
        assert_eq!(query.parse::<u32>("limit"), None);
        query.one("after");
        let problem = serde_json::to_value(query.finish().unwrap_err()).unwrap();
        assert!(problem["detail"].as_str().unwrap().starts_with("foo is not known here"), "{problem}");
        let names: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| &e["parameter"]).collect();
        assert_eq!(names, ["foo", "limit", "after"]);
    }

    #[test]
    fn details_are_sentences() {
        let detail = |text, known: &[&str]| {
            let mut query = Query::new(Some(text), known);
            query.parse::<domain::OrderId>("after");
            serde_json::to_value(query.finish().unwrap_err()).unwrap()["detail"].as_str().unwrap().to_owned()
        };
        assert!(detail("=1", &[]).starts_with("a parameter without a name is not known here"));
        assert!(detail("after=1", &["after"]).starts_with("after is not an order id"));
    }

    #[test]
    fn parameters_can_share_a_prefix() {
        let mut query =
            Query::new(Some("metadata.a=1&metadata.b.c=2&metadat=3&limit=4"), &["limit", "metadata."]);
        let pairs = [("a", "1"), ("b.c", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(query.with_prefix("metadata."), pairs);
        assert_eq!(query.one("limit").as_deref(), Some("4"));
        assert!(query.finish().is_err());
    }

    #[test]
    fn missing_query_is_accepted() {
        let mut query = Query::new(None, &["limit"]);
        assert_eq!(query.one("limit"), None);
        assert!(query.finish().is_ok());
    }
}
