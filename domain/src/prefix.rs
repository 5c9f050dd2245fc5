//! Prefixes of strings without regard to case, and the text of a search.
//!
//! A prefix knows the ranges of an index that is sorted byte by byte: one for each spelling of its first letters. An index
//! therefore finds the strings that can match, in any case, without a column in lower case.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use crate::order_code::OrderCode;
use crate::order_id::OrderId;
use crate::strings;

/// Maximum number of spellings of the beginning of a prefix, and of its ranges.
const MAX_SPELLINGS: usize = 16;
/// Minimum number of hexadecimal digits of the beginning of an order id.
const MIN_ID_DIGITS: usize = 8;
/// Number of hexadecimal digits of an order id.
const ID_DIGITS: usize = 32;

/// A prefix, compared character by character in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

/// A range of strings, byte by byte: from the first, below the second if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringRange {
    /// The first string.
    pub from: String,
    /// The end, which is not included.
    pub below: Option<String>,
}

impl Prefix {
    /// Parses a prefix of at most `max` characters.
    ///
    /// # Errors
    /// A sentence that states what to change.
    pub fn parse(text: &str, max: usize) -> Result<Self, String> {
        strings::validate(text, max)?;
        Ok(Self(text.chars().flat_map(char::to_lowercase).collect()))
    }

    /// Returns whether a string begins with the prefix, in any case.
    pub fn matches(&self, string: &str) -> bool {
        let mut letters = string.chars().flat_map(char::to_lowercase);
        self.0.chars().all(|letter| letters.next() == Some(letter))
    }

    /// Returns ranges that together contain all strings that match, and others.
    ///
    /// They do not overlap. Each is the set of the strings with one spelling of the first letters.
    pub fn ranges(&self) -> Vec<StringRange> {
        let mut stems = vec![String::new()];
        // The lower case of `\u{130}` is the only one of two characters, and ends with this one.
        for letter in self.0.chars().take_while(|letter| *letter != '\u{307}') {
            let spellings = spellings(letter);
            if stems.len() * spellings.len() > MAX_SPELLINGS {
                break;
            }
            let longer = |stem: &String| {
                let stem = stem.clone();
                spellings.clone().into_iter().map(move |spelling| format!("{stem}{spelling}"))
            };
            stems = stems.iter().flat_map(longer).collect();
        }
        stems.into_iter().map(|from| StringRange { below: successor(&from), from }).collect()
    }
}

/// The other characters whose lower case begins with a character in lower case: `A` of `a`, `K` and the Kelvin sign of `k`.
static OTHER_SPELLINGS: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut spellings: HashMap<char, Vec<char>> = HashMap::new();
    for character in '\0'..=char::MAX {
        if let Some(lower) = character.to_lowercase().next().filter(|lower| *lower != character) {
            spellings.entry(lower).or_default().push(character);
        }
    }
    spellings
});

/// Returns the characters whose lower case begins with this character in lower case.
fn spellings(letter: char) -> Vec<char> {
    let others = OTHER_SPELLINGS.get(&letter).into_iter().flatten().copied();
    std::iter::once(letter).chain(others).collect()
}

/// Returns the first string behind all strings that begin with `stem`; `None` if there is none.
fn successor(stem: &str) -> Option<String> {
    let (at, last) = stem.char_indices().next_back()?;
    let next = char::from_u32(u32::from(last) + 1)?;
    Some(format!("{}{next}", &stem[..at]))
}

/// The text of a search: an order id or at least eight digits of its beginning, the code of an order, or a prefix of a
/// reference or a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText {
    prefix: Prefix,
    ids: Option<RangeInclusive<OrderId>>,
    code: Option<OrderCode>,
}

impl SearchText {
    /// Parses the text of at most `max` characters.
    ///
    /// # Errors
    /// A sentence that states what to change.
    pub fn parse(text: &str, max: usize) -> Result<Self, String> {
        let text = text.trim();
        Ok(Self { prefix: Prefix::parse(text, max)?, ids: ids(text), code: text.parse().ok() })
    }

    /// Returns the prefix of references and customers.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Returns the ids that match, if the text can be the beginning of one.
    pub fn ids(&self) -> Option<&RangeInclusive<OrderId>> {
        self.ids.as_ref()
    }

    /// Returns the code of the orders that match, if the text is one.
    pub fn code(&self) -> Option<OrderCode> {
        self.code
    }

