//! The priorities of orders, and the division of queue capacity among them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The urgency of an order. It affects only the sequence in which pending orders are delivered to workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before the others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After the others, with a guaranteed share.
    Low,
}

/// The string is not a priority.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("must be high, normal or low")]
pub struct InvalidPriority;

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Returns the lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Returns the guaranteed share of the dispatched orders, in tenths, while orders of all priorities wait.
    ///
    /// A priority gets more if the others do not use their shares. Every share is at least one, so no priority starves.
    pub fn weight(self) -> u32 {
        match self {
            Self::High => 6,
            Self::Normal => 3,
            Self::Low => 1,
        }
    }
}

/// Divides `slots` among the priorities with waiting orders, in the order of [`Priority::ALL`], by weight.
///
/// The remainder is assigned at random (`random` is any evenly drawn number). On average each priority gets exactly its
/// share, also if slots become free one at a time, and no state is kept between calls.
pub fn allocate(slots: u32, waiting: [bool; 3], random: u32) -> [u32; 3] {
    let weight = |n: usize| if waiting[n] { u64::from(Priority::ALL[n].weight()) } else { 0 };
    let total: u64 = (0..3).map(weight).sum();
    if total == 0 {
        return [0; 3];
    }
    // The weights of all slots lie on one line. A priority gets a slot for each multiple of `total` within its part.
    let mut at = u64::from(random) * total / (u64::from(u32::MAX) + 1);
    let mut allocated = [0; 3];
    for (n, allocated) in allocated.iter_mut().enumerate() {
        let next = at + u64::from(slots) * weight(n);
        *allocated = u32::try_from(next / total - at / total).unwrap_or(slots);
        at = next;
    }
    allocated
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = InvalidPriority;

    fn from_str(string: &str) -> Result<Self, InvalidPriority> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == string).ok_or(InvalidPriority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ten_slots_are_divided_by_weight() {
        assert_eq!(allocate(10, [true, true, true], 0), [6, 3, 1]);
        assert_eq!(allocate(256, [true, true, true], 0).iter().sum::<u32>(), 256);
        assert_eq!(allocate(256, [false, true, false], 7), [0, 256, 0]);
        assert_eq!(allocate(10, [false, false, false], 7), [0, 0, 0]);
    }

    /// Over all draws each priority gets exactly its share, for any number of slots.
    #[test]
    fn few_slots_are_divided_exactly_over_all_draws() {
        for slots in 1..=9 {
            let mut sums = [0_u32; 3];
            for draw in 0..10 {
                let allocated = allocate(slots, [true; 3], draw * (u32::MAX / 10 + 1));
                sums = [sums[0] + allocated[0], sums[1] + allocated[1], sums[2] + allocated[2]];
            }
            assert_eq!(sums, [6 * slots, 3 * slots, slots]);
        }
    }

    proptest! {
        #[test]
        fn every_slot_goes_to_a_priority_with_waiting_orders(
            slots in 0..100_000_u32, waiting: [bool; 3], random: u32,
        ) {
            let allocated = allocate(slots, waiting, random);
            let expected = if waiting.contains(&true) { slots } else { 0 };
            prop_assert_eq!(allocated.iter().sum::<u32>(), expected);
            for (allocated, waits) in allocated.iter().zip(waiting) {
                prop_assert!(waits || *allocated == 0);
            }
        }
    }
}
