//! Slots: the fixed parts of the data of a sharded database.
//!
//! A slot is the first byte of what Vitess calls the keyspace id of a row: of the `xxhash` of the value that routes it. A shard
//! has a range of slots, so rows with one slot stay together, whatever the number of shards becomes.

use crate::order_id::OrderId;

/// One of the 256 parts of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u8);

impl Slot {
    /// Returns the slot of the rows that this value routes.
    pub fn of(value: &[u8]) -> Self {
        // Vitess writes the hash with its lowest byte first.
        Self(xxhash_rust::xxh64::xxh64(value, 0).to_le_bytes()[0])
    }
}

impl OrderId {
    /// Returns the slot of the order and of everything that is stored with it.
    pub fn slot(&self) -> Slot {
        Slot::of(self.as_bytes())
    }

    /// Returns an id in a slot that differs from this one in its last 16 bits at most. This one determines it.
    ///
    /// One of 256 ids has the slot, so this takes 256 hashes on average.
    pub fn in_slot(self, slot: Slot) -> Self {
        let mut bytes = *self.as_bytes();
        let [.., high, low] = bytes;
        let last = u16::from_be_bytes([high, low]);
        for change in 0..=u16::MAX {
            let [high, low] = (last ^ change).to_be_bytes();
            (bytes[14], bytes[15]) = (high, low);
            if Slot::of(&bytes) == slot {
                break;
            }
        }
        Self::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    /// The hashes are those of the vindex `xxhash` in the tests of Vitess.
    #[test]
    fn slots_are_those_of_vitess() {
        // `xxhash` of these values begins with this byte.
        for (value, first) in
            [(&b"test1"[..], 0xd0), (b"test2", 0x87), (b"testaverylongvaluetomakesurethisworks", 0x81)]
        {
            assert_eq!(Slot::of(value), Slot(first), "{value:?}");
        }
    }

    #[test]
    fn an_id_moves_to_every_slot_and_keeps_its_time() {
        let id = OrderId::new(Timestamp::from_micros(1_700_000_000_000_123));
        for slot in (0..=u8::MAX).map(Slot) {
            let moved = id.in_slot(slot);
            assert_eq!((moved.slot(), moved.time()), (slot, id.time()));
            assert_eq!(moved.as_bytes()[..14], id.as_bytes()[..14]);
            assert_eq!(moved, id.in_slot(slot), "the id determines it");
            assert_eq!(moved, moved.in_slot(slot));
        }
    }
}
