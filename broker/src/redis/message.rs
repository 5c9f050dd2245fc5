//! Events as they travel on the channel.
//!
//! The content of a message (see `seal`) is its events, numbers big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 16 | order |
//! | 4 | sequence |
//! | 1, 1 | status, previous status (0 for none) |
//! | 4 | attempt |
//! | 8 | when, in microseconds since 1970 |
//! | 4, n | length of the reason plus one (0 for none), reason in UTF-8 |
//! | 4, n | length of the error class plus one (0 for none), error class in UTF-8 |
//!
//! Every gateway reads the events of all others, most of which nobody watches there; so reading is cheap.
//! A content without events says that some were lost on their way here.

use std::sync::Arc;

use domain::{OrderEvent, OrderId, Status, Timestamp};

/// What an event without a reason takes.
const EVENT: usize = 16 + 4 + 1 + 1 + 4 + 8 + 4 + 4;

/// Says that events were lost on their way here.
pub(super) const LOSS: &[u8] = &[];

/// What can be wrong with a message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Unreadable {
    #[error("it ends in the middle of an event")]
    Short,
    #[error("an event has a status or a reason that cannot be read")]
    Field,
}

pub(super) fn write(events: &[Arc<OrderEvent>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(events.len() * EVENT);
    for event in events {
        bytes.extend_from_slice(event.order_id.as_bytes());
        bytes.extend_from_slice(&event.sequence.to_be_bytes());
        bytes.push(code(event.status));
        bytes.push(event.previous_status.map_or(0, code));
        bytes.extend_from_slice(&event.attempt.to_be_bytes());
        bytes.extend_from_slice(&event.occurred_at.as_micros().to_be_bytes());
        for text in [event.reason.as_deref(), event.error_class.as_deref()] {
            // Far below 4 GiB: the domain limits it, and Redis the message.
            let length = text.map_or(0, |text| u32::try_from(text.len() + 1).unwrap_or(u32::MAX));
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
    }
    bytes
}

/// The events of a message; none when it says that some were lost.
pub(super) fn read(mut rest: &[u8]) -> Result<Arc<[Arc<OrderEvent>]>, Unreadable> {
    let mut events = Vec::with_capacity(rest.len() / EVENT);
    while !rest.is_empty() {
        events.push(Arc::new(event(&mut rest)?));
    }
    Ok(events.into())
}

fn event(rest: &mut &[u8]) -> Result<OrderEvent, Unreadable> {
    Ok(OrderEvent {
        order_id: OrderId::from_bytes(take(rest)?),
        sequence: u32::from_be_bytes(take(rest)?),
        status: status(take(rest)?).ok_or(Unreadable::Field)?,
        previous_status: match take(rest)? {
            [0] => None,
            code => Some(status(code).ok_or(Unreadable::Field)?),
        },
        attempt: u32::from_be_bytes(take(rest)?),
        occurred_at: Timestamp::from_micros(i64::from_be_bytes(take(rest)?)),
        reason: text(rest)?,
        error_class: text(rest)?,
    })
}

fn text(rest: &mut &[u8]) -> Result<Option<String>, Unreadable> {
    match u32::from_be_bytes(take(rest)?) {
        0 => Ok(None),
        length => {
            let (text, behind) = rest.split_at_checked(length as usize - 1).ok_or(Unreadable::Short)?;
            *rest = behind;
            Ok(Some(str::from_utf8(text).map_err(|_| Unreadable::Field)?.to_owned()))
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Unreadable> {
    let (taken, behind) = rest.split_first_chunk().ok_or(Unreadable::Short)?;
    *rest = behind;
    Ok(*taken)
}

fn code(status: Status) -> u8 {
    match status {
        Status::Pending => 1,
        Status::Processing => 2,
        Status::Completed => 3,
        Status::Failed => 4,
        Status::Cancelled => 5,
    }
}

fn status([code]: [u8; 1]) -> Option<Status> {
    Status::ALL.into_iter().find(|status| self::code(*status) == code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events() -> Vec<Arc<OrderEvent>> {
        let reasons = [None, Some(String::new()), Some("“because”\n".to_owned())];
        let statuses = [None].into_iter().chain(Status::ALL.map(Some));
        let event = |(previous_status, reason): (Option<Status>, &Option<String>)| OrderEvent {
            order_id: OrderId::from_bytes(*b"0123456789abcdef"),
            sequence: 0x0102_0304,
            status: previous_status.unwrap_or(Status::Cancelled),
            previous_status,
            attempt: u32::MAX,
            reason: reason.clone(),
            error_class: reason.clone(),
            occurred_at: Timestamp::from_micros(1_700_000_000_123_456),
        };
        statuses.zip(reasons.iter().cycle()).map(event).map(Arc::new).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let read = read(&write(&events())).unwrap();
        assert_eq!(*read, *events());
        assert_eq!(super::read(LOSS).unwrap().len(), 0);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_refused_or_read_as_events() {
        let whole = write(&events());
        let cut = (0..whole.len()).map(|end| whole[..end].to_vec());
        let changes = (0..whole.len()).flat_map(|at| [0, 6, 0x7f, 0xff].map(|value| (at, value)));
        let changed = changes.map(|(at, value)| {
            let mut changed = whole.clone();
            changed[at] = value;
            changed
        });
        for message in cut.chain(changed) {
            let Ok(events) = read(&message) else { continue };
            assert_eq!(read(&write(&events)), Ok(events));
        }
    }

    #[test]
    fn messages_of_others_are_told_apart() {
        for (message, why) in [
            (&b"[]"[..], Unreadable::Short),
            (b"\x01\x00", Unreadable::Short),
            (&[9; EVENT], Unreadable::Field),
        ] {
            assert_eq!(read(message).unwrap_err(), why);
        }
    }

    proptest! {
        #[test]
        fn no_content_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
            for content in [&bytes[..], &[&write(&events())[cut.index(200)..], &bytes[..]].concat()] {
                if let Ok(events) = read(content) {
                    prop_assert_eq!(read(&write(&events)), Ok(events));
                }
            }
        }
    }
}
