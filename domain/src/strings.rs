//! The rule for every text that people send: limited in characters, without control characters.

/// Longest item name, in characters.
pub const MAX_ITEM: usize = 200;
/// Longest customer, in characters.
pub const MAX_CUSTOMER: usize = 200;
/// Longest external reference, in characters.
pub const MAX_EXTERNAL_REFERENCE: usize = 200;
/// Longest name of somebody who asks for something, in characters.
pub const MAX_REQUESTED_BY: usize = 100;
/// Longest reason of a failure or a cancellation, in characters; longer ones are cut.
pub const MAX_REASON: usize = 500;

/// Longest error class, in characters; longer ones are cut.
pub const MAX_ERROR_CLASS: usize = 64;

/// `text` when it has 1 to `max` characters, none of them a control character, and is not blank.
///
/// # Errors
/// One sentence that says what to change.
pub fn validate(text: &str, max: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    let length = text.chars().count();
    if length > max {
        return Err(format!("must have at most {max} characters, has {length}"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}

/// A reason as it is stored: control characters become spaces, and it ends after [`MAX_REASON`]
/// characters. `None` when nothing readable is left.
pub fn clean_reason(text: &str) -> Option<String> {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// An error class as it is stored: one word of ASCII letters, digits and `_ - . :`, whatever else
/// becomes `_`, cut after [`MAX_ERROR_CLASS`] characters. `None` when nothing is left.
pub fn clean_error_class(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let word = text.trim().chars().map(|c| if allowed(c) { c } else { '_' });
    let word: String = word.take(MAX_ERROR_CLASS).collect();
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_characters_not_bytes() {
        assert_eq!(validate(&"ä".repeat(200), 200), Ok(()));
        assert!(validate(&"ä".repeat(201), 200).is_err());
        for bad in ["", "  ", "a\nb", "a\u{0}b"] {
            assert!(validate(bad, 200).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn error_classes_are_single_words() {
        assert_eq!(clean_error_class(" http_503\n").as_deref(), Some("http_503"));
        assert_eq!(clean_error_class("card declined!").as_deref(), Some("card_declined_"));
        assert_eq!(clean_error_class(" "), None);
        assert_eq!(clean_error_class(&"x".repeat(99)).map(|class| class.len()), Some(MAX_ERROR_CLASS));
    }

    #[test]
    fn reasons_are_cut_and_cleaned() {
        assert_eq!(clean_reason("a\nb").as_deref(), Some("a b"));
        assert_eq!(clean_reason(" \n "), None);
        assert_eq!(clean_reason(&"x".repeat(600)).map(|r| r.len()), Some(500));
    }
}
