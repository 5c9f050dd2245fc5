//! Authentication of bus messages, and protection against replay.
//!
//! Every client of Redis can publish on the channel, record its messages and send them again, and pub/sub ignores
//! database numbers. Therefore each message begins with
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version of this format and of the content |
//! | 16 | installation |
//! | 8 | sender: a random number of each process |
//! | 8 | number of the message, ascending for each sender |
//! | 16 | the first half of the HMAC-SHA256 of all other bytes of the message and the number of the channel |
//!
//! and then has its content (see `bus_content`). A gateway drops a message of another installation, with a wrong HMAC, or
//! with a number that it has already received from that sender. A number that does not arrive is a lost message.
//!
//! While the secret is replaced, gateways have two: the first one signs, and both are accepted.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Version 1 had no HMAC, version 2 no tenants, version 4 no channels.
const VERSION: u8 = 5;
const INSTALLATION_BYTES: usize = 16;
/// The version, the installation, the sender and the number.
const HEADER_BYTES: usize = 1 + INSTALLATION_BYTES + 8 + 8;
const TAG_BYTES: usize = 16;
/// Well above a full message of events with reasons of maximum length. A longer message is rejected unread.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// The number of messages after which an earlier one no longer arrives. A process publishes on a few connections at the same
/// time, so its messages can change places.
const LATE: u64 = 4;
/// The maximum number of remembered senders; each is a gateway process.
const MAX_SENDERS: usize = 4_096;

/// The minimum length of the secret.
pub const MIN_SECRET_BYTES: usize = 16;

/// The key that the gateways of one installation share. Cheap to clone; the clones share their secrets.
///
/// A gateway accepts only messages that were signed with its key.
#[derive(Clone)]
pub struct BusKey {
    installation: [u8; INSTALLATION_BYTES],
    macs: Arc<RwLock<Macs>>,
}

struct Macs {
    signing: Hmac<Sha256>,
    /// Is accepted as well.
    accepted: Option<Hmac<Sha256>>,
}

impl BusKey {
    /// Derives the key of an installation. The secret should have at least [`MIN_SECRET_BYTES`] bytes.
    pub fn new(installation: [u8; INSTALLATION_BYTES], secret: &[u8]) -> Self {
        let macs = Macs { signing: derive_mac(secret), accepted: None };
        Self { installation, macs: Arc::new(RwLock::new(macs)) }
    }

    /// Signs with `secret` from now on, and accepts messages with either of the secrets.
    pub fn replace_secrets(&self, secret: &[u8], accepted: Option<&[u8]>) {
        let macs = Macs { signing: derive_mac(secret), accepted: accepted.map(derive_mac) };
        *self.macs.write().unwrap_or_else(PoisonError::into_inner) = macs;
    }

    fn macs(&self) -> RwLockReadGuard<'_, Macs> {
        self.macs.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the tag of a message in constant time.
    fn has_signed(&self, header: &[u8], content: &[u8], channel: u8, tag: &[u8]) -> bool {
        let macs = self.macs();
        [Some(&macs.signing), macs.accepted.as_ref()].into_iter().flatten().any(|mac| {
            let mac = mac.clone().chain_update(header).chain_update(content).chain_update([channel]);
            mac.verify_truncated_left(tag).is_ok()
        })
    }
}

fn derive_mac(secret: &[u8]) -> Hmac<Sha256> {
    let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    // The derived key keeps the bus independent of other uses of the secret.
    mac(&mac(secret).chain_update(b"orders bus").finalize().into_bytes())
}

impl fmt::Debug for BusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusKey").finish_non_exhaustive()
    }
}

/// The reason why a message is dropped.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub(super) enum MessageRejection {
    #[error("it is not a message of this version")]
    Unreadable,
    #[error("it is of another installation")]
    Foreign,
    #[error("no gateway with this secret has sent it")]
    Forged,
    #[error("it came before")]
    Replayed,
}

impl MessageRejection {
    /// Returns the label value in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
        }
    }
}

