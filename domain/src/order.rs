use std::fmt;
use std::str::FromStr;

use crate::{
    Currency, LineItem, MAX_LINE_ITEMS, MAX_QUANTITY, Money, OrderId, Priority, Status, Timestamp, strings,
};

/// The tenant of everything while there is only one.
pub const DEFAULT_TENANT: &str = "default";
/// Attempts of an order that does not say how many it wants.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 5;
/// The most attempts that an order can ask for.
pub const MAX_MAX_ATTEMPTS: u32 = 100;

/// Most bytes of text in one order: the items' names, the customer and the reference together, in UTF-8.
pub const MAX_CONTENT_BYTES: usize = 64 * 1024;

/// Most problems that one draft is told about.
const MAX_PROBLEMS: usize = 100;

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id; sorts by creation time.
    pub id: OrderId,
    /// Whose it is.
    pub tenant_id: String,
    /// The shop's own number for it.
    pub external_reference: Option<String>,
    /// Customer.
    pub customer: Option<String>,
    /// 1 to [`MAX_LINE_ITEMS`] positions, all in one currency.
    pub line_items: Vec<LineItem>,
    /// The sum of the line items.
    pub total: Money,
    /// The sum of their quantities.
    pub quantity: u64,
    /// Where it is.
    pub status: Status,
    /// The sequence of its latest event.
    pub version: u32,
    /// The latest attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts that failed since it was created or redriven.
    pub failures: u32,
    /// The most failures before it is a dead letter.
    pub max_attempts: u32,
    /// Priority.
    pub priority: Priority,
    /// It is not started before this time.
    pub process_after: Option<Timestamp>,
    /// The earliest start of its next attempt: its creation, its schedule, or the end of its wait for a retry.
    pub not_before: Timestamp,
    /// What its latest event says, if anything.
    pub reason: Option<String>,
    /// What kind of failure its latest event is, if it is one.
    pub error_class: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last status change.
    pub updated_at: Timestamp,
}

impl Order {
    /// About how many bytes the order takes in memory and in a response: its texts, and an allowance for the rest.
    pub fn approximate_bytes(&self) -> usize {
        const ORDER: usize = 512;
        const LINE_ITEM: usize = 96;
        let optional = [&self.external_reference, &self.customer, &self.reason, &self.error_class];
        let lines = self.line_items.iter().map(|line| line.item.len() + LINE_ITEM);
        ORDER + lines.sum::<usize>() + optional.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// What a client sends to create an order, before anything is checked. Either the three fields of
/// a single line item, or `line_items`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Item of a single line item.
    pub item: Option<String>,
    /// Quantity of a single line item.
    pub quantity: Option<i64>,
    /// Unit price of a single line item, as the decimal text that was sent.
    pub price: Option<String>,
    /// Several line items: item, quantity, price.
    pub line_items: Option<Vec<DraftLineItem>>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// Customer.
    pub customer: Option<String>,
    /// The shop's own number.
    pub external_reference: Option<String>,
    /// Attempts before the order is a dead letter.
    pub max_attempts: Option<i64>,
    /// `high`, `normal` or `low`.
    pub priority: Option<String>,
    /// RFC 3339; the order is not started before.
    pub process_after: Option<String>,
}

/// One line item of a [`Draft`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftLineItem {
    /// What.
    pub item: Option<String>,
    /// Quantity.
    pub quantity: Option<i64>,
    /// Unit price as decimal text.
    pub price: Option<String>,
}

/// A draft that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// 1 to [`MAX_LINE_ITEMS`] positions.
    pub line_items: Vec<LineItem>,
    /// Their sum; it fits.
    pub total: Money,
    /// The sum of their quantities.
    pub quantity: u64,
    /// Customer.
    pub customer: Option<String>,
    /// The shop's own number.
    pub external_reference: Option<String>,
    /// 1 to [`MAX_MAX_ATTEMPTS`].
    pub max_attempts: u32,
    /// Priority.
    pub priority: Priority,
    /// It is not started before.
    pub process_after: Option<Timestamp>,
}

/// Where in a draft something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    line_item: Option<usize>,
    name: &'static str,
}

/// One thing that is wrong with a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// Where.
    pub field: Field,
    /// What to change; reads as the rest of a sentence that starts with the field's name.
    pub message: String,
}

impl Field {
    /// The names from the outside in: `["lineItems", "3", "price"]`.
    pub fn path(&self) -> Vec<String> {
        let mut path = Vec::new();
        if let Some(index) = self.line_item {
            path.extend(["lineItems".to_owned(), index.to_string()]);
        }
        path.push(self.name.to_owned());
        path
    }

    /// The JSON pointer of the field in a REST body: `/lineItems/3/price`.
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
    /// Checks everything and says all that is wrong, up to 100 things, and not only the first one.
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
        problems.check_text("customer", self.customer.as_deref(), strings::MAX_CUSTOMER);
        problems.check_text(
            "externalReference",
            self.external_reference.as_deref(),
            strings::MAX_EXTERNAL_REFERENCE,
        );
        let max_attempts = problems.number("maxAttempts", None, self.max_attempts, MAX_MAX_ATTEMPTS);
        let priority = problems.word("priority", "", self.priority.as_deref());
        let process_after = problems.word("processAfter", "is ", self.process_after.as_deref());

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
        let texts = items.chain(self.customer.as_deref()).chain(self.external_reference.as_deref());
        let bytes: usize = texts.map(str::len).sum();
        if bytes > MAX_CONTENT_BYTES {
            let message = format!(
                "must have at most {MAX_CONTENT_BYTES} bytes of text, customer and reference included, has {bytes}"
            );
            problems.add(None, "lineItems", message);
        }
        let line_items: Vec<LineItem> =
            drafts.into_iter().filter_map(|(at, draft)| problems.line_item(at, draft, currency)).collect();

