//! The rules for strings of clients and workers: a maximum number of characters, and no control characters.

/// The maximum length of an item name, in characters.
pub const MAX_ITEM: usize = 200;
/// The maximum length of a customer, in characters.
pub const MAX_CUSTOMER: usize = 200;
/// The maximum length of an external reference, in characters.
pub const MAX_EXTERNAL_REFERENCE: usize = 200;
/// The maximum length of the name of a requester, in characters.
pub const MAX_REQUESTED_BY: usize = 100;
/// The maximum length of a reason of a failure or a cancellation, in characters; longer ones are truncated.
pub const MAX_REASON: usize = 500;
/// The maximum length of an error class, in characters; longer ones are truncated.
pub const MAX_ERROR_CLASS: usize = 64;

/// Checks that a string is not blank, has at most `max` characters, and has no control characters.
///
/// # Errors
/// A sentence that states what to change.
pub fn validate(string: &str, max: usize) -> Result<(), String> {
    if string.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    let length = string.chars().count();
    if length > max {
        return Err(format!("must have at most {max} characters, has {length}"));
    }
    if string.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}

/// Converts a reason to its stored form.
///
/// Control characters become spaces, and the reason is truncated to [`MAX_REASON`] characters. `None` if it is blank.
pub fn clean_reason(reason: &str) -> Option<String> {
    let clean: String =
        reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// Converts an error class to its stored form: one word of ASCII letters, digits and `_ - . :`.
///
/// Other characters become `_`, and the class is truncated to [`MAX_ERROR_CLASS`] characters. `None` if it is blank.
pub fn clean_error_class(class: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let word = class.trim().chars().map(|c| if allowed(c) { c } else { '_' });
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
    fn error_class_becomes_one_word() {
        assert_eq!(clean_error_class(" http_503\n").as_deref(), Some("http_503"));
        assert_eq!(clean_error_class("card declined!").as_deref(), Some("card_declined_"));
        assert_eq!(clean_error_class(" "), None);
        assert_eq!(clean_error_class(&"x".repeat(99)).map(|class| class.len()), Some(MAX_ERROR_CLASS));
    }

    #[test]
    fn reasons_are_truncated_and_cleaned() {
        assert_eq!(clean_reason("a\nb").as_deref(), Some("a b"));
        assert_eq!(clean_reason(" \n "), None);
        assert_eq!(clean_reason(&"x".repeat(600)).map(|r| r.len()), Some(500));
    }
}
