//! The code of an order: a short form of its id for people.
//!
//! Its 40 bits are the last 28 random bits of the id, and the 12 bits of its time that count half hours (2^21 ms, about 35
//! minutes) within 99 days. So a code needs no column and no index: the orders with a code are in one half hour of each 99
//! days, and few entries of the index by id are read.
//!
//! A code is not unique. Two orders of a tenant share one only if they also share the 28 random bits: the probability that
//! an order has the code of another one is 1 to 2^28 for each other order of that half hour. A lookup returns all of them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::order_id::OrderId;
use crate::timestamp::Timestamp;

/// The digits of Crockford's base 32, which has no I, L, O and U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The number of digits of a code.
pub const ORDER_CODE_DIGITS: usize = 8;
/// The random bits of a code.
const RANDOM_BITS: u32 = 28;
/// The bits of a code that count half hours.
const TIME_BITS: u32 = 12;
/// The milliseconds of a half hour, as a power of two.
const UNIT_BITS: u32 = 21;
/// Maximum number of periods of 99 days in which a code is looked up, the latest first: 17 years.
pub const MAX_CODE_PERIODS: u64 = 64;

/// The code of an order, such as `7K3M9QXP`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OrderCode(u64);

/// The string is not a code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a code of an order: expected 8 digits and letters such as 7K3M9QXP")]
pub struct InvalidOrderCode;

impl OrderCode {
    /// Returns the code of an order.
    pub fn of(id: OrderId) -> Self {
        let [.., a, b, c, d] = *id.as_bytes();
        let random = u64::from(u32::from_be_bytes([a, b, c, d])) & ((1 << RANDOM_BITS) - 1);
        let unit = (millis(id) >> UNIT_BITS) & ((1 << TIME_BITS) - 1);
        Self(random << TIME_BITS | unit)
    }

    /// Returns the last three bytes of the ids with this code.
    pub fn last_bytes(self) -> [u8; 3] {
        let [.., a, b, c] = (self.0 >> TIME_BITS).to_be_bytes();
        [a, b, c]
    }

    /// Returns ranges of ids that together contain those with this code between two times, the latest first.
    pub fn ranges(
        self,
        oldest: Timestamp,
        latest: Timestamp,
    ) -> impl Iterator<Item = RangeInclusive<OrderId>> {
        let unit = self.0 & ((1 << TIME_BITS) - 1);
        let period = |time: Timestamp| millis(OrderId::first_at(time)) >> (UNIT_BITS + TIME_BITS);
        let (first, last) = (period(oldest), period(latest));
        (first..=last).rev().take(MAX_CODE_PERIODS as usize).map(move |period| {
            let start = (period << TIME_BITS | unit) << UNIT_BITS;
            let id = |millis: u64, rest: u8| {
                let mut bytes = [rest; 16];
                bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
                OrderId::from_bytes(bytes)
            };
            id(start, 0)..=id(start + ((1 << UNIT_BITS) - 1), u8::MAX)
        })
    }
}

/// Returns the time of an id, in milliseconds.
fn millis(id: OrderId) -> u64 {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&id.as_bytes()[..6]);
    u64::from_be_bytes(millis)
}

impl fmt::Display for OrderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; ORDER_CODE_DIGITS];
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = DIGITS[(self.0 >> (5 * place)) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for OrderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for OrderCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Hyphens, spaces and case do not count, and letters that look like digits are read as these.
impl FromStr for OrderCode {
    type Err = InvalidOrderCode;

    fn from_str(string: &str) -> Result<Self, InvalidOrderCode> {
        let (mut number, mut count) = (0, 0);
        for character in string.chars().filter(|character| !matches!(character, '-' | ' ')) {
            let character = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let digit = DIGITS.iter().position(|digit| char::from(*digit) == character);
            count += 1;
            if count > ORDER_CODE_DIGITS {
                return Err(InvalidOrderCode);
            }
            number = number << 5 | digit.ok_or(InvalidOrderCode)? as u64;
        }
        if count == ORDER_CODE_DIGITS { Ok(Self(number)) } else { Err(InvalidOrderCode) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let id: OrderId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let code = OrderCode::of(id);
        assert_eq!(code.to_string(), "K6M0AY2J");
        for text in ["k6m0ay2j", "K6M0-AY2J", " K6MO AY2J ", "k6mo-ay2j"] {
            assert_eq!(text.parse(), Ok(code), "{text}");
        }
        for text in ["", "K6M0AY2", "K6M0AY2J5", "K6M0AY2U", "K6M0AY2é", "K6M0_Y2J"] {
            assert_eq!(text.parse::<OrderCode>(), Err(InvalidOrderCode), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_code_leads_to_its_order(micros in 0..4_000_000_000_000_000_i64, later in 0..40_u64) {
            let created = Timestamp::from_micros(micros);
            let id = OrderId::new(created);
            let code = OrderCode::of(id);
            prop_assert_eq!(code.to_string().parse(), Ok(code));
            prop_assert_eq!(&code.last_bytes()[..], &id.as_bytes()[13..]);
            let latest = created + Duration::from_secs(later * 24 * 60 * 60 * 99);
            let ranges: Vec<_> = code.ranges(created, latest).collect();
            prop_assert!(ranges.iter().any(|range| range.contains(&id)), "{:?}: {:?}", id, ranges);
            prop_assert!(ranges.len() as u64 <= later + 2);
            for range in ranges {
                let time = range.end().time().as_micros() - range.start().time().as_micros();
                prop_assert_eq!(time, ((1 << UNIT_BITS) - 1) * 1_000);
                let unit = |code: OrderCode| code.0 & ((1 << TIME_BITS) - 1);
                prop_assert_eq!(unit(OrderCode::of(*range.start())), unit(code));
            }
        }
    }

    #[test]
    fn few_orders_share_a_code() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let codes: std::collections::HashSet<OrderCode> =
            (0..1_000).map(|_| OrderCode::of(OrderId::new(now))).collect();
        assert!(codes.len() >= 999);
    }
}