    /// Returns whether an order matches.
    pub fn matches(&self, id: OrderId, reference: Option<&str>, customer: Option<&str>) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.contains(&id))
            || self.code.is_some_and(|code| code == OrderCode::of(id))
            || [reference, customer].into_iter().flatten().any(|string| self.prefix.matches(string))
    }
}

/// Returns the range of the ids that begin with `text`.
fn ids(text: &str) -> Option<RangeInclusive<OrderId>> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let length = digits.len();
    if !(MIN_ID_DIGITS..=ID_DIGITS).contains(&length) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return None;
    }
    let id = |padding: char| {
        let padded: String = digits.chars().chain(std::iter::repeat_n(padding, ID_DIGITS - length)).collect();
        u128::from_str_radix(&padded, 16).ok().map(|number| OrderId::from_bytes(number.to_be_bytes()))
    };
    Some(id('0')?..=id('f')?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text, 200).unwrap()
    }

    #[test]
    fn a_prefix_ignores_case_and_has_no_wildcards() {
        for (text, string, there) in [
            ("ann", "Ann@example.com", true),
            ("ANN@", "ann@example.com", true),
            ("ann@example.com", "ann@example.com", true),
            ("ann@example.com", "ann@example.co", false),
            ("nn", "Ann", false),
            ("a%", "ann", false),
            ("a_n", "ann", false),
            ("äp", "ÄPFEL", true),
            ("kelvin", "\u{212A}ELVIN", true),
            ("i", "\u{130}stanbul", true),
            ("Σ", "σ", true),
        ] {
            assert_eq!(prefix(text).matches(string), there, "{text}: {string}");
        }
        assert!(Prefix::parse(" ", 5).is_err() && Prefix::parse("123456", 5).is_err());
    }

    #[test]
    fn a_prefix_has_few_ranges() {
        let range = |from: &str, below: &str| StringRange { from: from.into(), below: Some(below.into()) };
        assert_eq!(prefix("10%").ranges(), [range("10%", "10&")]);
        assert_eq!(prefix("a-1").ranges(), [range("a-1", "a-2"), range("A-1", "A-2")]);
        assert_eq!(prefix("annabel").ranges().len(), 16);
        assert_eq!(prefix("web-1001").ranges().len(), 8);
        assert_eq!(prefix("ä-").ranges(), [range("ä-", "ä."), range("Ä-", "Ä.")]);
        assert_eq!(prefix("\u{307}").ranges(), [StringRange { from: String::new(), below: None }]);
        assert!(prefix("kiki").ranges().len() <= MAX_SPELLINGS);
    }

    /// Otherwise an index would not find a string that matches.
    #[test]
    fn one_character_has_a_lower_case_of_several() {
        let several: Vec<char> = ('\0'..=char::MAX).filter(|c| c.to_lowercase().count() > 1).collect();
        assert_eq!(several, ['\u{130}']);
        assert_eq!('\u{130}'.to_lowercase().collect::<String>(), "i\u{307}");
        assert_eq!(spellings('k'), ['k', 'K', '\u{212A}']);
    }

    #[test]
    fn an_id_or_its_beginning_is_found() {
        let id: OrderId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        for (text, there) in [
            ("01890a5d-ac96-774b-bcce-b302099a8057", true),
            (" 01890A5DAC96774BBCCEB302099A8057 ", true),
            ("01890a5d", true),
            ("01890a5d-ac96-7", true),
            ("01890a5d-ac97", false),
            ("01890a5", false),
            ("01890a5d-ac96-774b-bcce-b302099a80570", false),
            ("01890a5g", false),
        ] {
            assert_eq!(SearchText::parse(text, 200).unwrap().matches(id, None, None), there, "{text}");
        }
        let text = SearchText::parse("web-1", 200).unwrap();
        assert!(text.matches(id, Some("WEB-1001"), None) && text.matches(id, None, Some("web-1")));
        assert!(!text.matches(id, Some("x-web-1"), None) && !text.matches(id, None, None));
    }

    proptest! {
        #[test]
        fn the_ranges_contain_what_matches(
            text in "[a-cikAIK0-1\u{130}\u{212A}\u{307}äÄ@-]{1,4}",
            string in "[a-cikAIK0-1\u{130}\u{212A}\u{307}äÄ@-]{0,6}",
        ) {
            let prefix = prefix(&text);
            let inside = |range: &&StringRange| {
                range.from <= string && range.below.as_ref().is_none_or(|below| string < *below)
            };
            let count = prefix.ranges().iter().filter(inside).count();
            prop_assert!(count <= 1, "ranges overlap");
            if prefix.matches(&string) {
                prop_assert_eq!(count, 1);
            }
        }
    }
}
