//! Order ids.
//!
//! They are built by hand and not with `Uuid::now_v7`: the database's time is an argument, and the orders of one request
//! have ascending ids within one millisecond. The process's generator (`rand`) draws the random bits at once. Measured
//! during creates: drawing them from the operating system (`getrandom`) took 1.4 % of the time of the HTTP threads. Drawing
//! arrays of bytes with `rand`, here and in request ids, cost 570 of the 69,000 instructions of a create. `bench accept`
//! measures creates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::timestamp::Timestamp;

/// The id of an order: a UUID version 7, so ids sort by creation time.
///
/// The bits after the milliseconds contain the microseconds, as the standard permits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(Uuid);

/// A map with an order id as key.
///
/// Its hash is keyed like that of the standard library and costs a fraction of it.
pub type OrderMap<V> = std::collections::HashMap<OrderId, V, hashlink::DefaultHashBuilder>;

/// The random bits of the last eight bytes.
const RANDOM_MASK: u64 = (1 << 62) - 1;

/// The string is not a UUID.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not an order id: expected a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidOrderId;

impl OrderId {
    /// Creates an id whose time part is `now`; the rest is random.
    pub fn new(now: Timestamp) -> Self {
        let mut bytes = *Self::first_at(now).as_bytes();
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        // Twelve bits distinguish 1,000 microseconds.
        set_slot(&mut bytes, u16::try_from(micros % 1_000 * 4_096 / 1_000).unwrap_or(0));
        // The variant, then the random bits.
        bytes[8..].copy_from_slice(&(1 << 63 | rand::random::<u64>() & RANDOM_MASK).to_be_bytes());
        Self::from_bytes(bytes)
    }

    /// Returns the lower bound of the ids of orders created in the millisecond of `time` or later.
    pub fn first_at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_micros()).unwrap_or(0) / 1_000;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        Self::from_bytes(bytes)
    }

    /// Returns the creation time of the id, in milliseconds.
    pub fn time(&self) -> Timestamp {
        let bytes = self.as_bytes();
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&bytes[..6]);
        Timestamp::from_micros(i64::from_be_bytes(millis).saturating_mul(1_000))
    }

    /// The number of shards of orders.
    pub const SHARDS: u16 = 1 << 10;

    /// Returns the shard of the order, below [`Self::SHARDS`]: ten random bits of the id.
    pub fn shard(&self) -> u16 {
        let [.., high, low] = *self.as_bytes();
        u16::from_be_bytes([high, low]) % Self::SHARDS
    }

    /// Creates the first id of a batch of `count` ids, at most [`Self::MAX_BATCH`] (see [`Self::batch_ids`]).
    ///
    /// All ids of the batch fit in its millisecond: its time part is up to a quarter of a millisecond early for 1,000 ids.
    pub fn first_of_batch(now: Timestamp, count: usize) -> Self {
        let mut bytes = *Self::new(now).as_bytes();
        let last = Self::MAX_BATCH.saturating_sub(count.max(1));
        let slot = get_slot(&bytes).min(u16::try_from(last).unwrap_or(0));
        set_slot(&mut bytes, slot);
        Self::from_bytes(bytes)
    }

    /// The maximum number of ids of one batch: the parts of a millisecond that an id distinguishes.
    pub const MAX_BATCH: usize = 1 << 12;

    /// Returns the `count` ids of the batch that begins with this one, in ascending order.
    ///
    /// Each has the next part of the millisecond, and its random bits from `random`, which gets the index in the batch.
    pub fn batch_ids(self, count: usize, random: impl Fn(u32) -> u64) -> Vec<Self> {
        let first = get_slot(self.as_bytes());
        let other = |n: u16| {
            let mut bytes = *self.as_bytes();
            set_slot(&mut bytes, first.saturating_add(n));
            bytes[8..].copy_from_slice(&(1 << 63 | random(n.into()) & RANDOM_MASK).to_be_bytes());
            Self::from_bytes(bytes)
        };
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        (0..count).map(|n| if n == 0 { self } else { other(n) }).collect()
    }

    /// Returns `count` ids that begin with this one and differ by 1.
    pub fn consecutive(self, count: usize) -> Vec<Self> {
        let first = u128::from_be_bytes(*self.as_bytes());
        (0..count as u128).map(|n| Self::from_bytes(first.wrapping_add(n).to_be_bytes())).collect()
    }

    /// Returns the 16 bytes, which sort like the ids.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Returns the id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

