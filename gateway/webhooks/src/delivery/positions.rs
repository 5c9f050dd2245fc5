//! The positions after a cursor that were delivered, as stored bytes: ascending differences as variable-length integers.

use std::collections::BTreeSet;

/// Maximum length of the stored bytes, that of their column.
const MAX_BYTES: usize = 5_000;

/// Encodes positions after `base`. Those that do not fit are left out: their events would be delivered again.
pub(super) fn encode(base: u64, positions: &BTreeSet<u64>) -> Vec<u8> {
    let (mut bytes, mut before) = (Vec::new(), base);
    for position in positions.range(base + 1..) {
        let start = bytes.len();
        let mut rest = position - before;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        if bytes.len() > MAX_BYTES {
            bytes.truncate(start);
            break;
        }
        before = *position;
    }
    bytes
}

/// Decodes positions after `base`. Invalid bytes end the list.
pub(super) fn decode(base: u64, bytes: &[u8]) -> BTreeSet<u64> {
    let (mut positions, mut before, mut value, mut shift) = (BTreeSet::new(), base, 0_u64, 0);
    for byte in bytes {
        if shift > 56 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            let Some(position) = before.checked_add(value) else { break };
            positions.insert(position);
            (before, value, shift) = (position, 0, 0);
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_after_the_cursor_are_kept() {
        let positions: BTreeSet<u64> = [5, 8, 9, 200, 100_000, 100_001].into();
        let encoded = encode(8, &positions);
        assert_eq!(decode(8, &encoded), [9, 200, 100_000, 100_001].into());
        assert_eq!(encode(100_001, &positions), [0; 0]);
        // A thousand events within a billion fit.
        let far: BTreeSet<u64> = (1..=1_000).map(|n| n * 1_000_000).collect();
        assert_eq!(decode(0, &encode(0, &far)), far);
        assert!(decode(0, &[0xff; 100]).is_empty());
        let many: BTreeSet<u64> = (1..=10_000).collect();
        assert_eq!(decode(0, &encode(0, &many)).len(), MAX_BYTES);
    }
}
