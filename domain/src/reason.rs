//! Groups the reasons of failures: a normal form without variable parts, and a pattern that selects reasons.
//!
//! Start at [`normalize`]. It reads no list of known messages: what varies between two failures of one cause is recognised
//! by its form.

use std::fmt;

use crate::strings;

/// Characters that can precede a quoted string. None of them is part of a replaced word.
const BEFORE_QUOTE: &str = " ([{<=,;|";
/// Characters that can follow a quoted string.
const BEHIND_QUOTE: &str = " )]}>=,;|";
/// Characters that end a word, besides spaces and quotes.
const SEPARATORS: &str = "()[]{}<>=,;|";
/// Characters at the end of a word that belong to the sentence.
const PUNCTUATION: &[char] = &['.', ':', '!', '?'];
/// Words before a number that names a kind of failure.
const KEEP_NEXT: [&str; 4] = ["http", "status", "code", "error"];
/// Minimum length of a word of letters and digits that is an id.
const MIN_ID: usize = 8;

/// Returns the normal form of a reason: numbers, ids, quoted strings, addresses and times become `*`.
///
/// A number of three digits after `HTTP`, `status`, `code` or `error` stays. The result is not longer than the reason, has
/// at most [`strings::MAX_REASON`] characters and never two adjacent `*`. The normal form of a normal form is the same.
pub fn normalize(reason: &str) -> String {
    let text: String = reason.chars().take(strings::MAX_REASON).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut form = NormalForm::default();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => form.quoted(rest, first),
            ' ' => form.raw(" "),
            separator if SEPARATORS.contains(separator) => form.raw(&rest[..separator.len_utf8()]),
            _ => form.word(&rest[..word_length(rest)]),
        };
        rest = &rest[length..];
    }
    form.text
}

/// The normal form under construction.
#[derive(Default)]
struct NormalForm {
    text: String,
    /// Whether the previous word keeps a number behind it.
    keeps_number: bool,
}

impl NormalForm {
    /// Adds a string as it is. Returns its length.
    fn raw(&mut self, text: &str) -> usize {
        for character in text.chars() {
            if character != '*' || !self.text.ends_with('*') {
                self.text.push(character);
            }
        }
        text.len()
    }

    /// Adds the string that begins with a quote. Returns the length that was read.
    fn quoted(&mut self, rest: &str, quote: char) -> usize {
        let opens = self.text.chars().next_back().is_none_or(|before| BEFORE_QUOTE.contains(before));
        let ends = |end: &usize| {
            let behind = rest[end + 1..].trim_start_matches(PUNCTUATION).chars().next();
            behind.is_none_or(|behind| BEHIND_QUOTE.contains(behind))
        };
        let end = rest.match_indices(quote).map(|(at, _)| at).skip(1).find(ends).filter(|_| opens);
        self.keeps_number = false;
        match end {
            // An empty one would become longer.
            Some(1) | None => self.raw(&rest[..1]),
            Some(end) => {
                self.text.extend([quote, '*', quote]);
                end + 1
            }
        }
    }

    /// Adds a word, without its variable parts. Returns its length.
    fn word(&mut self, word: &str) -> usize {
        let core = word.trim_end_matches(PUNCTUATION);
        let number = core.len() == 3 && core.bytes().all(|byte| byte.is_ascii_digit());
        let is_kept = number && self.keeps_number;
        self.keeps_number = KEEP_NEXT.iter().any(|keep| core.eq_ignore_ascii_case(keep));
        if is_kept {
            self.raw(core);
        } else if is_variable(core) {
            self.raw("*");
        } else {
            self.without_numbers(core);
        }
        self.raw(&word[core.len()..]);
        word.len()
    }

    /// Adds a word whose numbers become `*`.
    fn without_numbers(&mut self, word: &str) {
        for part in word.split_inclusive(|character: char| !character.is_numeric()) {
            let digits = part.trim_end_matches(|character: char| !character.is_numeric());
            if !digits.is_empty() {
                self.raw("*");
            }
            self.raw(&part[digits.len()..]);
        }
    }
}

/// Returns the length of the word at the beginning of a string.
fn word_length(text: &str) -> usize {
    let ends = |c: char| c == ' ' || "\"'`".contains(c) || SEPARATORS.contains(c);
    text.find(ends).unwrap_or(text.len())
}

/// Returns whether a word is variable as a whole: a number with its unit, a time, an address or an id.
fn is_variable(word: &str) -> bool {
    let digits = word.chars().filter(|character| character.is_numeric()).count();
    let begins_with_number =
        word.trim_start_matches(['+', '-', '#', '$', '€', '~', '/']).starts_with(char::is_numeric);
    let is_id = digits >= 2
        && word.len() >= MIN_ID
        && word.chars().all(|c| c.is_alphanumeric())
        && word.chars().any(char::is_alphabetic);
    let is_uuid = word.len() == 36 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_ip6 = word.matches(':').count() >= 2
        && word.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'%'));
    let is_mail = word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    begins_with_number || is_id || is_uuid || is_ip6 || is_mail || word.contains("://")
}

/// Selects orders by the reason of their latest event.
///
/// A pattern without `**` selects the reasons with the same normal form, those of one group. `**` stands for any characters:
/// such a pattern is compared with the reason and with its normal form. The empty pattern selects orders without a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonPattern(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Normal(String),
    Wildcards(String),
}