        let total = line_items.iter().try_fold(Money::zero(currency), |sum, line| sum.plus(line.total()?));
        match (total, problems.0.is_empty()) {
            (Ok(total), true) => Ok(Content {
                quantity: line_items.iter().map(|line| u64::from(line.quantity)).sum(),
                line_items,
                total,
                customer: self.customer,
                external_reference: self.external_reference,
                max_attempts: max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
                priority: priority.unwrap_or_default(),
                process_after,
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

    fn check_text(&mut self, name: &'static str, value: Option<&str>, max: usize) {
        if let Some(Err(message)) = value.map(|value| strings::validate(value, max)) {
            self.add(None, name, message);
        }
    }

    /// A number from 1 to `max`, if it is there.
    fn number(&mut self, name: &'static str, at: Option<usize>, value: Option<i64>, max: u32) -> Option<u32> {
        let value = value?;
        let number = u32::try_from(value).ok().filter(|n| (1..=max).contains(n));
        if number.is_none() {
            self.add(at, name, format!("must be a whole number from 1 to {max}, is {value}"));
        }
        number
    }

    /// A value that has a text form, if it is there. `verb` stands before the error of the parser.
    fn word<T>(&mut self, name: &'static str, verb: &str, text: Option<&str>) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match text?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(None, name, format!("{verb}{error}"));
                None
            }
        }
    }

    fn line_item(&mut self, at: Option<usize>, draft: DraftLineItem, currency: Currency) -> Option<LineItem> {
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
        let quantity = self.number("quantity", at, draft.quantity, MAX_QUANTITY);
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

    fn problems(draft: Draft) -> Vec<String> {
        let found = draft.check(Currency::USD).unwrap_err();
        found.iter().map(|problem| problem.field.pointer()).collect()
    }

    #[test]
    fn the_three_fields_of_the_original_are_enough() {
        let content = laptop().check(Currency::USD).unwrap();
        assert_eq!(content.total, Money::from_minor(259_998, Currency::USD));
        assert_eq!(content.quantity, 2);
        assert_eq!(content.max_attempts, DEFAULT_MAX_ATTEMPTS);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        assert_eq!(problems(Draft::default()), ["/item", "/quantity", "/price"]);
        let draft = Draft {
            quantity: Some(0),
            price: Some("1.001".into()),
            customer: Some("\n".into()),
            max_attempts: Some(101),
            ..laptop()
        };
        assert_eq!(problems(draft), ["/customer", "/maxAttempts", "/quantity", "/price"]);
    }

    #[test]
    fn a_draft_is_told_about_100_problems() {
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
    fn the_text_of_an_order_is_limited_in_bytes() {
        let lines = |count: usize, item: String| {
            let line = DraftLineItem { item: Some(item), quantity: Some(1), price: Some("1".into()) };
            Draft { line_items: Some(vec![line; count]), ..Draft::default() }
        };
        // 200 letters are the longest item, and 200 of those fit.
        assert!(lines(200, "x".repeat(200)).check(Currency::USD).is_ok());
        assert!(lines(128, "é".repeat(256 / 2)).check(Currency::USD).is_ok());
        let full = lines(256 / 2, "😀".repeat(512 / 4));
        assert!(full.clone().check(Currency::USD).is_ok(), "exactly {MAX_CONTENT_BYTES}");
        assert_eq!(problems(Draft { customer: Some("x".into()), ..full.clone() }), ["/lineItems"]);
        assert_eq!(problems(Draft { external_reference: Some("x".into()), ..full }), ["/lineItems"]);
        assert_eq!(problems(lines(200, "😀".repeat(200))), ["/lineItems"]);
    }

    #[test]
    fn priority_and_schedule_are_read_and_refused_by_name() {
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
        assert_eq!(problems(draft("urgent", "tomorrow")), ["/priority", "/processAfter"]);
    }

    #[test]
    fn a_line_item_is_named_by_its_place() {
        let good = DraftLineItem { item: Some("x".into()), quantity: Some(1), price: Some("0".into()) };
        let bad = DraftLineItem { price: Some("-1".into()), ..good.clone() };
        let draft = Draft { line_items: Some(vec![good, bad]), ..Draft::default() };
        assert_eq!(problems(draft), ["/lineItems/1/price"]);
    }

    #[test]
    fn both_forms_at_once_are_refused() {
        let draft = Draft { line_items: Some(vec![]), ..laptop() };
        assert_eq!(problems(draft), ["/lineItems"]);
    }

    #[test]
    fn a_total_that_does_not_fit_is_refused() {
        let draft = Draft { price: Some("92233720368547758.07".into()), ..laptop() };
        assert_eq!(problems(draft), ["/total"]);
    }
}
