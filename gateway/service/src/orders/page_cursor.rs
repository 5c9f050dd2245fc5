//! Page cursors: positions in lists for clients, the same on REST and GraphQL.
//!
//! A cursor contains its version, the sort of the list and the key of an order, in base64 because it is opaque:
//! `v2:-createdAt:<id>`, `v2:total:EUR:129999:<id>`; and from before lists could be sorted: `v1:<id>`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use domain::query::{Position, Sort};
use domain::{Currency, Order, OrderId};

/// Maximum length of an accepted cursor; valid ones have up to 100 characters.
const MAX_LENGTH: usize = 200;

/// A position in a list with one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCursor {
    sort: Sort,
    /// The currency of a sort by total.
    currency: Option<Currency>,
    position: Position,
}

/// The reason why a string is not a cursor of a list.
///
/// The message continues the name of the parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCursor {
    /// It is not a cursor.
    #[error("is not a cursor of this list; give one from an answer, unchanged")]
    Unreadable,
    /// It belongs to a list with another sort.
    #[error("is a cursor of the list sorted by {made_for}, this one is sorted by {used_for}")]
    OtherSort {
        /// The sort of its list.
        made_for: Sort,
        /// The sort of this list.
        used_for: Sort,
    },
    /// It belongs to a list of totals in another currency.
    #[error("is a cursor of the totals in {made_for}, this list is about {used_for}")]
    OtherCurrency {
        /// The currency of its list.
        made_for: Currency,
        /// The currency of this list.
        used_for: Currency,
    },
    /// It is the id of an order, which contains no total.
    #[error(
        "is an order's id, which is a place in lists sorted by createdAt only; take the cursor from the Link header"
    )]
    OnlyId,
}

impl PageCursor {
    /// Returns the cursor of an order in a list.
    pub fn of(order: &Order, sort: Sort) -> Self {
        Self::at(order.into(), sort, Some(order.total.currency()))
    }

    /// Returns the cursor of a position; `currency` is that of a sort by total.
    pub fn at(position: Position, sort: Sort, currency: Option<Currency>) -> Self {
        Self { sort, currency: currency.filter(|_| sort.is_by_total()), position }
    }

    /// Parses a cursor of the list. `currency` is that of a sort by total.
    ///
    /// # Errors
    /// [`InvalidCursor`].
    pub fn read(text: &str, sort: Sort, currency: Option<Currency>) -> Result<Position, InvalidCursor> {
        let cursor = Self::parse(text).ok_or(InvalidCursor::Unreadable)?;
        if cursor.sort != sort {
            return Err(InvalidCursor::OtherSort { made_for: cursor.sort, used_for: sort });
        }
        match (cursor.currency, currency) {
            (Some(made_for), Some(used_for)) if made_for != used_for => {
                Err(InvalidCursor::OtherCurrency { made_for, used_for })
            }
            _ => Ok(cursor.position),
        }
    }

