//! Derives numbers and keys from the secret of an installation, which only its gateways know.

use domain::{LeaseToken, OrderId};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use gateway_store::Installation;

/// Derives ids, lease tokens and keys from the secret of the installation. Cheap to clone.
#[derive(Clone)]
pub struct InstallationKeys {
    secret: Hmac<Sha256>,
    /// Whether the orders of a bulk create have ids in one slot.
    one_slot: bool,
}

impl InstallationKeys {
    pub(crate) fn new(installation: &Installation) -> Self {
        let secret = Hmac::new_from_slice(&installation.secret).expect("HMAC takes keys of every length");
        Self { secret, one_slot: false }
    }

    /// Sets whether the orders of a bulk create have ids in one slot, and are therefore in one shard of the database.
    pub(crate) fn with_slots(self, one_slot: bool) -> Self {
        Self { one_slot, ..self }
    }

    /// Derives the ids of a bulk create from the first one. Known ids do not reveal the others.
    pub(crate) fn bulk_ids(&self, first: OrderId, count: usize) -> Vec<OrderId> {
        let mut ids = first.batch_ids(count, |n| self.number(b"run", first.as_bytes(), &n.to_be_bytes()));
        if self.one_slot {
            let slot = first.slot();
            ids.iter_mut().for_each(|id| *id = id.in_slot(slot));
        }
        ids
    }

    /// Converts a lease token to that of the worker of this order, and back.
    ///
    /// Orders share tokens, but a received token is valid for its order only.
    pub fn mask_token(&self, order: OrderId, token: LeaseToken) -> Option<LeaseToken> {
        // As a token, the mask has no sign.
        let mask = self.number(b"lease", order.as_bytes(), &[]) >> 1;
        LeaseToken::from_i64(token.as_i64() ^ mask.cast_signed())
    }

    /// Derives a secret for one purpose.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = self.secret.clone();
        mac.update(b"key");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Returns the tag of lease tokens that a credential with this name starts. Clients cannot compute it.
    pub fn lease_tag(&self, name: &str) -> u32 {
        let number = self.number(b"lease tag", name.as_bytes(), &[]);
        u32::try_from(number >> 32).unwrap_or_default()
    }

    fn number(&self, label: &[u8], first: &[u8], second: &[u8]) -> u64 {
        let mut mac = self.secret.clone();
        for part in [label, first, second] {
            mac.update(&[u8::try_from(part.len()).unwrap_or(u8::MAX)]);
            mac.update(part);
        }
        let bytes = mac.finalize().into_bytes();
        u64::from_be_bytes(bytes.first_chunk().copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;

    use super::*;

    fn keys(secret: u8) -> InstallationKeys {
        InstallationKeys::new(&Installation { id: [0; 16], secret: [secret; 32] })
    }

    #[test]
    fn bulk_ids_share_only_their_time() {
        let first = OrderId::first_of_batch(Timestamp::from_micros(1_700_000_000_000_999), 1_000);
        let ids = keys(1).bulk_ids(first, 1_000);
        assert!(ids.is_sorted_by(|a, b| a < b) && ids[0].as_bytes()[..6] == ids[999].as_bytes()[..6]);
        assert_eq!(keys(1).bulk_ids(ids[0], 1_000), ids, "the first id determines all");
        assert_ne!(keys(2).bulk_ids(ids[0], 1_000)[1..], ids[1..], "but not without the secret");
        let random = |id: &OrderId| u64::from_be_bytes(id.as_bytes()[8..].try_into().unwrap()) << 2;
        let mut all: Vec<u64> = ids.iter().map(random).collect();
        // Each bit is set in about half of the ids, and differences do not repeat.
        for bit in 2..64 {
            let set = all.iter().filter(|random| *random >> bit & 1 == 1).count();
            assert!((350..650).contains(&set), "bit {bit} is set in {set} of 1000");
        }
        let mut differences: Vec<u64> = all.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        for numbers in [&mut all, &mut differences] {
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn bulk_ids_have_one_slot_in_a_database_with_shards() {
        let keys = keys(1).with_slots(true);
        let first = OrderId::first_of_batch(Timestamp::from_micros(1_700_000_000_000_999), 1_000);
        let ids = keys.bulk_ids(first, 1_000);
        assert!(ids.iter().all(|id| id.slot() == first.slot()) && ids.is_sorted_by(|a, b| a < b));
        assert_eq!((ids[0], keys.bulk_ids(first, 1_000)), (first, ids));
    }

    #[test]
    fn each_purpose_has_another_key() {
        assert_eq!(keys(1).derive("session"), keys(1).derive("session"));
        assert_ne!(keys(1).derive("session"), keys(1).derive("link"));
        assert_ne!(keys(1).derive("session"), keys(2).derive("session"));
    }

    #[test]
    fn token_is_bound_to_its_order() {
        let (keys, token) = (keys(1), LeaseToken::random());
        let order = |n| OrderId::from_bytes([n; 16]);
        let shown = keys.mask_token(order(1), token).unwrap();
        assert_eq!(keys.mask_token(order(1), shown), Some(token));
        assert_ne!(keys.mask_token(order(2), shown), Some(token));
        assert_ne!(keys.mask_token(order(2), token), Some(shown));
        assert_ne!(shown, token);
    }

    #[test]
    fn each_credential_has_a_tag() {
        assert_eq!(keys(1).lease_tag("key:a"), keys(1).lease_tag("key:a"));
        assert_ne!(keys(1).lease_tag("key:a"), keys(1).lease_tag("key:b"));
        assert_ne!(keys(1).lease_tag("key:a"), keys(2).lease_tag("key:a"));
    }
}
