//! Reads server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use reqwest::Response;

/// Maximum size of a message, in bytes. An event with the content of the largest order is far below it.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;

/// A message with data, or only the id after which a reader resumes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    /// Empty if the message has no data.
    pub(super) data: String,
}

/// The messages of a response.
pub(super) struct Messages {
    response: Response,
    buffer: Buffer,
}

impl Messages {
    pub(super) fn new(response: Response) -> Self {
        Self { response, buffer: Buffer::default() }
    }

    /// Returns the next message; `None` when the connection ends, for whatever reason.
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.buffer.message() {
                return Some(message);
            }
            let chunk = self.response.chunk().await.ok()??;
            if !self.buffer.push(&chunk) {
                return None;
            }
        }
    }
}

/// Received bytes that are not a complete message yet.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Where the search for the end of a message continues.
    searched: usize,
}

impl Buffer {
    /// Adds bytes, unless the message would be too large.
    fn push(&mut self, bytes: &[u8]) -> bool {
        if self.bytes.len() + bytes.len() > MAX_MESSAGE {
            return false;
        }
        // A carriage return is not data: JSON has it escaped.
        self.bytes.extend(bytes.iter().filter(|byte| **byte != b'\r'));
        true
    }

    /// Removes the first complete message that has an id or data.
    fn message(&mut self) -> Option<Message> {
        loop {
            let from = self.searched.saturating_sub(1);
            let end = self.bytes[from..].windows(2).position(|two| two == b"\n\n").map(|at| from + at);
            let Some(end) = end else {
                self.searched = self.bytes.len();
                return None;
            };
            let message = parse(&String::from_utf8_lossy(&self.bytes[..end]));
            self.bytes.drain(..end + 2);
            self.searched = 0;
            if message.id.is_some() || !message.data.is_empty() {
                return Some(message);
            }
        }
    }
}

fn parse(block: &str) -> Message {
    let (mut id, mut data) = (None, Vec::new());
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => id = Some(value.to_owned()),
            "data" => data.push(value),
            _ => {}
        }
    }
    Message { id, data: data.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_in_any_pieces() {
        let text = ": hello\nretry: 1000\n\nid: 1\ndata: {\"a\":1}\n\n:\n\nid: 2\n\r\ndata: x\ndata: y\n\nid: 3\ndata: z";
        let expected = [("1", r#"{"a":1}"#), ("2", ""), ("", "x\ny")];
        for size in [1, 2, 3, 7, text.len()] {
            let (mut buffer, mut found) = (Buffer::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                assert!(buffer.push(piece));
                while let Some(Message { id, data }) = buffer.message() {
                    found.push((id.unwrap_or_default(), data));
                }
            }
            let found: Vec<(&str, &str)> = found.iter().map(|(id, data)| (&**id, &**data)).collect();
            assert_eq!(found, expected, "pieces of {size} bytes");
        }
    }

    #[test]
    fn a_message_without_end_has_a_limit() {
        let mut buffer = Buffer::default();
        assert!(buffer.push(&vec![b'x'; MAX_MESSAGE]));
        assert!(!buffer.push(b"x"));
    }
}