/// The content of a message that was verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified<'m> {
    pub(super) content: &'m [u8],
    /// Whether an earlier message of its sender was lost.
    pub(super) follows_gap: bool,
}

/// Signs the messages of one process on one channel.
#[derive(Debug)]
pub(super) struct MessageSigner {
    key: BusKey,
    channel: u8,
    sender_id: [u8; 8],
    next_number: AtomicU64,
}

impl MessageSigner {
    pub(super) fn new(key: BusKey, channel: u8) -> Self {
        Self { key, channel, sender_id: rand::random(), next_number: AtomicU64::new(0) }
    }

    /// Returns the verifier of a subscription to the channel.
    pub(super) fn verifier(&self) -> MessageVerifier {
        MessageVerifier::new(self.key.clone(), self.channel)
    }

    /// Returns the signed message with this content.
    pub(super) fn sign(&self, content: &[u8]) -> Vec<u8> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut message = Vec::with_capacity(HEADER_BYTES + TAG_BYTES + content.len());
        message.push(VERSION);
        message.extend_from_slice(&self.key.installation);
        message.extend_from_slice(&self.sender_id);
        message.extend_from_slice(&number.to_be_bytes());
        let mac = self.key.macs().signing.clone();
        let tag = mac
            .chain_update(&message)
            .chain_update(content)
            .chain_update([self.channel])
            .finalize()
            .into_bytes();
        message.extend_from_slice(&tag[..TAG_BYTES]);
        message.extend_from_slice(content);
        message
    }
}

/// Verifies the messages of one subscription, over all of its connections.
#[derive(Debug)]
pub(super) struct MessageVerifier {
    key: BusKey,
    channel: u8,
    senders: HashMap<[u8; 8], ReplayWindow>,
    verified: u64,
}

/// The latest message numbers of one sender, which may arrive out of order within the window.
#[derive(Debug)]
struct ReplayWindow {
    /// The first number that was received.
    first: u64,
    highest: u64,
    /// Bit n: `highest - n` has been received.
    received: u64,
    /// The count of verified messages when the sender's latest message arrived.
    last_used: u64,
}

impl MessageVerifier {
    pub(super) fn new(key: BusKey, channel: u8) -> Self {
        Self { key, channel, senders: HashMap::new(), verified: 0 }
    }

    /// Verifies a message.
    pub(super) fn verify<'m>(&mut self, message: &'m [u8]) -> Result<Verified<'m>, MessageRejection> {
        if message.len() > MAX_MESSAGE_BYTES || message.first() != Some(&VERSION) {
            return Err(MessageRejection::Unreadable);
        }
        let (header, rest) = message.split_at_checked(HEADER_BYTES).ok_or(MessageRejection::Unreadable)?;
        let (tag, content) = rest.split_at_checked(TAG_BYTES).ok_or(MessageRejection::Unreadable)?;
        if header[1..=INSTALLATION_BYTES] != self.key.installation {
            return Err(MessageRejection::Foreign);
        }
        if !self.key.has_signed(header, content, self.channel, tag) {
            return Err(MessageRejection::Forged);
        }
        let sender =
            header[1 + INSTALLATION_BYTES..].first_chunk::<8>().ok_or(MessageRejection::Unreadable)?;
        let number = header.last_chunk::<8>().ok_or(MessageRejection::Unreadable)?;
        match self.record_number(*sender, u64::from_be_bytes(*number)) {
            Some(follows_gap) => Ok(Verified { content, follows_gap }),
            None => Err(MessageRejection::Replayed),
        }
    }

    /// Records a message number, and returns whether an earlier one was lost; `None` if the number is not new.
    fn record_number(&mut self, sender: [u8; 8], number: u64) -> Option<bool> {
        self.verified += 1;
        let last_used = self.verified;
        if let Some(window) = self.senders.get_mut(&sender) {
            window.last_used = last_used;
            return window.record_number(number);
        }
        if self.senders.len() >= MAX_SENDERS {
            let oldest =
                self.senders.iter().min_by_key(|(_, window)| window.last_used).map(|(sender, _)| *sender);
            oldest.map(|sender| self.senders.remove(&sender));
        }
        // What was sent before the subscription is not missing: the subscriber compares with the database then.
        self.senders.insert(sender, ReplayWindow { first: number, highest: number, received: 1, last_used });
        Some(false)
    }
}

