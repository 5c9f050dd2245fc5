//! A proxy between a system and its MariaDB that records commit times.
//!
//! The proxy forwards every byte. It records when the database responds to each COMMIT, and which events the
//! transaction wrote.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::servers::{local_address, split_port};

/// A packet with a statement.
///
/// It has three bytes of length, the number of the packet, the kind and the statement.
const ROLLBACK: &[u8] = b"\x09\0\0\0\x03ROLLBACK";
/// The end of a packet with COMMIT, alone or after other statements of the same text.
const COMMITS: [&[u8]; 2] = [b"\x07\0\0\0\x03COMMIT", b";COMMIT"];
/// Bytes that are forwarded at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Maximum number of bytes of a transaction; a connection that only reads sends more.
const MAX_TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// An order's id and the sequence of one of its events.
pub(crate) type EventKey = (u128, u32);

/// The recorded commit time of each event.
#[derive(Clone, Default)]
pub(crate) struct CommitTimes(Arc<Mutex<HashMap<EventKey, Instant>>>);

/// The bytes that a connection has sent since the end of its last transaction.
#[derive(Default)]
struct Transaction {
    sent: Vec<u8>,
    /// Whether COMMIT was sent and has no response.
    committing: bool,
}

impl CommitTimes {
    /// Starts a proxy for a `mysql://` URL, and returns the URL of the proxy.
    pub(crate) fn start_proxy(database_url: &str) -> io::Result<(Self, String)> {
        let (before, port, path) = split_port(database_url)?;
        let database = local_address(port);
        let listener = TcpListener::bind(local_address(0))?;
        let url = format!("{before}:{}/{path}", listener.local_addr()?.port());
        let commits = Self::default();
        let all = commits.clone();
        // The threads end with this process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let commits = all.clone();
                std::thread::spawn(move || commits.forward_connection(client, database));
            }
        });
        Ok((commits, url))
    }

    /// Returns the commit time of the transaction that wrote this event.
    pub(crate) fn committed_at(&self, event: EventKey) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&event).copied()
    }

    /// Forwards one connection in both directions until one side closes it.
    fn forward_connection(&self, client: TcpStream, database: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(database)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let transaction = Arc::new(Mutex::new(Transaction::default()));
        let (commits, in_response) = (self.clone(), transaction.clone());
        let (back, forth) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            forward(server, back, |_| {
                let at = Instant::now();
                let mut transaction = in_response.lock().unwrap_or_else(PoisonError::into_inner);
                if std::mem::take(&mut transaction.committing) {
                    let sent = std::mem::take(&mut transaction.sent);
                    let events = find_events(&sent);
                    let mut times = commits.0.lock().unwrap_or_else(PoisonError::into_inner);
                    times.extend(events.map(|event| (event, at)));
                }
            })
        });
        forward(client, forth, |bytes| {
            let mut transaction = transaction.lock().unwrap_or_else(PoisonError::into_inner);
            transaction.committing = COMMITS.iter().any(|commit| bytes.ends_with(commit));
            if bytes.ends_with(ROLLBACK) || transaction.sent.len() > MAX_TRANSACTION_BYTES {
                transaction.sent.clear();
            }
            transaction.sent.extend_from_slice(bytes);
        })
    }
}

/// Forwards all bytes; `inspect` gets them first.
fn forward(mut from: TcpStream, mut to: TcpStream, mut inspect: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(length) if length > 0 => {
                inspect(&chunk[..length]);
                to.write_all(&chunk[..length])?;
            }
            _ => return to.shutdown(Shutdown::Both),
        }
    }
}

/// Finds the events among the values of prepared statements.
///
/// A new order is an id of 16 bytes and its line items: the first values of a row of `orders` without reference and
/// customer. A change is a sequence of eight bytes and a status, the first values of each UPDATE of orders, and the ids
/// after them. The change of a lone order is a string with these values.
fn find_events(sent: &[u8]) -> impl Iterator<Item = EventKey> {
    const STATUSES: [&[u8]; 5] =
        [b"\x07pending", b"\x0aprocessing", b"\x09completed", b"\x06failed", b"\x09cancelled"];
    // The sequence of the latest change.
    let (mut sequence, mut at) = (None, 0);
    std::iter::from_fn(move || {
        while at < sent.len() {
            let (here, before) = (&sent[at..], &sent[..at]);
            at += 1;
            if let Some(id) = parse_id(here) {
                // Bytes that look like an id can be a part of another value, so the next value can begin within them.
                let is_new = here.get(18..).is_some_and(|rest| rest.starts_with(LINE_ITEMS));
                if let Some(sequence) = if is_new { Some(1) } else { sequence } {
                    return Some((id, sequence));
                }
            } else if let Some(text) = here.strip_prefix(VERSION) {
                sequence = parse_number(text);
            } else if let Some(id) = parse_text_id(here)
                && let Some(sequence) = sequence
            {
                return Some((id, sequence));
            } else if STATUSES.iter().any(|status| here.starts_with(status))
                && let Some(number) = before.last_chunk().copied().map(u64::from_le_bytes)
                && (2..u64::from(u16::MAX)).contains(&number)
            {
                sequence = u32::try_from(number).ok();
            }
        }
        None
    })
}

