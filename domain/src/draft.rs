use std::fmt;
use std::str::FromStr;

use crate::kind::Kind;
use crate::line_item::{LineItem, MAX_LINE_ITEMS, MAX_QUANTITY};
use crate::metadata::Metadata;
use crate::money::{Currency, Money};
use crate::priority::Priority;
use crate::strings;
use crate::timestamp::Timestamp;

/// The attempts of an order whose draft has no `max_attempts`.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 5;
/// The maximum of `max_attempts`.
pub const MAX_MAX_ATTEMPTS: u32 = 100;

/// The maximum length of all strings of an order in UTF-8: item names, customer and reference.
pub const MAX_CONTENT_BYTES: usize = 64 * 1024;

/// The name of the metadata in a request.
const METADATA: &str = "metadata";
/// The maximum number of reported problems of a draft.
const MAX_PROBLEMS: usize = 100;

/// The unchecked data of a create: either the three fields of a single line item, or `line_items`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Item of a single line item.
    pub item: Option<String>,
    /// Quantity of a single line item.
    pub quantity: Option<i64>,
    /// Unit price of a single line item, as the decimal string of the request.
    pub price: Option<String>,
    /// Several line items: item, quantity, price.
    pub line_items: Option<Vec<DraftLineItem>>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// Customer.
    pub customer: Option<String>,
    /// The shop's number of the order.
    pub external_reference: Option<String>,
    /// Attempts before the order is a dead letter.
    pub max_attempts: Option<i64>,
    /// `high`, `normal` or `low`.
    pub priority: Option<String>,
    /// The scheduled start, in RFC 3339.
    pub process_after: Option<String>,
    /// The word that routes the order to workers.
    pub kind: Option<String>,
    /// Keys and values of the client.
    pub metadata: Option<Vec<(String, String)>>,
}

/// One line item of a [`Draft`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftLineItem {
    /// Item.
    pub item: Option<String>,
    /// Quantity.
    pub quantity: Option<i64>,
    /// Unit price as a decimal string.
    pub price: Option<String>,
}

/// The data of a draft that passed all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// 1 to [`MAX_LINE_ITEMS`] positions.
    pub line_items: Vec<LineItem>,
    /// Their sum.
    pub total: Money,
    /// The sum of their quantities.
    pub quantity: u64,
    /// Customer.
    pub customer: Option<String>,
    /// The shop's number of the order.
    pub external_reference: Option<String>,
    /// 1 to [`MAX_MAX_ATTEMPTS`].
    pub max_attempts: u32,
    /// Priority.
    pub priority: Priority,
    /// The scheduled start.
    pub process_after: Option<Timestamp>,
    /// The kind.
    pub kind: Kind,
    /// Keys and values of the client. Unlike the rest of the content, it can change.
    pub metadata: Metadata,
}

impl Content {
    /// Returns the content with these line items, and nothing that is optional.
    pub fn new(line_items: Vec<LineItem>, total: Money) -> Self {
        Self {
            quantity: line_items.iter().map(|line| u64::from(line.quantity)).sum(),
            line_items,
            total,
            customer: None,
            external_reference: None,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            priority: Priority::default(),
            process_after: None,
            kind: Kind::default(),
            metadata: Metadata::default(),
        }
    }

    /// Returns the strings besides the names of the items.
    pub(crate) fn strings(&self) -> impl Iterator<Item = &str> {
        let metadata = self.metadata.iter().flat_map(|(key, value)| [key, value]);
        [self.customer.as_deref(), self.external_reference.as_deref()].into_iter().flatten().chain(metadata)
    }
}

/// The location of a problem in a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    line_item: Option<usize>,
    name: &'static str,
}

/// One problem of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// The field.
    pub field: Field,
    /// The required change; the message continues a sentence that starts with the field's name.
    pub message: String,
}

