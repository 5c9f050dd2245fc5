//! The filter and the sort of an order list, and the check of a filter for REST, GraphQL and the command line.
//!
//! A position in a list is the key of an order ([`Position`]) and not an offset. Therefore orders that are created or
//! change between two pages never shift a page. No sort uses the time of the last change: an order would move within the
//! list, and a reader could get it twice or never.

use std::fmt;
use std::str::FromStr;

use crate::kind::Kind;
use crate::metadata::{self, MAX_METADATA_CONDITIONS};
use crate::money::{Currency, Money};
use crate::order::Order;
use crate::order_id::OrderId;
use crate::prefix::{Prefix, SearchText};
use crate::reason::ReasonPattern;
use crate::status::Status;
use crate::strings;
use crate::timestamp::Timestamp;
use crate::waiting::WaitsFor;
use crate::worker_name::MAX_WORKER_NAME;

/// The filter of a list; an order must match all fields that are set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these statuses; empty means all.
    pub statuses: Vec<Status>,
    /// An order id, the code of an order, or a prefix of the external reference or of the customer.
    pub search: Option<SearchText>,
    /// Customer, exact match.
    pub customer: Option<String>,
    /// A prefix of the customer, compared without case.
    pub customer_prefix: Option<Prefix>,
    /// External reference, exact match.
    pub external_reference: Option<String>,
    /// A prefix of the external reference, compared without case.
    pub reference_prefix: Option<Prefix>,
    /// Error class, exact match.
    pub error_class: Option<String>,
    /// The worker of the latest attempt, exact match.
    pub worker: Option<String>,
    /// A pattern of the reason of the latest event.
    pub reason: Option<ReasonPattern>,
    /// The kind, exact match.
    pub kind: Option<Kind>,
    /// What the order waits for. Only pending orders wait, so it is set with that status only.
    pub waits_for: Option<WaitsFor>,
    /// Created at or after this time.
    pub created_from: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
    /// Currency. It is set if totals are compared.
    pub currency: Option<Currency>,
    /// The minimum total in minor units.
    pub total_from: Option<i64>,
    /// The maximum total in minor units.
    pub total_to: Option<i64>,
    /// A substring of at least one item name, compared without case.
    pub item_contains: Option<String>,
    /// Keys of the metadata and their values, exact match.
    pub metadata: Vec<(String, String)>,
}

/// Maximum length of an item search, in characters.
const MAX_ITEM_CONTAINS: usize = strings::MAX_ITEM;
/// Maximum length of the text of a search, in characters.
const MAX_SEARCH: usize = strings::MAX_CUSTOMER;

/// The names of the fields of a filter on REST and GraphQL; `statuses` has a different name on each.
pub const FILTER_FIELDS: [&str; 17] = [
    "search",
    "customer",
    "customerPrefix",
    "externalReference",
    "referencePrefix",
    "errorClass",
    "worker",
    "reason",
    "kind",
    "waitsFor",
    "itemContains",
    "currency",
    "totalFrom",
    "totalTo",
    "createdFrom",
    "createdBefore",
    "metadata",
];

/// A filter as it was sent.
#[derive(Debug, Clone, Default)]
pub struct RawFilter {
    /// Any of these; empty means all.
    pub statuses: Vec<Status>,
    /// An order id, or a prefix of the reference or of the customer.
    pub search: Option<String>,
    /// Exactly this customer.
    pub customer: Option<String>,
    /// A prefix of the customer.
    pub customer_prefix: Option<String>,
    /// Exactly this reference.
    pub external_reference: Option<String>,
    /// A prefix of the reference.
    pub reference_prefix: Option<String>,
    /// Exactly this error class.
    pub error_class: Option<String>,
    /// Exactly this worker.
    pub worker: Option<String>,
    /// A pattern of the reason.
    pub reason: Option<String>,
    /// Exactly this kind.
    pub kind: Option<String>,
    /// What the order waits for.
    pub waits_for: Option<String>,
    /// Created at or after this time.
    pub created_from: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
    /// In this currency.
    pub currency: Option<String>,
    /// Minimum total, inclusive.
    pub total_from: Option<String>,
    /// Maximum total, inclusive.
    pub total_to: Option<String>,
    /// In the name of a line item.
    pub item_contains: Option<String>,
    /// These values of the metadata.
    pub metadata: Vec<(String, String)>,
}

/// An invalid field of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The field, as clients name it.
    pub name: &'static str,
    /// What to change; continues the name.
    pub message: String,
}