impl ReplayWindow {
    /// Records a message number, and returns whether an earlier one was lost; `None` if the number is not new.
    ///
    /// A number is lost if it has not arrived before [`LATE`] later ones.
    fn record_number(&mut self, number: u64) -> Option<bool> {
        if number > self.highest {
            let advance = number - self.highest;
            let shift = u32::try_from(advance).unwrap_or(u32::MAX);
            // Bits that are pushed out, and those that become as old as `LATE`.
            let aged = self.received.checked_shl(shift).unwrap_or(0);
            let is_lost = (LATE..LATE.saturating_add(advance)).any(|age| {
                let is_expected = number.checked_sub(age).is_some_and(|number| number >= self.first);
                is_expected
                    && !u32::try_from(age).is_ok_and(|age| aged & 1_u64.checked_shl(age).unwrap_or(0) > 0)
            });
            self.received = aged | 1;
            self.highest = number;
            return Some(is_lost);
        }
        let bit = u32::try_from(self.highest - number).ok().and_then(|age| 1_u64.checked_shl(age));
        let new = bit.is_some_and(|bit| self.received & bit == 0);
        self.received |= bit.unwrap_or(0);
        new.then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: u8) -> BusKey {
        BusKey::new([7; 16], &[secret; 32])
    }

    #[test]
    fn signed_message_is_accepted_once() {
        let (signer, mut verifier) = (MessageSigner::new(key(1), 0), MessageVerifier::new(key(1), 0));
        let messages: Vec<_> = (0..200_u8).map(|n| signer.sign(&[n])).collect();
        for (n, message) in messages.iter().enumerate() {
            assert_eq!(
                verifier.verify(message),
                Ok(Verified { content: &[n as u8][..], follows_gap: false })
            );
        }
        for message in &messages {
            assert_eq!(verifier.verify(message), Err(MessageRejection::Replayed));
        }
        let on_another_channel = MessageSigner::new(key(1), 1).sign(b"x");
        assert_eq!(verifier.verify(&on_another_channel), Err(MessageRejection::Forged));
        // Another process counts from 0.
        assert!(verifier.verify(&MessageSigner::new(key(1), 0).sign(b"x")).is_ok());
        assert!(!format!("{verifier:?}{signer:?}").contains("mac"));
    }

    #[test]
    fn messages_are_accepted_out_of_order() {
        let (signer, mut verifier) = (MessageSigner::new(key(1), 0), MessageVerifier::new(key(1), 0));
        let messages: Vec<_> = (0..64_u8).map(|n| signer.sign(&[n])).collect();
        for message in messages.iter().rev() {
            assert!(verifier.verify(message).is_ok());
        }
        assert!(messages.iter().all(|message| verifier.verify(message) == Err(MessageRejection::Replayed)));
    }

    #[test]
    fn lost_messages_are_noticed() {
        let mut verifier = MessageVerifier::new(key(1), 0);
        let mut receive = |sender: u64, numbers: &[u64]| {
            let sender = sender.to_be_bytes();
            numbers.iter().map(|number| verifier.record_number(sender, *number)).collect::<Vec<_>>()
        };
        let (new, gap, repeated) = (Some(false), Some(true), None);
        // Messages before the first one of a subscription are not missing.
        assert_eq!(receive(1, &[70, 71, 73, 74, 72, 75, 76, 76]), [&[new; 7][..], &[repeated]].concat());
        // 77 is lost, which is reported once.
        assert_eq!(receive(1, &[78, 79, 80, 81, 82, 83]), [new, new, new, gap, new, new]);
        assert_eq!(receive(1, &[77]), [new], "it was late");
        assert_eq!(receive(1, &[90]), [gap]);
        assert_eq!(receive(1, &[1_000, 1_001]), [gap, gap]);
        assert_eq!(receive(2, &[5, 6, 7, 8, 9, 10]), [new; 6]);
    }

