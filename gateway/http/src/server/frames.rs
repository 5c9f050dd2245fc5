//! Follows the frames of a client over HTTP/2 or a websocket, and detects unfinished ones.
//!
//! Neither library has a timeout for a frame. A client that sends single bytes, or a message in many fragments, could
//! keep a frame unfinished without a limit. Only lengths and flags are parsed here.

/// Maximum length of a frame header: that of a masked websocket frame, in bytes.
const LONGEST_HEAD: usize = 14;
/// Length of a frame header of HTTP/2, in bytes.
const HTTP2_HEAD: usize = 9;

/// The protocol of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http2,
    Websocket,
}

/// The position of a client within its frames.
#[derive(Debug)]
pub(super) struct Frames {
    protocol: Protocol,
    head: [u8; LONGEST_HEAD],
    /// Number of bytes of the frame header that have arrived.
    begun: usize,
    /// Number of bytes of the payload that have not arrived yet.
    rest: u64,
    /// Whether more frames of the same header block or message must follow.
    open: bool,
}

impl Frames {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, head: [0; LONGEST_HEAD], begun: 0, rest: 0, open: false }
    }

    /// Returns whether a frame or message is unfinished.
    pub(super) fn is_unfinished(&self) -> bool {
        self.begun > 0 || self.rest > 0 || self.open
    }

    /// Follows the next bytes, and returns whether a frame or message was completed in them.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) -> bool {
        let mut finished = false;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let taken = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
                self.rest -= taken as u64;
                bytes = &bytes[taken..];
            } else {
                self.head[self.begun] = bytes[0];
                self.begun += 1;
                bytes = &bytes[1..];
                let Some(length) = self.payload() else { continue };
                self.rest = length;
                self.begun = 0;
            }
            finished |= !self.is_unfinished();
        }
        finished
    }

    /// Returns the length of the payload if the frame header is complete.
    fn payload(&mut self) -> Option<u64> {
        match self.protocol {
            Protocol::Http2 => {
                if self.begun < HTTP2_HEAD {
                    return None;
                }
                const HEADERS: u8 = 1;
                const CONTINUATION: u8 = 9;
                const END_HEADERS: u8 = 4;
                let [a, b, c, kind, flags, ..] = self.head;
                if matches!(kind, HEADERS | CONTINUATION) {
                    self.open = flags & END_HEADERS == 0;
                }
                Some(u64::from_be_bytes([0, 0, 0, 0, 0, a, b, c]))
            }
            Protocol::Websocket => {
                if self.begun < 2 {
                    return None;
                }
                let [first, second, rest @ ..] = self.head;
                let mask = if second & 0x80 == 0 { 0 } else { 4 };
                let (extended, short) = match second & 0x7f {
                    126 => (2, 0),
                    127 => (8, 0),
                    length => (0, u64::from(length)),
                };
                if self.begun < 2 + extended + mask {
                    return None;
                }
                // Control frames can be sent between the fragments of a message.
                if first & 0x08 == 0 {
                    self.open = first & 0x80 == 0;
                }
                let long = rest[..extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
                Some(if extended == 0 { short } else { long })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns for each byte whether a frame is unfinished after it.
    fn unfinished(protocol: Protocol, bytes: &[u8]) -> Vec<bool> {
        let mut frames = Frames::new(protocol);
        let one_by_one = bytes.iter().map(|byte| {
            frames.advance(&[*byte]);
            frames.is_unfinished()
        });
        let seen: Vec<bool> = one_by_one.collect();
        let mut whole = Frames::new(protocol);
        whole.advance(bytes);
        assert_eq!(Some(whole.is_unfinished()), seen.last().copied());
        seen
    }

    fn finished_at(protocol: Protocol, bytes: &[u8]) -> Vec<usize> {
        let seen = unfinished(protocol, bytes);
        (1..=bytes.len()).filter(|length| !seen[length - 1]).collect()
    }

    #[test]
    fn frames_of_http2_end_with_their_payload_and_headers_with_their_flag() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let headers = [0, 0, 2, 1, 0, 0, 0, 0, 1, 7, 7];
        let continuation = [0, 0, 1, 9, 4, 0, 0, 0, 1, 7];
        let bytes = [&settings[..], &headers, &continuation, &settings].concat();
        assert_eq!(finished_at(Protocol::Http2, &bytes), [9, 30, 39]);
    }

    #[test]
    fn messages_of_a_websocket_end_with_their_last_fragment() {
        let ping = [0x89, 0x80, 1, 2, 3, 4];
        let first = [0x01, 0x82, 1, 2, 3, 4, 7, 7];
        let last = [0x80, 0x81, 1, 2, 3, 4, 7];
        let bytes = [&ping[..], &first, &ping, &last].concat();
        assert_eq!(finished_at(Protocol::Websocket, &bytes), [6, 27]);
        let long = [&[0x81, 0xfe, 1, 0, 1, 2, 3, 4][..], &[7; 256]].concat();
        assert_eq!(finished_at(Protocol::Websocket, &long), [264]);
    }
}
