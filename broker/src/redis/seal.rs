//! What proves that a message was sent by a gateway of the same installation, and is taken once.
//!
//! Everybody who reaches Redis can publish on the channel, record what is sent there, and send it again; and
//! pub/sub ignores the numbers of databases. So each message begins with
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version of this form |
//! | 16 | installation |
//! | 8 | sender: drawn anew by each process |
//! | 8 | number of the message, ascending for each sender |
//! | 16 | the first half of the HMAC-SHA256 of everything else in the message |
//!
//! and then has its content (see `message`). A gateway drops what is of another installation, what the HMAC
//! does not fit, and a number that it has seen from that sender.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The form before had no proof.
const VERSION: u8 = 2;
const INSTALLATION: usize = 16;
/// The version, the installation, the sender and the number.
const HEAD: usize = 1 + INSTALLATION + 8 + 8;
const TAG: usize = 16;
/// Far more than a full message of events with the longest reasons has. A longer one is not looked at.
const LONGEST: usize = 4 * 1024 * 1024;
/// Senders that are remembered; each is a process of a gateway.
const SENDERS: usize = 4_096;

/// The shortest secret.
pub const MIN_SECRET_BYTES: usize = 16;

/// The gateways that share this, and no others, believe each other's messages. Cheap to clone.
#[derive(Clone)]
pub struct BusKey {
    installation: [u8; INSTALLATION],
    mac: Hmac<Sha256>,
}

impl BusKey {
    /// The key of an installation. The secret should have at least [`MIN_SECRET_BYTES`] bytes.
    pub fn new(installation: [u8; INSTALLATION], secret: &[u8]) -> Self {
        let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
        // The secret may have other uses.
        let own = mac(secret).chain_update(b"orders bus").finalize().into_bytes();
        Self { installation, mac: mac(&own) }
    }
}

impl fmt::Debug for BusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusKey").finish_non_exhaustive()
    }
}

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    #[error("it is not a message of this version")]
    Unreadable,
    #[error("it is of another installation")]
    Foreign,
    #[error("no gateway with this secret has sent it")]
    Forged,
    #[error("it came before")]
    Replayed,
}

impl Refused {
    /// In metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
        }
    }
}

/// Seals the messages of one process.
#[derive(Debug)]
pub(super) struct Sender {
    key: BusKey,
    id: [u8; 8],
    sent: AtomicU64,
}

impl Sender {
    pub(super) fn new(key: BusKey) -> Self {
        Self { key, id: rand::random(), sent: AtomicU64::new(0) }
    }

    pub(super) fn key(&self) -> &BusKey {
        &self.key
    }

    /// The message with this content.
    pub(super) fn seal(&self, content: &[u8]) -> Vec<u8> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut message = Vec::with_capacity(HEAD + TAG + content.len());
        message.push(VERSION);
        message.extend_from_slice(&self.key.installation);
        message.extend_from_slice(&self.id);
        message.extend_from_slice(&number.to_be_bytes());
        let tag = self.key.mac.clone().chain_update(&message).chain_update(content).finalize().into_bytes();
        message.extend_from_slice(&tag[..TAG]);
        message.extend_from_slice(content);
        message
    }
}

/// Opens the messages of one subscription, over all of its connections.
#[derive(Debug)]
pub(super) struct Receiver {
    key: BusKey,
    senders: HashMap<[u8; 8], Seen>,
    opened: u64,
}

/// The latest numbers of one sender. They may be out of order by as many as the bits.
#[derive(Debug)]
struct Seen {
    highest: u64,
    /// Bit n: `highest - n` has come.
    bits: u64,
    /// When it came last, counted in messages.
    at: u64,
}

impl Receiver {
    pub(super) fn new(key: BusKey) -> Self {
        Self { key, senders: HashMap::new(), opened: 0 }
    }

