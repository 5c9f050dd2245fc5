//! The slots of a shard.

use domain::Slot;

/// A range of slots, from the name of a shard of Vitess such as `-80` or `40-80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyRange {
    first: u8,
    last: u8,
}

/// The shard of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) range: KeyRange,
}

impl KeyRange {
    /// Parses the name of a shard. `None` if its limits are not whole bytes: there are at most 256 shards.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        // The only shard of a keyspace that is not sharded.
        let (first, end) = match name {
            "0" => ("", ""),
            _ => name.split_once('-')?,
        };
        let first = if first.is_empty() { 0 } else { limit(first)? };
        let last = if end.is_empty() { u8::MAX } else { limit(end)?.checked_sub(1)? };
        (first <= last).then_some(Self { first, last })
    }

    pub(crate) fn contains(self, slot: Slot) -> bool {
        (self.first..=self.last).contains(&slot.0)
    }

    pub(crate) fn random_slot(self) -> Slot {
        Slot(rand::random_range(self.first..=self.last))
    }

    /// Returns the number that the vindex `reverse_bits` routes to the shard.
    pub(crate) fn number(self) -> i64 {
        i64::from(self.first.reverse_bits())
    }

    /// Returns whether the ranges contain each slot once. They are sorted.
    pub(crate) fn cover(ranges: impl Iterator<Item = Self>) -> bool {
        let mut next = Some(0);
        for range in ranges {
            if next != Some(range.first) {
                return false;
            }
            next = range.last.checked_add(1);
        }
        next.is_none()
    }
}

/// Reads a limit, whose further bytes have to be 0.
fn limit(text: &str) -> Option<u8> {
    let (first, rest) = text.split_at_checked(2)?;
    rest.bytes().all(|digit| digit == b'0').then(|| u8::from_str_radix(first, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_are_ranges() {
        let range = |name| KeyRange::parse(name).map(|range| (range.first, range.last, range.number()));
        for (name, expected) in [
            ("-80", (0, 0x7f, 0)),
            ("80-", (0x80, 0xff, 1)),
            ("40-80", (0x40, 0x7f, 2)),
            ("c0-", (0xc0, 0xff, 3)),
            ("8000-c000", (0x80, 0xbf, 1)),
            ("-", (0, 0xff, 0)),
            ("0", (0, 0xff, 0)),
        ] {
            assert_eq!(range(name), Some(expected), "{name}");
        }
        for name in ["", "80", "8080-", "x-", "80-40", "-00", "8-"] {
            assert_eq!(range(name), None, "{name}");
        }
    }

    #[test]
    fn shards_have_to_contain_every_slot_once() {
        let cover = |names: &[&str]| KeyRange::cover(names.iter().filter_map(|name| KeyRange::parse(name)));
        for names in [&["-80", "80-"][..], &["-"], &["-40", "40-80", "80-"]] {
            assert!(cover(names), "{names:?}");
        }
        for names in [&[][..], &["-80"], &["80-"], &["-40", "80-"], &["-80", "40-"], &["-", "80-"]] {
            assert!(!cover(names), "{names:?}");
        }
    }
}
