//! Which orders go first while many wait.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How urgent an order is. It decides about the sequence in which waiting orders are handed to the
/// workers, and about nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Ahead of the others.
    High,
    /// What an order has that names none.
    #[default]
    Normal,
    /// Behind the others, but never forgotten.
    Low,
}

/// The text is not a priority.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("must be high, normal or low")]
pub struct InvalidPriority;

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// The share of the dispatched orders that this priority is sure of, in tenths, while orders of
    /// all priorities wait. It may have more when the others do not use theirs. Every share is at
    /// least one, so none is starved by the ones before it.
    pub fn share(self) -> u32 {
        match self {
            Self::High => 6,
            Self::Normal => 3,
            Self::Low => 1,
        }
    }
}

/// Divides `places` among the priorities for which orders wait, in the order of [`Priority::ALL`], by
/// their [`Priority::share`]. What cannot be divided evenly is drawn (`random` is any number, evenly
/// drawn), so that on average each gets exactly its share, also when places come one at a time, and
/// nobody has to remember who had the last one.
pub fn allocate(places: u32, waiting: [bool; 3], random: u32) -> [u32; 3] {
    let share = |n: usize| if waiting[n] { u64::from(Priority::ALL[n].share()) } else { 0 };
    let all: u64 = (0..3).map(share).sum();
    if all == 0 {
        return [0; 3];
    }
    // All shares of all places, one behind the other; a place is where a multiple of `all` is passed.
    let mut at = u64::from(random) * all / (u64::from(u32::MAX) + 1);
    let mut given = [0; 3];
    for (n, given) in given.iter_mut().enumerate() {
        let next = at + u64::from(places) * share(n);
        *given = u32::try_from(next / all - at / all).unwrap_or(places);
        at = next;
    }
    given
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = InvalidPriority;

    fn from_str(text: &str) -> Result<Self, InvalidPriority> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text).ok_or(InvalidPriority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_ten_places_six_are_high_three_normal_and_one_low() {
        assert_eq!(allocate(10, [true, true, true], 0), [6, 3, 1]);
        assert_eq!(allocate(256, [true, true, true], 0).iter().sum::<u32>(), 256);
        assert_eq!(allocate(256, [false, true, false], 7), [0, 256, 0]);
        assert_eq!(allocate(10, [false, false, false], 7), [0, 0, 0]);
    }

    /// Over all draws each priority gets its share to the place, however few there are at a time.
    #[test]
    fn a_few_places_are_shared_by_draw() {
        for places in 1..=9 {
            let mut won = [0_u32; 3];
            for draw in 0..10 {
                let given = allocate(places, [true; 3], draw * (u32::MAX / 10 + 1));
                won = [won[0] + given[0], won[1] + given[1], won[2] + given[2]];
            }
            assert_eq!(won, [6 * places, 3 * places, places]);
        }
    }

    proptest! {
        #[test]
        fn every_place_is_given_to_somebody_who_waits(places in 0..100_000_u32, waiting: [bool; 3], random: u32) {
            let given = allocate(places, waiting, random);
            let expected = if waiting.contains(&true) { places } else { 0 };
            prop_assert_eq!(given.iter().sum::<u32>(), expected);
            for (given, waits) in given.iter().zip(waiting) {
                prop_assert!(waits || *given == 0);
            }
        }
    }
}
