//! Checks the source of a document before it is parsed.

use std::borrow::Cow;

use domain::ErrorCode;

use super::limit_exceeded::LimitExceeded;
use crate::config::Config;

/// Maximum number of open brackets of any kind. The parser recurses for each.
const MAX_BRACKETS: usize = 64;

/// Checks that a source is safe to parse, in linear time.
pub(crate) fn check_text(text: &str, limits: &Config) -> Result<(), LimitExceeded> {
    if text.len() > limits.max_document_size {
        let (length, most) = (text.len(), limits.max_document_size);
        let message = format!("the document has {length} bytes: the most is {most}");
        return Err(LimitExceeded { limit: "document", code: ErrorCode::DocumentTooLarge, message });
    }
    // Brackets in strings and comments count as well: so every bracket that the parser sees is counted, and real
    // documents do not have this number of unbalanced ones.
    let mut open: usize = 0;
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'(' => open += 1,
            b'}' | b']' | b')' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_BRACKETS {
            return Err(LimitExceeded::over("brackets", "nested brackets", MAX_BRACKETS));
        }
    }
    if tokens(text.as_bytes()).count() > limits.max_tokens {
        return Err(LimitExceeded::over("tokens", "tokens", limits.max_tokens));
    }
    Ok(())
}

/// Replaces the descriptions of operations, fragments and variables by spaces.
///
/// The specification permits them since 2025, and the parser does not support them. All other bytes keep their offsets.
pub(crate) fn without_descriptions(text: &str) -> Cow<'_, str> {
    if !text.contains('"') {
        return Cow::Borrowed(text);
    }
    let tokens: Vec<&[u8]> = tokens(text.as_bytes()).collect();
    let mut blank = Vec::new();
    let mut open: usize = 0;
    for (n, token) in tokens.iter().enumerate() {
        let next = tokens.get(n + 1).copied().unwrap_or_default();
        match token {
            [b'{' | b'[' | b'(', ..] => open += 1,
            [b'}' | b']' | b')', ..] => open = open.saturating_sub(1),
            [b'"', .., b'"'] => {
                let before = n.checked_sub(1).map(|before| tokens[before]);
                let described = match open {
                    0 => matches!(next, b"query" | b"mutation" | b"subscription" | b"fragment"),
                    1 => next == b"$" && before != Some(b"="),
                    _ => false,
                };
                if described {
                    let start = token.as_ptr().addr() - text.as_ptr().addr();
                    blank.push(start..start + token.len());
                }
            }
            _ => {}
        }
    }
    if blank.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes().to_vec();
    for at in blank.into_iter().flatten() {
        if !matches!(bytes[at], b'\n' | b'\r') {
            bytes[at] = b' ';
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Returns the tokens: names, numbers, strings and punctuators. Any other byte is a token, which the parser rejects.
fn tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (start, length) = token(text, at)?;
        at = start + length;
        text.get(start..at.min(text.len()))
    })
}

/// Returns the offset and the length of the next token.
fn token(text: &[u8], mut at: usize) -> Option<(usize, usize)> {
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let length = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += run(rest, |byte| byte != b'\n' && byte != b'\r');
                continue;
            }
            b'"' if rest.starts_with(b"\"\"\"") => block_string(rest),
            b'"' => string(rest),
            b'.' if rest.starts_with(b"...") => 3,
            b'-' | b'0'..=b'9' => {
                1 + run(&rest[1..], |byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                run(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
            }
            _ => 1,
        };
        return Some((at, length));
    }
    None
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| belongs(**byte)).count()
}

/// Returns the length of a string, which ends at the end of its line at the latest.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\n' | b'\r' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn block_string(text: &[u8]) -> usize {
    let mut at = 3;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(b"\"\"\"") {
            return at + 3;
        }
        at += if rest.starts_with(b"\\\"\"\"") { 4 } else { 1 };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_graphql() {
        for (text, count) in [
            ("", 0),
            (" ,\n\t", 0),
            ("{ a }", 3),
            ("{a}", 3),
            ("query A($x: [Int!]! = [1, -2.5e+3]) @d { ...F, b: c(d: $x) }", 32),
            ("# { all of this } is a comment\n{ a } # and this", 3),
            ("# ends with a return\r{ a }", 3),
            (r#"{ a(b: "one { string \" still") }"#, 8),
            ("{ a(b: \"unfinished\n) }", 8),
            (r#"{ a(b: """block " \""" string""") }"#, 8),
            (r#"{ a(b: """unfinished) }"#, 6),
            (r#"{ a(b: "") }"#, 8),
            ("\"\\", 1),
            ("1a2", 1),
            ("\u{feff}", 3),
            ("....", 2),
        ] {
            assert_eq!(tokens(text.as_bytes()).count(), count, "{text}");
        }
    }

    #[test]
    fn only_descriptions_are_replaced() {
        for (text, expected) in [
            (r#""a" query{b}"#, "    query{b}"),
            (
                r#""""ä
"{" """ fragment F on Q{b} "c"mutation{d}"#,
                "     \n        fragment F on Q{b}    mutation{d}",
            ),
            (
                r#"query("a" $b:S="c" "d" $e:[S]=["f" "g"] $h:S){i(j:"k")}"#,
                r#"query(    $b:S="c"     $e:[S]=["f" "g"] $h:S){i(j:"k")}"#,
            ),
            (r#""a" {b}"#, r#""a" {b}"#),
            (r#""a" type T{b:C}"#, r#""a" type T{b:C}"#),
            (r#"{a(b:"query" c:"d")}"#, r#"{a(b:"query" c:"d")}"#),
            ("\"a\nquery{b}", "\"a\nquery{b}"),
            ("# \"a\"\nquery{b(c:\"\")}", "# \"a\"\nquery{b(c:\"\")}"),
        ] {
            assert_eq!(without_descriptions(text), expected, "{text}");
        }
    }

    #[test]
    fn replacing_descriptions_keeps_the_length() {
        for piece in ["{", "[", "\"", "\\", "#", ".", "\"\"\"", "-", "ä", "a", "[[{(", "\"\\\"\"\""] {
            let text = piece.repeat(16 * 1024 / piece.len());
            assert!(tokens(text.as_bytes()).count() <= text.len());
            assert_eq!(without_descriptions(&text).len(), text.len());
        }
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("nested brackets", &MAX_BRACKETS.to_string());
    }
}
