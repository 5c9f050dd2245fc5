//! When a system's transactions were committed, seen from the outside: it reaches its MariaDB through a door of
//! this process, which passes everything on and notes when the answer to each COMMIT comes out of the
//! database, and which events the transaction has written.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::servers::local;

/// A statement as text: three bytes of length, the number of the packet, the kind, the text.
const ROLLBACK: &[u8] = b"\x09\0\0\0\x03ROLLBACK";
const COMMIT: &[u8] = b"\x07\0\0\0\x03COMMIT";
/// Bytes that are passed on in one go.
const PIECE: usize = 64 * 1024;
/// No transaction sends more; a connection that only reads would.
const MOST: usize = 4 * 1024 * 1024;

/// An order's id and the sequence of one of its events.
pub(crate) type EventKey = (u128, u32);

/// The door to a database.
#[derive(Clone, Default)]
pub(crate) struct Commits(Arc<Mutex<HashMap<EventKey, Instant>>>);

/// What a connection has sent since its last transaction ended.
#[derive(Default)]
struct Transaction {
    sent: Vec<u8>,
    /// COMMIT was sent, and its answer has not come.
    ending: bool,
}

impl Commits {
    /// Opens a door to the database of a `mysql://` URL. Answers the URL that leads through it.
    pub(crate) fn watch(database_url: &str) -> io::Result<(Self, String)> {
        let wrong = || io::Error::other(format!("{database_url} has no port"));
        let (before, after) = database_url.rsplit_once(':').ok_or_else(wrong)?;
        let (port, path) = after.split_once('/').ok_or_else(wrong)?;
        let database = local(port.parse().map_err(|_| wrong())?);
        let door = TcpListener::bind(local(0))?;
        let url = format!("{before}:{}/{path}", door.local_addr()?.port());
        let commits = Self::default();
        let all = commits.clone();
        // Ends with this process, like everything that comes through.
        std::thread::spawn(move || {
            for client in door.incoming().flatten() {
                let commits = all.clone();
                std::thread::spawn(move || commits.pass(client, database));
            }
        });
        Ok((commits, url))
    }

    /// When the transaction that has written this event was committed.
    pub(crate) fn of(&self, event: EventKey) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&event).copied()
    }

    /// Passes one connection on, both ways, until one side ends it.
    fn pass(&self, client: TcpStream, database: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(database)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let transaction = Arc::new(Mutex::new(Transaction::default()));
        let (answers, from) = (self.clone(), transaction.clone());
        let (back, forth) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            stream(server, back, |_| {
                let at = Instant::now();
                let mut transaction = from.lock().unwrap_or_else(PoisonError::into_inner);
                if std::mem::take(&mut transaction.ending) {
                    let sent = std::mem::take(&mut transaction.sent);
                    let events = events(&sent);
                    let mut commits = answers.0.lock().unwrap_or_else(PoisonError::into_inner);
                    commits.extend(events.map(|event| (event, at)));
                }
            })
        });
        stream(client, forth, |piece| {
            let mut transaction = transaction.lock().unwrap_or_else(PoisonError::into_inner);
            transaction.ending = piece.ends_with(COMMIT);
            if piece.ends_with(ROLLBACK) || transaction.sent.len() > MOST {
                transaction.sent.clear();
            }
            transaction.sent.extend_from_slice(piece);
        })
    }
}

/// Passes on what comes, after `look` has seen it.
fn stream(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(length) if length > 0 => {
                look(&piece[..length]);
                to.write_all(&piece[..length])?;
            }
            _ => return to.shutdown(Shutdown::Both),
        }
    }
}

/// The events among the values of prepared statements. A new order is an id of 16 bytes and its line items, as
/// the rows of `orders` begin that have no reference and no customer. A change is a sequence of eight bytes and a status, as each UPDATE of orders
/// begins, and the ids that follow it.
fn events(sent: &[u8]) -> impl Iterator<Item = EventKey> {
    const STATUSES: [&[u8]; 5] =
        [b"\x07pending", b"\x0aprocessing", b"\x09completed", b"\x06failed", b"\x09cancelled"];
    // What the latest change has made of its orders.
    let (mut sequence, mut at) = (None, 0);
    std::iter::from_fn(move || {
        while at < sent.len() {
            let (here, before) = (&sent[at..], &sent[..at]);
            at += 1;
            if let Some(id) = id(here) {
                // The next value may begin before this one ends: what looks like an id need not be one.
                let is_new = here.get(18..).is_some_and(|rest| rest.starts_with(LINE_ITEMS));
                if let Some(sequence) = if is_new { Some(1) } else { sequence } {
                    return Some((id, sequence));
                }
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

/// What line items begin with, behind their length.
const LINE_ITEMS: &[u8] = b"[{\"item\":";

/// A value that is a UUID version 7.
fn id(value: &[u8]) -> Option<u128> {
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
        assert_eq!(events(&created).collect::<Vec<_>>(), [(ID, 1)]);
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
        assert_eq!(events(&changed).collect::<Vec<_>>(), [(ID, 2), (ID + 1, 2), (ID + 1, 3)]);
    }

    #[test]
    fn what_goes_through_the_door_is_noted_and_passed_on() {
        let database = TcpListener::bind(local(0)).unwrap();
        let port = database.local_addr().unwrap().port();
        let (commits, url) = Commits::watch(&format!("mysql://a:b@127.0.0.1:{port}/orders")).unwrap();
        let door: u16 = url.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse().unwrap();
        let mut client = TcpStream::connect(local(door)).unwrap();
        let (mut server, _) = database.accept().unwrap();
        let mut asked = |sent: &[u8]| {
            client.write_all(sent).unwrap();
            let mut got = vec![0; sent.len()];
            server.read_exact(&mut got).unwrap();
            assert_eq!(got, sent);
            server.write_all(b"ok").unwrap();
            let mut answer = [0; 2];
            client.read_exact(&mut answer).unwrap();
        };
        let mut row = 2_u64.to_le_bytes().to_vec();
        row.extend(b"\x09completed");
        row.extend(value(ID));
        asked(&row);
        asked(ROLLBACK);
        asked(COMMIT);
        assert!(commits.of((ID, 2)).is_none());
        asked(&row);
        assert!(commits.of((ID, 2)).is_none());
        asked(COMMIT);
        assert!(commits.of((ID, 2)).is_some());
    }
}