/// What precedes the sequence in an UPDATE whose text contains its values.
const VERSION: &[u8] = b"previous_at = updated_at, version = ";
/// What precedes the id there.
const TEXT_ID: &[u8] = b" AND id IN (x'";

fn parse_number(text: &[u8]) -> Option<u32> {
    let digits = text.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parse_text_id(text: &[u8]) -> Option<u128> {
    let digits = text.strip_prefix(TEXT_ID)?.get(..32)?;
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The first bytes of line items, after their length.
const LINE_ITEMS: &[u8] = b"[{\"item\":";

/// Parses a value that is a UUID version 7.
fn parse_id(value: &[u8]) -> Option<u128> {
    let bytes: [u8; 16] = value.strip_prefix(b"\x10")?.get(..16)?.try_into().ok()?;
    (bytes[6] >> 4 == 7 && bytes[8] >> 6 == 0b10).then(|| u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: u128 = 0x0190_1234_5678_7abc_8def_0123_4567_89ab;

    fn value(id: u128) -> Vec<u8> {
        [&[16], id.to_be_bytes().as_slice()].concat()
    }

    #[test]
    fn events_are_found_among_other_values() {
        let (one, other) = (value(ID), value(ID + 1));
        let created =
            [b"\x17\x01\0\0\0\x10", one.as_slice(), b"\x40", LINE_ITEMS, b"\x07pending\x10"].concat();
        assert_eq!(find_events(&created).collect::<Vec<_>>(), [(ID, 1)]);
        let [second, third] = [2_u64, 3].map(u64::to_le_bytes);
        let changed = [
            b"\x17\x02\0\0\0",
            second.as_slice(),
            b"\x0aprocessing\x04held\x07pending",
            &one,
            &other,
            b"\x17\x03\0\0\0",
            &third,
            b"\x09completed\x09completed\x0aprocessing",
            &second,
            &other,
        ]
        .concat();
        assert_eq!(find_events(&changed).collect::<Vec<_>>(), [(ID, 2), (ID + 1, 2), (ID + 1, 3)]);
    }

    #[test]
    fn events_are_found_in_a_query() {
        let text = format!(
            "UPDATE orders SET previous_status = status, previous_at = updated_at, version = 12, status = 'processing' \
             WHERE status = 'pending' AND version = 11 AND id IN (x'{ID:032x}');COMMIT"
        );
        assert_eq!(find_events(text.as_bytes()).collect::<Vec<_>>(), [(ID, 12)]);
    }

    #[test]
    fn proxy_forwards_bytes_and_records_commits() {
        let database = TcpListener::bind(local_address(0)).unwrap();
        let port = database.local_addr().unwrap().port();
        let (commits, url) =
            CommitTimes::start_proxy(&format!("mysql://a:b@127.0.0.1:{port}/orders")).unwrap();
        let proxy: u16 = url.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse().unwrap();
        let mut client = TcpStream::connect(local_address(proxy)).unwrap();
        let (mut server, _) = database.accept().unwrap();
        let mut exchange = |sent: &[u8]| {
            client.write_all(sent).unwrap();
            let mut received = vec![0; sent.len()];
            server.read_exact(&mut received).unwrap();
            assert_eq!(received, sent);
            server.write_all(b"ok").unwrap();
            let mut response = [0; 2];
            client.read_exact(&mut response).unwrap();
        };
        let mut row = 2_u64.to_le_bytes().to_vec();
        row.extend(b"\x09completed");
        row.extend(value(ID));
        exchange(&row);
        exchange(ROLLBACK);
        exchange(COMMITS[0]);
        assert!(commits.committed_at((ID, 2)).is_none());
        exchange(&row);
        assert!(commits.committed_at((ID, 2)).is_none());
        exchange(b"\x20\0\0\0\x03INSERT INTO event_log;COMMIT");
        assert!(commits.committed_at((ID, 2)).is_some());
    }
}