    /// The content of a message.
    pub(super) fn open<'m>(&mut self, message: &'m [u8]) -> Result<&'m [u8], Refused> {
        if message.len() > LONGEST || message.first() != Some(&VERSION) {
            return Err(Refused::Unreadable);
        }
        let (head, rest) = message.split_at_checked(HEAD).ok_or(Refused::Unreadable)?;
        let (tag, content) = rest.split_at_checked(TAG).ok_or(Refused::Unreadable)?;
        if head[1..=INSTALLATION] != self.key.installation {
            return Err(Refused::Foreign);
        }
        let mac = self.key.mac.clone().chain_update(head).chain_update(content);
        // In constant time.
        mac.verify_truncated_left(tag).map_err(|_| Refused::Forged)?;
        let sender = head[1 + INSTALLATION..].first_chunk::<8>().ok_or(Refused::Unreadable)?;
        let number = head.last_chunk::<8>().ok_or(Refused::Unreadable)?;
        if self.is_new(*sender, u64::from_be_bytes(*number)) { Ok(content) } else { Err(Refused::Replayed) }
    }

    fn is_new(&mut self, sender: [u8; 8], number: u64) -> bool {
        self.opened += 1;
        let at = self.opened;
        if let Some(seen) = self.senders.get_mut(&sender) {
            seen.at = at;
            return seen.note(number);
        }
        if self.senders.len() >= SENDERS {
            let oldest = self.senders.iter().min_by_key(|(_, seen)| seen.at).map(|(sender, _)| *sender);
            oldest.map(|sender| self.senders.remove(&sender));
        }
        self.senders.insert(sender, Seen { highest: number, bits: 1, at });
        true
    }
}

impl Seen {
    /// Whether the number has not come before.
    fn note(&mut self, number: u64) -> bool {
        if number > self.highest {
            let shift = u32::try_from(number - self.highest).unwrap_or(u32::MAX);
            self.bits = self.bits.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        let bit = u32::try_from(self.highest - number).ok().and_then(|back| 1_u64.checked_shl(back));
        let new = bit.is_some_and(|bit| self.bits & bit == 0);
        self.bits |= bit.unwrap_or(0);
        new
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
    fn what_is_sealed_is_opened_once() {
        let (sender, mut receiver) = (Sender::new(key(1)), Receiver::new(key(1)));
        let messages: Vec<_> = (0..200_u8).map(|n| sender.seal(&[n])).collect();
        for (n, message) in messages.iter().enumerate() {
            assert_eq!(receiver.open(message), Ok(&[n as u8][..]));
        }
        for message in &messages {
            assert_eq!(receiver.open(message), Err(Refused::Replayed));
        }
        // Another process counts from the beginning.
        assert!(receiver.open(&Sender::new(key(1)).seal(b"x")).is_ok());
        assert!(!format!("{receiver:?}{sender:?}").contains("mac"));
    }

    #[test]
    fn messages_may_overtake_each_other() {
        let (sender, mut receiver) = (Sender::new(key(1)), Receiver::new(key(1)));
        let messages: Vec<_> = (0..64_u8).map(|n| sender.seal(&[n])).collect();
        for message in messages.iter().rev() {
            assert!(receiver.open(message).is_ok());
        }
        assert!(messages.iter().all(|message| receiver.open(message) == Err(Refused::Replayed)));
    }

    #[test]
    fn messages_of_others_are_told_apart() {
        let mut receiver = Receiver::new(key(1));
        let foreign = Sender::new(BusKey::new([8; 16], &[1; 32])).seal(b"content");
        assert_eq!(receiver.open(&foreign), Err(Refused::Foreign));
        assert_eq!(receiver.open(&Sender::new(key(2)).seal(b"content")), Err(Refused::Forged));
        for unreadable in [&b""[..], b"{}", b"\x01", b"\x02", &[2; HEAD + TAG - 1], &vec![2; LONGEST + 1]] {
            assert_eq!(receiver.open(unreadable), Err(Refused::Unreadable));
        }
        assert_eq!(receiver.senders.len(), 0, "only senders with the secret take up memory");
    }

    #[test]
    fn memory_is_bounded() {
        let mut receiver = Receiver::new(key(1));
        for n in 0..SENDERS as u64 + 10 {
            assert!(receiver.is_new(n.to_be_bytes(), 1));
        }
        assert_eq!(receiver.senders.len(), SENDERS);
        assert!(!receiver.is_new((SENDERS as u64 + 9).to_be_bytes(), 1));
    }

    proptest! {
        #[test]
        fn nothing_that_was_changed_is_opened(
            content in prop::collection::vec(any::<u8>(), 0..50), at in any::<prop::sample::Index>(), bit in 0..8_u8,
            cut in any::<prop::sample::Index>(), other in any::<Vec<u8>>(),
        ) {
            let (sender, mut receiver) = (Sender::new(key(1)), Receiver::new(key(1)));
            let message = sender.seal(&content);
            let mut changed = message.clone();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert!(receiver.open(&changed).is_err());
            prop_assert!(receiver.open(&message[..cut.index(message.len())]).is_err());
            prop_assert!(receiver.open(&[&message[..], &[0]].concat()).is_err());
            prop_assert!(receiver.open(&other).is_err());
            prop_assert_eq!(receiver.open(&message), Ok(&content[..]));
        }
    }
}