    #[test]
    fn rejections_are_distinguished() {
        let mut verifier = MessageVerifier::new(key(1), 0);
        let foreign = MessageSigner::new(BusKey::new([8; 16], &[1; 32]), 0).sign(b"content");
        assert_eq!(verifier.verify(&foreign), Err(MessageRejection::Foreign));
        let forged = MessageSigner::new(key(2), 0).sign(b"content");
        assert_eq!(verifier.verify(&forged), Err(MessageRejection::Forged));
        let (short, long) = ([VERSION; HEADER_BYTES + TAG_BYTES - 1], vec![VERSION; MAX_MESSAGE_BYTES + 1]);
        for unreadable in [&b""[..], b"{}", b"\x01", &[VERSION], &short, &long] {
            assert_eq!(verifier.verify(unreadable), Err(MessageRejection::Unreadable));
        }
        assert_eq!(verifier.senders.len(), 0, "only senders with the secret use memory");
    }

    /// First every gateway accepts the second secret, then they sign with it, then they no longer accept the first.
    #[test]
    fn secret_is_replaced_in_three_steps() {
        let steps: [(u8, Option<u8>); 4] = [(1, None), (1, Some(2)), (2, Some(1)), (2, None)];
        for pair in steps.windows(2) {
            for (sends, receives) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                let with = |(secret, accepted): (u8, Option<u8>)| {
                    let key = key(9);
                    let accepted = accepted.map(|secret| [secret; 32]);
                    key.clone().replace_secrets(&[secret; 32], accepted.as_ref().map(|secret| &secret[..]));
                    key
                };
                let message = MessageSigner::new(with(sends), 0).sign(b"content");
                assert!(
                    MessageVerifier::new(with(receives), 0).verify(&message).is_ok(),
                    "{sends:?} {receives:?}"
                );
                assert_eq!(MessageVerifier::new(key(9), 0).verify(&message), Err(MessageRejection::Forged));
            }
        }
    }

    /// During an update, gateways of two versions drop the messages of each other and read the events from the database.
    #[test]
    fn another_version_is_rejected() {
        let mut verifier = MessageVerifier::new(key(1), 0);
        let message = MessageSigner::new(key(1), 0).sign(b"content");
        for version in [VERSION - 1, VERSION + 1] {
            let other = [&[version], &message[1..]].concat();
            assert_eq!(verifier.verify(&other), Err(MessageRejection::Unreadable));
        }
        assert!(verifier.verify(&message).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let mut verifier = MessageVerifier::new(key(1), 0);
        for n in 0..MAX_SENDERS as u64 + 10 {
            assert_eq!(verifier.record_number(n.to_be_bytes(), 1), Some(false));
        }
        assert_eq!(verifier.senders.len(), MAX_SENDERS);
        assert_eq!(verifier.record_number((MAX_SENDERS as u64 + 9).to_be_bytes(), 1), None);
    }

    proptest! {
        #[test]
        fn changed_message_is_rejected(
            content in prop::collection::vec(any::<u8>(), 0..50), at in any::<prop::sample::Index>(), bit in 0..8_u8,
            cut in any::<prop::sample::Index>(), other in any::<Vec<u8>>(),
        ) {
            let (signer, mut verifier) = (MessageSigner::new(key(1), 0), MessageVerifier::new(key(1), 0));
            let message = signer.sign(&content);
            let mut changed = message.clone();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert!(verifier.verify(&changed).is_err());
            prop_assert!(verifier.verify(&message[..cut.index(message.len())]).is_err());
            prop_assert!(verifier.verify(&[&message[..], &[0]].concat()).is_err());
            prop_assert!(verifier.verify(&other).is_err());
            prop_assert_eq!(verifier.verify(&message).map(|verified| verified.content), Ok(&content[..]));
        }
    }
}