    /// Parses a cursor, or the id of an order if the sort depends only on the id.
    ///
    /// # Errors
    /// [`InvalidCursor`].
    pub fn read_or_id(text: &str, sort: Sort, currency: Option<Currency>) -> Result<Position, InvalidCursor> {
        match text.parse() {
            Ok(_) if sort.is_by_total() => Err(InvalidCursor::OnlyId),
            Ok(id) => Ok(Position { total_minor: 0, id }),
            Err(domain::InvalidOrderId) => Self::read(text, sort, currency),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let bytes = BASE64.decode(text).ok()?;
        let mut parts = std::str::from_utf8(&bytes).ok()?.split(':');
        let sort = match parts.next()? {
            "v1" => Sort::default(),
            "v2" => parts.next()?.parse().ok()?,
            _ => return None,
        };
        let (currency, total_minor) = if sort.is_by_total() {
            let currency = parts.next()?.parse().ok()?;
            let total = parts.next()?.parse().ok().filter(|total| *total >= 0)?;
            (Some(currency), total)
        } else {
            (None, 0)
        };
        let id: OrderId = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { sort, currency, position: Position { total_minor, id } })
    }
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sort, currency, position: Position { total_minor, id } } = self;
        let text = match currency {
            Some(currency) => format!("v2:{sort}:{currency}:{total_minor}:{id}"),
            None => format!("v2:{sort}:{id}"),
        };
        f.write_str(&BASE64.encode(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const ALL: [Sort; 4] =
        [Sort::CreatedDescending, Sort::CreatedAscending, Sort::TotalDescending, Sort::TotalAscending];

    fn cursor(sort: Sort, total_minor: i64) -> PageCursor {
        let total_minor = if sort.is_by_total() { total_minor } else { 0 };
        let currency = sort.is_by_total().then_some(Currency::USD);
        PageCursor { sort, currency, position: Position { total_minor, id: ID.parse().unwrap() } }
    }

    #[test]
    fn cursor_is_valid_for_its_list_only() {
        for made_for in ALL {
            let text = cursor(made_for, i64::MAX).to_string();
            assert!(text.len() <= 100, "{} characters", text.len());
            for used_for in ALL {
                let read = PageCursor::read(&text, used_for, Some(Currency::USD));
                if made_for == used_for {
                    assert_eq!(read, Ok(cursor(made_for, i64::MAX).position));
                } else {
                    assert_eq!(read, Err(InvalidCursor::OtherSort { made_for, used_for }));
                }
            }
        }
        let euros = "EUR".parse().unwrap();
        let read =
            PageCursor::read(&cursor(Sort::TotalAscending, 5).to_string(), Sort::TotalAscending, Some(euros));
        assert!(matches!(read, Err(InvalidCursor::OtherCurrency { .. })));
    }

    #[test]
    fn cursors_of_version_1_are_positions_by_time() {
        let text = BASE64.encode(format!("v1:{ID}"));
        let read = PageCursor::read(&text, Sort::default(), None).unwrap();
        assert_eq!(read.id.to_string(), ID);
        assert!(matches!(
            PageCursor::read(&text, Sort::TotalAscending, None),
            Err(InvalidCursor::OtherSort { .. })
        ));
    }

    #[test]
    fn id_is_a_cursor_of_a_sort_by_time() {
        for sort in ALL {
            let read = PageCursor::read_or_id(ID, sort, Some(Currency::USD));
            assert_eq!(read.is_ok(), !sort.is_by_total());
            assert_eq!(PageCursor::read(ID, sort, None), Err(InvalidCursor::Unreadable));
        }
    }

    #[test]
    fn invalid_cursors_are_rejected() {
        let made = [
            String::new(),
            format!("v0:{ID}"),
            format!("v3:-createdAt:{ID}"),
            format!("v2:{ID}"),
            format!("v2:-updatedAt:{ID}"),
            format!("v2:-createdAt:{ID}:more"),
            "v2:-createdAt:1".to_owned(),
            format!("v2:-createdAt:USD:1:{ID}"),
            format!("v2:total:USD:-1:{ID}"),
            format!("v2:total:USD:9223372036854775808:{ID}"),
            format!("v2:total:USD:1.5:{ID}"),
            format!("v2:total:XXX:1:{ID}"),
            format!("v2:total:USD:{ID}"),
            format!("v1:{ID}{}", " ".repeat(1_000_000)),
        ];
        let raw = ["", "x", "=", "djI6", "%00", "ä"].map(str::to_owned);
        for text in made.map(|text| BASE64.encode(text)).into_iter().chain(raw) {
            assert_eq!(PageCursor::parse(&text), None, "{text:.80}");
        }
        assert_eq!(PageCursor::parse(&BASE64.encode([0xff, 0xfe, 0])), None);
    }

    proptest! {
        #[test]
        fn no_string_panics(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let _ = PageCursor::parse(&text);
            let _ = PageCursor::parse(&BASE64.encode(bytes));
        }
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("cursor", &format!("{MAX_LENGTH} characters"));
    }
}