impl RawFilter {
    /// Checks the filter. Totals are amounts of one currency: that of the filter or else `default_currency`, also in a
    /// list that is sorted by total.
    ///
    /// # Errors
    /// All invalid fields.
    pub fn check(self, sort: Sort, default_currency: Currency) -> Result<Filter, Vec<FilterError>> {
        let mut problems = Vec::new();
        let mut add = |name, message| problems.push(FilterError { name, message });
        for (name, value, max) in [
            ("customer", &self.customer, strings::MAX_CUSTOMER),
            ("externalReference", &self.external_reference, strings::MAX_EXTERNAL_REFERENCE),
            ("errorClass", &self.error_class, strings::MAX_ERROR_CLASS),
            ("worker", &self.worker, MAX_WORKER_NAME),
            ("itemContains", &self.item_contains, MAX_ITEM_CONTAINS),
        ] {
            if let Some(Err(message)) = value.as_deref().map(|value| strings::validate(value, max)) {
                add(name, message);
            }
        }
        let search = parsed("search", &self.search, |text| SearchText::parse(text, MAX_SEARCH), &mut add);
        let customer_prefix = parsed(
            "customerPrefix",
            &self.customer_prefix,
            |text| Prefix::parse(text, strings::MAX_CUSTOMER),
            &mut add,
        );
        let reference_prefix = parsed(
            "referencePrefix",
            &self.reference_prefix,
            |text| Prefix::parse(text, strings::MAX_EXTERNAL_REFERENCE),
            &mut add,
        );
        let reason = parsed("reason", &self.reason, ReasonPattern::parse, &mut add);
        let kind = parsed("kind", &self.kind, str::parse::<Kind>, &mut add);
        let waits_for = parsed("waitsFor", &self.waits_for, str::parse::<WaitsFor>, &mut add);
        if waits_for.is_some() && !self.statuses.is_empty() && !self.statuses.contains(&Status::Pending) {
            add(
                "waitsFor",
                "selects pending orders only; remove it, or select the status pending".to_owned(),
            );
        }
        if let Err(message) = check_metadata(&self.metadata) {
            add("metadata", message);
        }
        let named = self.currency.as_deref().map(str::parse::<Currency>);
        // An amount cannot be parsed without its currency.
        let amounts_in = match &named {
            None => Some(default_currency),
            Some(Ok(currency)) => Some(*currency),
            Some(Err(error)) => {
                add("currency", error.to_string());
                None
            }
        };
        let compares_totals = sort.is_by_total() || self.total_from.is_some() || self.total_to.is_some();
        let currency = amounts_in.filter(|_| named.is_some() || compares_totals);
        let mut total = |name, value: Option<String>| match Money::parse(&value?, amounts_in?) {
            Ok(total) => Some(total.minor()),
            Err(error) => {
                add(name, error.to_string());
                None
            }
        };
        let total_from = total("totalFrom", self.total_from);
        let total_to = total("totalTo", self.total_to);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut statuses = Vec::new();
        let wanted = if waits_for.is_some() { vec![Status::Pending] } else { self.statuses };
        for status in wanted {
            if !statuses.contains(&status) {
                statuses.push(status);
            }
        }
        Ok(Filter {
            statuses,
            search,
            customer: self.customer,
            customer_prefix,
            external_reference: self.external_reference,
            reference_prefix,
            error_class: self.error_class,
            worker: self.worker,
            reason,
            kind,
            waits_for,
            created_from: self.created_from,
            created_before: self.created_before,
            currency,
            total_from,
            total_to,
            item_contains: self.item_contains,
            metadata: self.metadata,
        })
    }
}

/// Checks the conditions of the metadata.
fn check_metadata(conditions: &[(String, String)]) -> Result<(), String> {
    if conditions.len() > MAX_METADATA_CONDITIONS {
        return Err(format!("must have at most {MAX_METADATA_CONDITIONS} keys, has {}", conditions.len()));
    }
    for (n, (key, value)) in conditions.iter().enumerate() {
        metadata::check_key(key)?;
        metadata::check_value(key, value)?;
        if conditions[..n].iter().any(|(earlier, _)| earlier == key) {
            return Err(format!("has the key '{key}' more than once"));
        }
    }
    Ok(())
}

/// Parses a field of a filter, and adds its error.
fn parsed<'a, T, E: fmt::Display>(
    name: &'static str,
    value: &'a Option<String>,
    parse: impl FnOnce(&'a str) -> Result<T, E>,
    add: &mut impl FnMut(&'static str, String),
) -> Option<T> {
    match parse(value.as_deref()?) {
        Ok(value) => Some(value),
        Err(error) => {
            add(name, error.to_string());
            None
        }
    }
}

/// The sort of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Newest first.
    #[default]
    CreatedDescending,
    /// Oldest first.
    CreatedAscending,
    /// Largest total first, in one currency; equal totals newest first.
    TotalDescending,
    /// Smallest total first, in one currency; equal totals oldest first.
    TotalAscending,
}

/// The string is not a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of -createdAt, createdAt, -total, total")]
pub struct InvalidSort;

