//! Property tests of all parsers: no string causes a panic, and the display form of a parsed value parses to the same
//! value. The strings are close to the grammar of each parser, so that many of them parse.

use proptest::prelude::*;

use crate::{
    Currency, Draft, DraftLineItem, IdempotencyKey, LeaseToken, Money, OrderId, Priority, Status, Timestamp,
    strings,
};

/// Fragments of valid input, in any sequence, and arbitrary strings.
fn any_string() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "9999-12-31",
        "0000-01-01",
        "1970-01-01",
        "T",
        "t",
        " ",
        "23:59:59",
        "23:59:60",
        "00:00:00",
        ".",
        "Z",
        "z",
        "+",
        "-",
        "00:01",
        "23:59",
        "24:00",
        "99",
        "0",
        "1",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "1e",
        "E",
        "e-9999",
        "e+9999",
        "NaN",
        "inf",
        "USD",
        "JPY",
        "KWD",
        "CLF",
        "pending",
        "failed",
        "high",
        "low",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "{",
        "}",
        "ffffffffffffffff",
        "0000000000000000",
        "\u{0}",
        "\n",
        "é",
        "😀",
        "\u{feff}",
        "",
        "%",
        "&",
        "=",
        ":",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat()),
        any::<String>(),
        "[0-9.eE+-]{0,40}",
        "[0-9a-fA-F-]{30,40}",
    ]
}

fn optional_string() -> impl Strategy<Value = Option<String>> {
    prop::option::of(any_string())
}

fn line() -> impl Strategy<Value = DraftLineItem> {
    (optional_string(), prop::option::of(any::<i64>()), optional_string()).prop_map(
        |(item, quantity, price)| DraftLineItem {
            item,
            quantity: quantity.map(|n| if n % 3 == 0 { n } else { n % 7 }),
            price,
        },
    )
}

proptest! {
    #[test]
    fn display_form_of_a_parsed_value_parses_to_the_same_value(text in any_string()) {
        if let Ok(time) = text.parse::<Timestamp>() {
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
        if let Ok(id) = text.parse::<OrderId>() {
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
        if let Ok(token) = text.parse::<LeaseToken>() {
            prop_assert_eq!(token.to_string().parse(), Ok(token));
            prop_assert_eq!(LeaseToken::from_i64(token.as_i64()), Some(token));
        }
        if let Ok(key) = text.parse::<IdempotencyKey>() {
            prop_assert_eq!(key.as_bytes(), text.as_bytes());
        }
        if let Ok(status) = text.parse::<Status>() {
            prop_assert_eq!(status.to_string(), text.clone());
        }
        if let Ok(priority) = text.parse::<Priority>() {
            prop_assert_eq!(priority.to_string(), text.clone());
        }
        if let Ok(currency) = text.parse::<Currency>() {
            prop_assert_eq!(currency.to_string(), text.clone());
        }
        for code in ["USD", "JPY", "KWD", "CLF"] {
            let currency = code.parse().unwrap();
            if let Ok(money) = Money::parse(&text, currency) {
                prop_assert_eq!(Money::parse(&money.to_string(), currency), Ok(money));
            }
        }
    }

    #[test]
    fn cleaned_strings_keep_their_limits(value in any_string(), max in 0..300_usize) {
        let _ = strings::validate(&value, max);
        if let Some(reason) = strings::clean_reason(&value) {
            prop_assert!(reason.chars().count() <= strings::MAX_REASON && !reason.chars().any(char::is_control));
        }
        if let Some(class) = strings::clean_error_class(&value) {
            prop_assert!(class.len() <= strings::MAX_ERROR_CLASS && class.is_ascii());
        }
    }

    #[test]
    fn amounts_of_any_size_have_a_display_form(minor in any::<i64>(), quantity in any::<u32>()) {
        for code in ["USD", "JPY", "KWD", "CLF"] {
            let money = Money::from_minor(minor, code.parse().unwrap());
            prop_assert!(!money.to_string().is_empty());
            let _ = money.times(quantity).map(|product| product.plus(money));
        }
    }

    #[test]
    fn any_draft_gives_content_or_problems(
        (item, price, currency, customer) in
            (optional_string(), optional_string(), optional_string(), optional_string()),
        (external_reference, priority, process_after, kind) in
            (optional_string(), optional_string(), optional_string(), optional_string()),
        (quantity, max_attempts) in (prop::option::of(any::<i64>()), prop::option::of(any::<i64>())),
        line_items in prop::option::of(prop::collection::vec(line(), 0..4)),
        metadata in prop::option::of(prop::collection::vec((any::<String>(), any::<String>()), 0..4)),
    ) {
        let draft = Draft {
            item, quantity, price, line_items, currency, customer, external_reference, max_attempts, priority,
            process_after, kind, metadata,
        };
        match draft.check(Currency::USD) {
            Ok(content) => prop_assert!(content.total.minor() >= 0 && !content.line_items.is_empty()),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(problem.field.pointer().starts_with('/') && !problem.to_string().is_empty());
                }
            }
        }
    }
}