/// Returns the twelve bits that distinguish the parts of a millisecond.
fn get_slot(bytes: &[u8; 16]) -> u16 {
    u16::from_be_bytes([bytes[6] & 0x0f, bytes[7]])
}

fn set_slot(bytes: &mut [u8; 16], slot: u16) {
    let [high, low] = (slot & 0x0fff).to_be_bytes();
    // The upper half of the byte is the version.
    bytes[6] = 0x70 | high;
    bytes[7] = low;
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrderId {
    type Err = InvalidOrderId;

    fn from_str(string: &str) -> Result<Self, InvalidOrderId> {
        // Uuid also accepts braces and URNs; an id in a URL has one spelling.
        if string.len() != 36 {
            return Err(InvalidOrderId);
        }
        Uuid::try_parse(string).map(Self).map_err(|_| InvalidOrderId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let early = OrderId::new(Timestamp::from_micros(1_700_000_000_000_000));
        let late = OrderId::new(Timestamp::from_micros(1_700_000_000_001_000));
        assert!(early < late);
        assert!(early.as_bytes() < late.as_bytes());
    }

    #[test]
    fn ids_sort_by_microseconds_and_have_version_7() {
        let start = 1_700_000_000_000_000;
        let ids: Vec<OrderId> = (0..3_000).map(|n| OrderId::new(Timestamp::from_micros(start + n))).collect();
        assert!(ids.is_sorted());
        for id in &ids {
            assert_eq!(Uuid::from_bytes(*id.as_bytes()).get_version_num(), 7);
            assert_eq!(Uuid::from_bytes(*id.as_bytes()).get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn first_at_is_the_lower_bound_of_a_time() {
        let at = |micros| Timestamp::from_micros(micros);
        let time = 1_700_000_000_000_999;
        assert_eq!(OrderId::new(at(time)).time(), at(time - 999));
        assert!(OrderId::first_at(at(time)) <= OrderId::new(at(time - 999)));
        assert!(OrderId::first_at(at(time)) > OrderId::new(at(time - 1_000)));
        assert!(OrderId::first_at(at(-1)) <= OrderId::new(at(-1)));
        assert!(OrderId::first_at(at(i64::MAX)) > OrderId::new(at(time)), "the last time there is");
    }

    #[test]
    fn batch_of_ids_is_ascending_and_within_its_millisecond() {
        for (micros, count) in [(0, 1_000), (500, 1_000), (999, 1_000), (999, 1), (0, OrderId::MAX_BATCH)] {
            let now = Timestamp::from_micros(1_700_000_000_000_000 + micros);
            let first = OrderId::first_of_batch(now, count);
            // The random bits descend, so only the time part can sort the ids.
            let ids = first.batch_ids(count, |n| u64::MAX - u64::from(n));
            assert!(ids.is_sorted_by(|a, b| a < b) && ids.len() == count && ids[0] == first);
            for id in &ids {
                let uuid = Uuid::from_bytes(*id.as_bytes());
                assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
                assert_eq!(id.as_bytes()[..6], OrderId::first_at(now).as_bytes()[..6]);
            }
        }
    }

    #[test]
    fn consecutive_ids_differ_by_1() {
        let first = OrderId::new(Timestamp::from_micros(1_700_000_000_000_000));
        let ids = first.consecutive(3);
        let number = |id: &OrderId| u128::from_be_bytes(*id.as_bytes());
        assert_eq!(ids.iter().map(number).collect::<Vec<_>>(), [0, 1, 2].map(|n| number(&first) + n));
    }

    #[test]
    fn display_form_parses_and_other_strings_are_rejected() {
        let id = OrderId::new(Timestamp::from_micros(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "abc", "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5dac96774bbcceb302099a8057"] {
            assert_eq!(bad.parse::<OrderId>(), Err(InvalidOrderId), "{bad}");
        }
    }
}