impl InvalidField {
    /// Returns the problem of a kind that is one too many.
    pub fn of_further_kind(max: usize) -> Self {
        let message =
            format!("is a further kind, and the orders of an installation have at most {max} kinds");
        Self { field: Field { line_item: None, name: "kind" }, message }
    }

    /// Returns a problem of the metadata.
    pub fn of_metadata(message: String) -> Self {
        Self { field: Field { line_item: None, name: METADATA }, message }
    }
}

impl Field {
    /// Returns the names from the outermost to the innermost: `["lineItems", "3", "price"]`.
    pub fn path(&self) -> Vec<String> {
        let mut path = Vec::new();
        if let Some(index) = self.line_item {
            path.extend(["lineItems".to_owned(), index.to_string()]);
        }
        path.push(self.name.to_owned());
        path
    }

    /// Returns the JSON pointer of the field in a REST body: `/lineItems/3/price`.
    pub fn pointer(&self) -> String {
        self.path().iter().map(|part| format!("/{part}")).collect()
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field.path().join("."), self.message)
    }
}

impl Draft {
    /// Checks all fields and reports all problems, up to 100, and not only the first one.
    ///
    /// # Errors
    /// At least one [`InvalidField`].
    pub fn check(self, default_currency: Currency) -> Result<Content, Vec<InvalidField>> {
        let mut problems = Problems(Vec::new());
        let currency = match self.currency.as_deref().map(str::parse) {
            None => default_currency,
            Some(Ok(currency)) => currency,
            Some(Err(error)) => {
                problems.add(None, "currency", error.to_string());
                default_currency
            }
        };
        problems.check_string("customer", self.customer.as_deref(), strings::MAX_CUSTOMER);
        problems.check_string(
            "externalReference",
            self.external_reference.as_deref(),
            strings::MAX_EXTERNAL_REFERENCE,
        );
        let max_attempts = problems.check_number("maxAttempts", None, self.max_attempts, MAX_MAX_ATTEMPTS);
        let priority = problems.parse_field("priority", "", self.priority.as_deref());
        let process_after = problems.parse_field("processAfter", "is ", self.process_after.as_deref());
        let kind = problems.parse_field("kind", "", self.kind.as_deref());

        let metadata = Metadata::check(self.metadata.unwrap_or_default()).unwrap_or_else(|messages| {
            messages.into_iter().for_each(|message| problems.add(None, METADATA, message));
            Metadata::default()
        });

        let drafts = match self.line_items {
            Some(_) if self.item.is_some() || self.quantity.is_some() || self.price.is_some() => {
                problems.add(
                    None,
                    "lineItems",
                    "cannot be combined with item, quantity and price".to_owned(),
                );
                Vec::new()
            }
            Some(lines) if lines.is_empty() || lines.len() > MAX_LINE_ITEMS => {
                let message = format!("must have 1 to {MAX_LINE_ITEMS} line items, has {}", lines.len());
                problems.add(None, "lineItems", message);
                Vec::new()
            }
            Some(lines) => lines.into_iter().enumerate().map(|(n, line)| (Some(n), line)).collect(),
            None => {
                let (item, quantity, price) = (self.item, self.quantity, self.price);
                vec![(None, DraftLineItem { item, quantity, price })]
            }
        };
        let items = drafts.iter().filter_map(|(_, line)| line.item.as_deref());
        let strings = items.chain(self.customer.as_deref()).chain(self.external_reference.as_deref());
        let bytes: usize = strings.map(str::len).sum();
        if bytes > MAX_CONTENT_BYTES {
            let message = format!(
                "must have at most {MAX_CONTENT_BYTES} bytes of text, customer and reference included, has {bytes}"
            );
            problems.add(None, "lineItems", message);
        }
        let line_items: Vec<LineItem> = drafts
            .into_iter()
            .filter_map(|(at, draft)| problems.check_line_item(at, draft, currency))
            .collect();

        let total = line_items.iter().try_fold(Money::zero(currency), |sum, line| sum.plus(line.total()?));
        match (total, problems.0.is_empty()) {
            (Ok(total), true) => Ok(Content {
                customer: self.customer,
                external_reference: self.external_reference,
                max_attempts: max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
                priority: priority.unwrap_or_default(),
                process_after,
                kind: kind.unwrap_or_default(),
                metadata,
                ..Content::new(line_items, total)
            }),
            (Ok(_), false) => Err(problems.0),
            (Err(error), _) => {
                problems.add(None, "total", error.to_string());
                Err(problems.0)
            }
        }
    }
}

