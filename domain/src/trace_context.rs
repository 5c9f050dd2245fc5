use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The place of a request or an order in a trace: a span, and whether the trace is recorded.
///
/// Its text is the header `traceparent` of W3C Trace Context, such as
/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    is_sampled: bool,
}

/// A string that is not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent: expected 00-<32 hexadecimal digits>-<16 hexadecimal digits>-<2 hexadecimal digits>"
)]
pub struct InvalidTraceparent;

/// The flag of traces that are recorded.
const SAMPLED: u8 = 1;
/// The length of the text of version 00.
const TEXT: usize = 55;

impl TraceContext {
    /// The length of the stored form.
    pub const BYTES: usize = 25;

    /// Returns the context of a span. `None` if an id is zero, which no span has.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id, is_sampled })
    }

    /// Returns the id of the trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Returns the id of the span.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Returns whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// Returns the id of the trace as 32 hexadecimal digits, as trace viewers show it.
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }

    /// Returns the stored form: the ids and the flags.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace_id);
        bytes[16..24].copy_from_slice(&self.span_id);
        bytes[24] = u8::from(self.is_sampled) * SAMPLED;
        bytes
    }

    /// Reads the stored form. `None` if it has another length or an id is zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace_id, rest) = bytes.split_first_chunk()?;
        let (span_id, flags) = rest.split_first_chunk()?;
        let [flags] = flags else { return None };
        Self::new(*trace_id, *span_id, flags & SAMPLED != 0)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.is_sampled) * SAMPLED)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Parses a `traceparent`. Later versions are read as version 00, as the standard requires; they can be longer.
impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let (head, rest) = text.split_at_checked(TEXT).ok_or(InvalidTraceparent)?;
        let mut parts = head.split('-');
        let mut part = |length: usize| {
            let part = parts.next().filter(|part| part.len() == length)?;
            let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if is_hex { u128::from_str_radix(part, 16).ok() } else { None }
        };
        let mut read = || Some((part(2)?, part(32)?, part(16)?, part(2)?));
        let (version, trace_id, span_id, flags) = read().ok_or(InvalidTraceparent)?;
        let is_longer = version != 0 && rest.starts_with('-');
        if version == 0xff || !(rest.is_empty() || is_longer) {
            return Err(InvalidTraceparent);
        }
        let span_id = u64::try_from(span_id).map_err(|_| InvalidTraceparent)?;
        let is_sampled = flags & u128::from(SAMPLED) != 0;
        Self::new(trace_id.to_be_bytes(), span_id.to_be_bytes(), is_sampled).ok_or(InvalidTraceparent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT_01: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn text_and_bytes_return_the_same_context() {
        for text in [TEXT_01, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"] {
            let context: TraceContext = text.parse().unwrap();
            assert_eq!(context.to_string(), text);
            assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context));
            assert_eq!(context.is_sampled(), text == TEXT_01);
            assert_eq!(context.trace_id_text(), &text[3..35]);
        }
        for bytes in [&[][..], &[0; 25], &[1; 24], &[1; 26]] {
            assert_eq!(TraceContext::from_bytes(bytes), None);
        }
    }

    #[test]
    fn later_versions_and_flags_are_accepted() {
        for text in [
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-follows",
        ] {
            assert_eq!(text.parse::<TraceContext>().unwrap().to_string(), TEXT_01, "{text}");
        }
    }

    #[test]
    fn other_strings_are_refused() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é1",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceparent), "{text}");
        }
    }
}
