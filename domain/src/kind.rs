//! The kinds of orders: words that route orders to the workers that process them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// The maximum length of a kind.
pub const MAX_KIND: usize = 32;
/// The maximum number of kinds that a worker states.
pub const MAX_WORKER_KINDS: usize = 100;

/// The kind of an order: 1 to [`MAX_KIND`] characters `a-z 0-9 _ -`, of which the first is a letter or a digit. Cheap to
/// clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Kind(Option<Arc<str>>);

/// The string is not a kind.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "must be 1 to {MAX_KIND} characters of a-z, 0-9, _ and -, and begin with a letter or a digit, such as refund"
)]
pub struct InvalidKind;

impl Kind {
    /// The kind of orders for which the client states none.
    pub const DEFAULT: &str = "default";

    /// Returns the word.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(Self::DEFAULT)
    }

    /// Returns whether it is the kind of orders for which the client states none.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }
}

impl FromStr for Kind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let is_valid = bytes.len() <= MAX_KIND
            && bytes.first().is_some_and(|first| is_word(*first))
            && bytes.iter().all(|byte| is_word(*byte) || matches!(byte, b'_' | b'-'));
        match text {
            Self::DEFAULT => Ok(Self(None)),
            text if is_valid => Ok(Self(Some(text.into()))),
            _ => Err(InvalidKind),
        }
    }
}

impl TryFrom<String> for Kind {
    type Error = InvalidKind;

    fn try_from(text: String) -> Result<Self, InvalidKind> {
        text.parse()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The kinds that a worker processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Every kind.
    All,
    /// These.
    Only(BTreeSet<Kind>),
}

/// Orders of the default kind.
impl Default for Kinds {
    fn default() -> Self {
        Self::Only([Kind::default()].into())
    }
}

/// The kinds of a worker are invalid. Continues the name of the field.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum InvalidKinds {
    /// One is no kind.
    #[error("{0}; given: {1:?}")]
    Kind(InvalidKind, String),
    /// There are too many.
    #[error("must have at most {MAX_WORKER_KINDS} kinds, has {0}")]
    TooMany(usize),
}

impl Kinds {
    /// The word for every kind.
    pub const ALL: &str = "*";

    /// Parses words: none are the default kind, and `*` is every kind.
    ///
    /// # Errors
    /// One of them is no kind, or there are more than [`MAX_WORKER_KINDS`].
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, InvalidKinds> {
        if words.len() > MAX_WORKER_KINDS {
            return Err(InvalidKinds::TooMany(words.len()));
        }
        if words.iter().any(|word| word.as_ref() == Self::ALL) {
            return Ok(Self::All);
        }
        let parse = |word: &S| {
            let word = word.as_ref();
            let shown = || word.chars().take(MAX_KIND + 1).collect();
            word.parse().map_err(|error| InvalidKinds::Kind(error, shown()))
        };
        let kinds: BTreeSet<Kind> = words.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(if kinds.is_empty() { Self::default() } else { Self::Only(kinds) })
    }

    /// Returns whether a kind is one of them.
    pub fn contains(&self, kind: &Kind) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => kinds.contains(kind),
        }
    }

    /// Returns the words.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::All => vec![Self::ALL.to_owned()],
            Self::Only(kinds) => kinds.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_short_words() {
        let longest = "x".repeat(MAX_KIND);
        for text in ["default", "refund", "0", "a-b_c", longest.as_str()] {
            assert_eq!(text.parse::<Kind>().unwrap().to_string(), text);
        }
        assert_eq!("default".parse(), Ok(Kind::default()));
        let long = "x".repeat(MAX_KIND + 1);
        for text in ["", "*", "Refund", "_a", "-", "a b", "ä", "a\n", "a:b", long.as_str()] {
            assert_eq!(text.parse::<Kind>(), Err(InvalidKind), "{text}");
        }
    }

    #[test]
    fn workers_without_kinds_process_the_default_one() {
        let kind = |text: &str| text.parse::<Kind>().unwrap();
        let none = Kinds::parse::<&str>(&[]).unwrap();
        assert!(none.contains(&Kind::default()) && !none.contains(&kind("refund")));
        let one = Kinds::parse(&["refund"]).unwrap();
        assert!(one.contains(&kind("refund")) && !one.contains(&Kind::default()));
        assert!(Kinds::parse(&["refund", "*"]).unwrap().contains(&kind("other")));
        assert_eq!(Kinds::parse(&["b", "a", "b"]).unwrap().words(), ["a", "b"]);
        assert!(Kinds::parse(&["A"]).unwrap_err().to_string().contains("\"A\""));
        assert_eq!(Kinds::parse(&vec!["a"; 101]), Err(InvalidKinds::TooMany(101)));
    }
}
