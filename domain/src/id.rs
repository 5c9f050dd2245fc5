use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The id of an order: a UUID version 7, so ids sort by creation time. The bits behind the
/// milliseconds hold the microseconds, as the standard allows; in ids that are older than this they are
/// random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(Uuid);

/// The bits of the last eight bytes that are random.
const RANDOM_END: u64 = (1 << 62) - 1;

/// The text is not a UUID.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not an order id: expected a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidOrderId;

impl OrderId {
    /// A new id whose time part is `now`; the rest is random.
    pub fn new(now: Timestamp) -> Self {
        let mut bytes = *Self::first_at(now).as_bytes();
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        // Twelve bits tell 1,000 microseconds apart.
        let [.., high, low] = (micros % 1_000 * 4_096 / 1_000).to_be_bytes();
        // The version, and below the variant.
        bytes[6] = 0x70 | high;
        bytes[7] = low;
        bytes[8..].copy_from_slice(&(1 << 63 | rand::random::<u64>() & RANDOM_END).to_be_bytes());
        Self::from_bytes(bytes)
    }

    /// No order that was created in the millisecond of `time`, or later, has an id below this one.
    pub fn first_at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_micros()).unwrap_or(0) / 1_000;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        Self::from_bytes(bytes)
    }

    /// New ids for orders that are created together: `count` of them, in a row, so that the first one
    /// tells all (see [`Self::run`]).
    pub fn new_run(now: Timestamp, count: usize) -> Vec<Self> {
        loop {
            let first = Self::new(now);
            // The random end must not overflow into the bits that say which kind of UUID it is. It
            // is 62 bits long, so this is hardly ever drawn again.
            let end = u64::from_be_bytes(first.as_bytes()[8..].try_into().unwrap_or([0xff; 8]));
            if (end & RANDOM_END).saturating_add(count as u64) <= RANDOM_END {
                return first.run(count);
            }
        }
    }

    /// The run of ids that begins with this one.
    pub fn run(self, count: usize) -> Vec<Self> {
        let first = u128::from_be_bytes(*self.as_bytes());
        (0..count as u128).map(|n| Self::from_bytes(first.wrapping_add(n).to_be_bytes())).collect()
    }

    /// The 16 bytes in the order in which ids sort.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
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

    fn from_str(text: &str) -> Result<Self, InvalidOrderId> {
        // Uuid also takes braces and URNs; one spelling is enough for an id in a URL.
        if text.len() != 36 {
            return Err(InvalidOrderId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidOrderId)
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
    fn ids_sort_by_microseconds_and_are_of_version_7() {
        let start = 1_700_000_000_000_000;
        let ids: Vec<OrderId> = (0..3_000).map(|n| OrderId::new(Timestamp::from_micros(start + n))).collect();
        assert!(ids.is_sorted());
        for id in &ids {
            assert_eq!(Uuid::from_bytes(*id.as_bytes()).get_version_num(), 7);
            assert_eq!(Uuid::from_bytes(*id.as_bytes()).get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn a_time_bounds_the_ids() {
        let at = |micros| Timestamp::from_micros(micros);
        let time = 1_700_000_000_000_999;
        assert!(OrderId::first_at(at(time)) <= OrderId::new(at(time - 999)));
        assert!(OrderId::first_at(at(time)) > OrderId::new(at(time - 1_000)));
        assert!(OrderId::first_at(at(-1)) <= OrderId::new(at(-1)));
        assert!(OrderId::first_at(at(i64::MAX)) > OrderId::new(at(time)), "the last time there is");
    }

    #[test]
    fn a_run_of_ids_follows_from_its_first() {
        let ids = OrderId::new_run(Timestamp::from_micros(1_700_000_000_000_000), 1_000);
        assert!(ids.is_sorted() && ids.len() == 1_000);
        assert_eq!(ids[0].run(1_000), ids);
        let version = |id: &OrderId| Uuid::from_bytes(*id.as_bytes()).get_version_num();
        assert!(ids.iter().all(|id| version(id) == 7));
        assert_eq!(ids[0].to_string()[..18], ids[999].to_string()[..18]);
    }

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        let id = OrderId::new(Timestamp::from_micros(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "abc", "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5dac96774bbcceb302099a8057"] {
            assert_eq!(bad.parse::<OrderId>(), Err(InvalidOrderId), "{bad}");
        }
    }
}