impl ReasonPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// A sentence that states what to change.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() {
            strings::validate(text, strings::MAX_REASON)?;
        }
        Ok(Self(if text.contains("**") {
            Pattern::Wildcards(text.to_owned())
        } else {
            Pattern::Normal(normalize(text))
        }))
    }

    /// Returns whether the reason of an order matches.
    pub fn matches(&self, reason: Option<&str>) -> bool {
        let reason = reason.unwrap_or_default();
        match &self.0 {
            Pattern::Normal(form) => normalize(reason) == *form,
            Pattern::Wildcards(pattern) => {
                matches_wildcards(pattern, reason) || matches_wildcards(pattern, &normalize(reason))
            }
        }
    }
}

impl fmt::Display for ReasonPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Normal(text) | Pattern::Wildcards(text) => f.write_str(text),
        }
    }
}

/// Compares a string with a pattern in which `**` stands for any characters.
fn matches_wildcards(pattern: &str, text: &str) -> bool {
    let Some((begin, middle)) = pattern.split_once("**") else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(begin) else { return false };
    let (middle, end) = middle.rsplit_once("**").map_or(("", middle), |(middle, end)| (middle, end));
    for part in middle.split("**") {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variable_parts_become_a_star() {
        for (reason, form) in [
            ("", ""),
            ("HTTP 503 from host-12", "HTTP 503 from host-*"),
            ("status 404: no route", "status 404: no route"),
            ("retry 503 of 1000", "retry * of *"),
            ("took 12.5s, limit 5,000 ms", "took *, limit *,* ms"),
            ("at 2026-01-31T12:00:00.5Z", "at *"),
            ("at 2026-01-31 12:00", "at * *"),
            ("order 01a205a9-3e31-7b03-b046-4e2634bec0b0 is unknown", "order * is unknown"),
            ("order deadbeef-3e31-7b03-b046-4e2634bec0b0 is unknown", "order * is unknown"),
            ("trace k3J9x2Qa.", "trace *."),
            ("refused by 10.0.0.7:8080", "refused by *"),
            ("refused by [fe80::1]:80", "refused by [*]:*"),
            ("fe80::a:b: unreachable", "*: unreachable"),
            ("GET https://shop.example/a?b=c failed", "GET *=c failed"),
            ("mail to <ann@example.com> bounced", "mail to <*> bounced"),
            ("user=ann@example.com id=77", "user=* id=*"),
            ("no field \"price\" in 'a b'", "no field \"*\" in '*'"),
            ("can't open `x y`: it's gone", "can't open `*`: it's gone"),
            ("worker7 lost   shard_3_b", "worker* lost shard_*_b"),
            ("amount $12.00 is above €5", "amount * is above *"),
            ("2 * 3 ** 4", "* * * * *"),
            ("Größe ٣ fehlt", "Größe * fehlt"),
        ] {
            assert_eq!(normalize(reason), form, "{reason}");
        }
    }

    #[test]
    fn patterns_select_one_group_or_use_wildcards() {
        for (pattern, reason, there) in [
            ("HTTP 503 from host-*", "HTTP 503 from host-7", true),
            ("HTTP 503 from host-7", "HTTP 503 from host-8", true),
            ("HTTP 503 from host-*", "HTTP 500 from host-7", false),
            // A group whose name continues another one is a separate group.
            ("HTTP 503 from host-*", "HTTP 503 from host-7 after 3 s", false),
            ("HTTP 503**", "HTTP 503 from host-7 after 3 s", true),
            ("**host-7**", "HTTP 503 from host-7 after 3 s", true),
            ("**host-8**", "HTTP 503 from host-7 after 3 s", false),
            ("**host-***", "HTTP 503 from host-7", true),
            ("a**b**c", "a-b-c", true),
            ("a**b**c", "a-c-b", false),
            ("ab**b", "ab", false),
            ("100%", "100_", true),
            ("a%", "ab", false),
            ("", "it broke", false),
        ] {
            let parsed = ReasonPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(Some(reason)), there, "{pattern}: {reason}");
        }
        assert!(ReasonPattern::parse("").unwrap().matches(None));
        assert!(!ReasonPattern::parse("x").unwrap().matches(None));
        for bad in [" ", "a\nb", &"x".repeat(strings::MAX_REASON + 1)] {
            assert!(ReasonPattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    fn reasons() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            "[a-f0-9:.@/ '\"`*=,-]{0,12}",
            "(HTTP|code) [0-9]{2,4}[.:]?",
            "[a-zA-Z0-9]{6,10}",
            "\\PC{0,6}",
        ];
        prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
        #[test]
        fn a_normal_form_is_bounded_and_its_own_normal_form(reason in reasons()) {
            let form = normalize(&reason);
            prop_assert!(form.chars().count() <= reason.chars().count());
            prop_assert!(!form.contains("**"));
            prop_assert_eq!(normalize(&form), form.clone());
            // The pattern of a group selects the orders of the group.
            if let Ok(pattern) = ReasonPattern::parse(&form) {
                prop_assert!(pattern.matches(Some(&reason)));
            }
        }

        #[test]
        fn long_reasons_are_bounded(reason in "\\PC{490,700}") {
            let form = normalize(&reason);
            prop_assert!(form.chars().count() <= strings::MAX_REASON);
            prop_assert_eq!(normalize(&form), form);
        }
    }
}