impl Sort {
    /// Returns whether it compares totals, and not only ids.
    pub fn is_by_total(self) -> bool {
        matches!(self, Self::TotalDescending | Self::TotalAscending)
    }

    /// Returns whether the largest value comes first.
    pub fn is_descending(self) -> bool {
        matches!(self, Self::CreatedDescending | Self::TotalDescending)
    }

    /// Returns the sort in the opposite direction.
    pub fn reversed(self) -> Self {
        match self {
            Self::CreatedDescending => Self::CreatedAscending,
            Self::CreatedAscending => Self::CreatedDescending,
            Self::TotalDescending => Self::TotalAscending,
            Self::TotalAscending => Self::TotalDescending,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::CreatedDescending => "-createdAt",
            Self::CreatedAscending => "createdAt",
            Self::TotalDescending => "-total",
            Self::TotalAscending => "total",
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Sort {
    type Err = InvalidSort;

    fn from_str(string: &str) -> Result<Self, InvalidSort> {
        let all =
            [Self::CreatedDescending, Self::CreatedAscending, Self::TotalDescending, Self::TotalAscending];
        all.into_iter().find(|sort| sort.as_str() == string).ok_or(InvalidSort)
    }
}

/// A position in a list: the sort key of an order that is, or was, in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The order's total in minor units; used only if totals are compared.
    pub total_minor: i64,
    /// The order.
    pub id: OrderId,
}

impl From<&Order> for Position {
    fn from(order: &Order) -> Self {
        Self { total_minor: order.total.minor(), id: order.id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_have_one_currency() {
        let check = |raw_filter: RawFilter, sort| raw_filter.check(sort, Currency::USD).unwrap();
        let yen = || Some("JPY".to_owned());
        let from = |text: &str| Some(text.to_owned());
        let all = check(RawFilter::default(), Sort::CreatedAscending);
        assert_eq!(all, Filter::default());
        let sorted = check(RawFilter::default(), Sort::TotalAscending);
        assert_eq!(sorted.currency, Some(Currency::USD));
        let range = check(RawFilter { total_from: from("12.5"), ..RawFilter::default() }, Sort::default());
        assert_eq!((range.currency, range.total_from), (Some(Currency::USD), Some(1_250)));
        let named = RawFilter { currency: yen(), total_to: from("300"), ..RawFilter::default() };
        let named = check(named, Sort::TotalDescending);
        assert_eq!((named.currency.unwrap().code(), named.total_to), ("JPY", Some(300)));
        let only = check(RawFilter { currency: yen(), ..RawFilter::default() }, Sort::default());
        assert_eq!(only.currency.unwrap().code(), "JPY");
    }

    #[test]
    fn only_pending_orders_wait() {
        let check = |statuses: &[Status]| {
            let waits_for = Some("retry".to_owned());
            let raw_filter = RawFilter { statuses: statuses.to_vec(), waits_for, ..RawFilter::default() };
            raw_filter.check(Sort::default(), Currency::USD)
        };
        for statuses in [&[][..], &[Status::Failed, Status::Pending]] {
            let filter = check(statuses).unwrap();
            assert_eq!((filter.statuses, filter.waits_for), (vec![Status::Pending], Some(WaitsFor::Retry)));
        }
        assert_eq!(check(&[Status::Failed]).unwrap_err()[0].name, "waitsFor");
    }

    #[test]
    fn all_invalid_fields_are_named() {
        let long = |length: usize| Some("x".repeat(length));
        let raw_filter = RawFilter {
            customer: long(201),
            external_reference: Some(String::new()),
            error_class: long(65),
            worker: long(65),
            reason: long(501),
            search: long(201),
            customer_prefix: long(201),
            reference_prefix: Some(" ".to_owned()),
            waits_for: Some("godot".to_owned()),
            total_from: Some("-1".to_owned()),
            total_to: Some("1.999".to_owned()),
            item_contains: long(201),
            metadata: vec![("a b".to_owned(), String::new())],
            ..RawFilter::default()
        };
        let names = |raw_filter: RawFilter| -> Vec<&str> {
            let problems = raw_filter.check(Sort::default(), Currency::USD).unwrap_err();
            problems.into_iter().map(|problem| problem.name).collect()
        };
        let texts = [
            "customer",
            "externalReference",
            "errorClass",
            "worker",
            "itemContains",
            "search",
            "customerPrefix",
            "referencePrefix",
            "reason",
            "waitsFor",
            "metadata",
        ];
        assert_eq!(names(raw_filter.clone()), [&texts[..], &["totalFrom", "totalTo"]].concat());
        let nowhere = RawFilter { currency: Some("EURO".to_owned()), ..raw_filter };
        assert_eq!(names(nowhere), [&texts[..], &["currency"]].concat());
    }
}