struct Problems(Vec<InvalidField>);

impl Problems {
    fn add(&mut self, line_item: Option<usize>, name: &'static str, message: String) {
        if self.0.len() < MAX_PROBLEMS {
            let field = Field { line_item, name };
            self.0.push(InvalidField { field, message });
        }
    }

    fn check_string(&mut self, name: &'static str, value: Option<&str>, max: usize) {
        if let Some(Err(message)) = value.map(|value| strings::validate(value, max)) {
            self.add(None, name, message);
        }
    }

    /// Checks an optional number, which must be from 1 to `max`.
    fn check_number(
        &mut self,
        name: &'static str,
        at: Option<usize>,
        value: Option<i64>,
        max: u32,
    ) -> Option<u32> {
        let value = value?;
        let number = u32::try_from(value).ok().filter(|n| (1..=max).contains(n));
        if number.is_none() {
            self.add(at, name, format!("must be a whole number from 1 to {max}, is {value}"));
        }
        number
    }

    /// Parses an optional string. `verb` precedes the error of the parser.
    fn parse_field<T>(&mut self, name: &'static str, verb: &str, value: Option<&str>) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match value?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(None, name, format!("{verb}{error}"));
                None
            }
        }
    }

    fn check_line_item(
        &mut self,
        at: Option<usize>,
        draft: DraftLineItem,
        currency: Currency,
    ) -> Option<LineItem> {
        let missing = "is required";
        match &draft.item {
            None => self.add(at, "item", missing.to_owned()),
            Some(item) => {
                if let Err(message) = strings::validate(item, strings::MAX_ITEM) {
                    self.add(at, "item", message);
                }
            }
        }
        if draft.quantity.is_none() {
            self.add(at, "quantity", missing.to_owned());
        }
        let quantity = self.check_number("quantity", at, draft.quantity, MAX_QUANTITY);
        let price = match draft.price.as_deref().map(|price| Money::parse(price, currency)) {
            None => {
                self.add(at, "price", missing.to_owned());
                None
            }
            Some(Err(error)) => {
                self.add(at, "price", error.to_string());
                None
            }
            Some(Ok(price)) => Some(price),
        };
        Some(LineItem { item: draft.item?, quantity: quantity?, price: price? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laptop() -> Draft {
        Draft {
            item: Some("Laptop".into()),
            quantity: Some(2),
            price: Some("1299.99".into()),
            ..Draft::default()
        }
    }

    fn problem_pointers(draft: Draft) -> Vec<String> {
        let problems = draft.check(Currency::USD).unwrap_err();
        problems.iter().map(|problem| problem.field.pointer()).collect()
    }

    #[test]
    fn item_quantity_and_price_are_sufficient() {
        let content = laptop().check(Currency::USD).unwrap();
        assert_eq!(content.total, Money::from_minor(259_998, Currency::USD));
        assert_eq!(content.quantity, 2);
        assert_eq!(content.max_attempts, DEFAULT_MAX_ATTEMPTS);
    }

    #[test]
    fn all_problems_are_reported() {
        assert_eq!(problem_pointers(Draft::default()), ["/item", "/quantity", "/price"]);
        let draft = Draft {
            quantity: Some(0),
            price: Some("1.001".into()),
            customer: Some("\n".into()),
            max_attempts: Some(101),
            ..laptop()
        };
        assert_eq!(problem_pointers(draft), ["/customer", "/maxAttempts", "/quantity", "/price"]);
    }

    #[test]
    fn at_most_100_problems_are_reported() {
        let draft = Draft { line_items: Some(vec![DraftLineItem::default(); 200]), ..Draft::default() };
        assert_eq!(draft.check(Currency::USD).unwrap_err().len(), MAX_PROBLEMS);
    }

    #[test]
    fn limits_are_inclusive() {
        for (quantity, fits) in [(1, true), (1_000_000, true), (0, false), (1_000_001, false), (-1, false)] {
            let draft = Draft { quantity: Some(quantity), price: Some("1".into()), ..laptop() };
            assert_eq!(draft.check(Currency::USD).is_ok(), fits, "{quantity}");
        }
        let line = DraftLineItem { item: Some("x".into()), quantity: Some(1), price: Some("0".into()) };
        for (count, fits) in [(0, false), (1, true), (200, true), (201, false)] {
            let draft = Draft { line_items: Some(vec![line.clone(); count]), ..Draft::default() };
            assert_eq!(draft.check(Currency::USD).is_ok(), fits, "{count}");
        }
    }

    #[test]
    fn all_strings_of_an_order_are_limited_in_bytes() {
        let lines = |count: usize, item: String| {
            let line = DraftLineItem { item: Some(item), quantity: Some(1), price: Some("1".into()) };
            Draft { line_items: Some(vec![line; count]), ..Draft::default() }
        };
        // 200 items of the maximum length of 200 ASCII letters fit.
        assert!(lines(200, "x".repeat(200)).check(Currency::USD).is_ok());
        assert!(lines(128, "é".repeat(256 / 2)).check(Currency::USD).is_ok());
        let full = lines(256 / 2, "😀".repeat(512 / 4));
        assert!(full.clone().check(Currency::USD).is_ok(), "exactly {MAX_CONTENT_BYTES}");
        assert_eq!(problem_pointers(Draft { customer: Some("x".into()), ..full.clone() }), ["/lineItems"]);
        assert_eq!(problem_pointers(Draft { external_reference: Some("x".into()), ..full }), ["/lineItems"]);
        assert_eq!(problem_pointers(lines(200, "😀".repeat(200))), ["/lineItems"]);
    }

    #[test]
    fn priority_and_schedule_are_parsed() {
        let content = laptop().check(Currency::USD).unwrap();
        assert_eq!((content.priority, content.process_after), (Priority::Normal, None));
        let draft = |priority: &str, at: &str| Draft {
            priority: Some(priority.into()),
            process_after: Some(at.into()),
            ..laptop()
        };
        let content = draft("low", "2026-01-31T13:00:00+01:00").check(Currency::USD).unwrap();
        assert_eq!(content.priority, Priority::Low);
        assert_eq!(content.process_after.unwrap().to_string(), "2026-01-31T12:00:00.000000Z");
        assert_eq!(problem_pointers(draft("urgent", "tomorrow")), ["/priority", "/processAfter"]);
    }

    #[test]
    fn problem_of_a_line_item_has_its_index() {
        let good = DraftLineItem { item: Some("x".into()), quantity: Some(1), price: Some("0".into()) };
        let bad = DraftLineItem { price: Some("-1".into()), ..good.clone() };
        let draft = Draft { line_items: Some(vec![good, bad]), ..Draft::default() };
        assert_eq!(problem_pointers(draft), ["/lineItems/1/price"]);
    }

    #[test]
    fn both_forms_together_are_rejected() {
        let draft = Draft { line_items: Some(vec![]), ..laptop() };
        assert_eq!(problem_pointers(draft), ["/lineItems"]);
    }

    #[test]
    fn total_above_the_maximum_is_rejected() {
        let draft = Draft { price: Some("92233720368547758.07".into()), ..laptop() };
        assert_eq!(problem_pointers(draft), ["/total"]);
    }
}
