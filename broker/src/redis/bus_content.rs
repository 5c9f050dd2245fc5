//! The content of a message on the channel, see `message_auth`.
//!
//! It is a list of events in the encoding of [`domain::event_codec`], which begins with a table of tenants. Content without
//! events reports lost events. A table without tenants announces a running gateway: 8 bytes with its id, 8 with the time of its
//! start, and its host and its version, each after 1 byte for its length. Two bytes 255, which are no table, are followed by
//! the progress of attempts in JSON: it is rare, and earlier versions reject it. A change of these forms, or of the encoding, has a
//! new version in the message.

use std::sync::Arc;

use domain::event_codec::{self, DecodeError};
use domain::{OrderEvent, OrderId, Progress, Timestamp};
use serde::{Deserialize, Serialize};

use crate::signal::{GatewayId, GatewayInfo, MAX_GATEWAY_TEXT};

/// The content that reports lost events.
pub(super) const GAP: &[u8] = &[];
/// A table without tenants, which begins the announcement of a gateway.
const NO_TENANTS: [u8; 2] = [0; 2];

/// The bytes before progress.
const PROGRESS: [u8; 2] = [0xff; 2];

/// The progress of an attempt in a message.
#[derive(Serialize, Deserialize)]
struct ProgressMessage {
    order: OrderId,
    tenant: String,
    attempt: u32,
    percent: Option<u8>,
    note: Option<String>,
    at: i64,
}

pub(super) fn encode_progress(reports: &[Progress]) -> Vec<u8> {
    let message = |progress: &Progress| ProgressMessage {
        order: progress.order_id,
        tenant: progress.tenant_id.as_str().to_owned(),
        attempt: progress.attempt,
        percent: progress.percent,
        note: progress.note.clone(),
        at: progress.reported_at.as_micros(),
    };
    let messages: Vec<ProgressMessage> = reports.iter().map(message).collect();
    let mut bytes = PROGRESS.to_vec();
    // Strings and numbers can always be serialised.
    bytes.extend(serde_json::to_vec(&messages).unwrap_or_default());
    bytes
}

fn decode_progress(json: &[u8]) -> Result<Arc<[Progress]>, DecodeError> {
    let messages: Vec<ProgressMessage> =
        serde_json::from_slice(json).map_err(|_| DecodeError::InvalidField)?;
    let progress = messages.into_iter().map(|message| {
        let progress = Progress {
            order_id: message.order,
            tenant_id: message.tenant.parse().map_err(|_| DecodeError::InvalidField)?,
            attempt: message.attempt,
            percent: message.percent,
            note: message.note,
            reported_at: Timestamp::from_micros(message.at),
        };
        Ok(progress.cleaned())
    });
    progress.collect()
}

pub(super) fn encode_events(events: &[Arc<OrderEvent>]) -> Vec<u8> {
    if events.is_empty() { GAP.to_vec() } else { event_codec::encode_events(events) }
}

/// The decoded content of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Events are lost.
    Gap,
    /// These events.
    Events(Arc<[Arc<OrderEvent>]>),
    /// The progress of attempts.
    Progress(Arc<[Progress]>),
    /// A gateway is running.
    Gateway(GatewayInfo),
}

/// Encodes the announcement of a gateway.
pub(super) fn encode_gateway(gateway: &GatewayInfo) -> Vec<u8> {
    let mut bytes = NO_TENANTS.to_vec();
    bytes.extend_from_slice(&gateway.id.0.to_be_bytes());
    bytes.extend_from_slice(&gateway.started_at.as_micros().to_be_bytes());
    for text in [&gateway.host, &gateway.version] {
        let text = &text[..text.floor_char_boundary(MAX_GATEWAY_TEXT)];
        bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn decode_gateway(mut rest: &[u8]) -> Result<GatewayInfo, DecodeError> {
    let id = GatewayId(u64::from_be_bytes(take_bytes(&mut rest)?));
    let started_at = Timestamp::from_micros(i64::from_be_bytes(take_bytes(&mut rest)?));
    let mut text = || {
        let [length] = take_bytes(&mut rest)?;
        let (text, remaining) = rest.split_at_checked(length.into()).ok_or(DecodeError::Truncated)?;
        rest = remaining;
        let text = str::from_utf8(text).ok().filter(|text| text.len() <= MAX_GATEWAY_TEXT);
        text.map(Arc::from).ok_or(DecodeError::InvalidField)
    };
    let (host, version) = (text()?, text()?);
    if rest.is_empty() {
        Ok(GatewayInfo { id, host, version, started_at })
    } else {
        Err(DecodeError::InvalidField)
    }
}

fn take_bytes<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (taken, remaining) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
    *rest = remaining;
    Ok(*taken)
}

/// Decodes the content of a message.
pub(super) fn decode(content: &[u8]) -> Result<Content, DecodeError> {
    if let Some(json) = content.strip_prefix(&PROGRESS) {
        return decode_progress(json).map(Content::Progress);
    }
    match content.strip_prefix(&NO_TENANTS) {
        Some(rest) => decode_gateway(rest).map(Content::Gateway),
        None if content == GAP => Ok(Content::Gap),
        None => event_codec::decode_events(content).map(Content::Events),
    }
}

#[cfg(test)]
mod tests {
    use domain::Status;
    use domain::event_codec::decode_events;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_is_events_or_reports_their_loss() {
        let events = [Arc::new(event(1))];
        assert_eq!(decode(&encode_events(&events)), Ok(Content::Events(events.into())));
        assert_eq!(decode(&encode_events(&[])), Ok(Content::Gap));
    }

    #[test]
    fn announcements_have_one_form() {
        let gateway = GatewayInfo {
            id: GatewayId(0x0102_0304_0506_0708),
            host: Arc::from("web-1"),
            version: Arc::from("0.1.0"),
            started_at: Timestamp::from_micros(1_700_000_000_000_000),
        };
        let encoded = encode_gateway(&gateway);
        assert_eq!(decode(&encoded), Ok(Content::Gateway(gateway.clone())));
        for end in 2..encoded.len() {
            assert_eq!(decode(&encoded[..end]), Err(DecodeError::Truncated));
        }
        let long = GatewayInfo { host: Arc::from("ü".repeat(100)), ..gateway };
        let Ok(Content::Gateway(cut)) = decode(&encode_gateway(&long)) else { panic!("an announcement") };
        assert_eq!(*cut.host, "ü".repeat(32));
        assert_eq!(decode(&[&encoded[..], &[0]].concat()), Err(DecodeError::InvalidField));
    }

    #[test]
    fn progress_has_its_tenant() {
        let progress = Progress {
            order_id: OrderId::from_bytes([3; 16]),
            tenant_id: "acme".parse().unwrap(),
            attempt: 2,
            percent: Some(40),
            note: Some("packing \"it\"".to_owned()),
            reported_at: Timestamp::from_micros(1_700_000_000_000_000),
        };
        let reports = [progress.clone(), Progress { percent: None, note: None, ..progress }];
        assert_eq!(decode(&encode_progress(&reports)), Ok(Content::Progress(reports.into())));
        assert_eq!(decode(&PROGRESS), Err(DecodeError::InvalidField));
    }

    proptest! {
        #[test]
        fn no_content_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&bytes));
            drop(decode(&[&NO_TENANTS[..], &bytes].concat()));
        }
    }

    fn event(n: u8) -> OrderEvent {
        OrderEvent {
            tenant_id: domain::TenantId::default(),
            order_id: OrderId::from_bytes([n; 16]),
            sequence: 2,
            status: Status::Processing,
            previous_status: Some(Status::Pending),
            attempt: 1,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: Timestamp::from_micros(1_700_000_000_123_456),
        }
    }

    fn status_code(status: Status) -> u32 {
        Status::ALL.into_iter().zip(1..).find(|(each, _)| *each == status).unwrap().1
    }

    /// The same fields as a Protocol Buffers message.
    #[derive(Clone, PartialEq, prost::Message)]
    struct ProtoEvents {
        #[prost(message, repeated, tag = "1")]
        events: Vec<ProtoEvent>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct ProtoEvent {
        #[prost(bytes = "vec", tag = "1")]
        order_id: Vec<u8>,
        #[prost(uint32, tag = "2")]
        sequence: u32,
        #[prost(uint32, tag = "3")]
        status: u32,
        #[prost(uint32, tag = "4")]
        previous_status: u32,
        #[prost(uint32, tag = "5")]
        attempt: u32,
        #[prost(int64, tag = "6")]
        occurred_at: i64,
        #[prost(string, optional, tag = "7")]
        reason: Option<String>,
        #[prost(string, optional, tag = "8")]
        error_class: Option<String>,
    }

    fn encode_with_prost(events: &[Arc<OrderEvent>]) -> Vec<u8> {
        let event = |event: &Arc<OrderEvent>| ProtoEvent {
            order_id: event.order_id.as_bytes().to_vec(),
            sequence: event.sequence,
            status: status_code(event.status),
            previous_status: event.previous_status.map_or(0, status_code),
            attempt: event.attempt,
            occurred_at: event.occurred_at.as_micros(),
            reason: event.reason.clone(),
            error_class: event.error_class.clone(),
        };
        prost::Message::encode_to_vec(&ProtoEvents { events: events.iter().map(event).collect() })
    }

    fn decode_with_prost(content: &[u8]) -> Arc<[Arc<OrderEvent>]> {
        let status = |code: u32| Status::ALL.into_iter().find(|status| status_code(*status) == code);
        let event = |event: ProtoEvent| {
            Arc::new(OrderEvent {
                tenant_id: domain::TenantId::default(),
                order_id: OrderId::from_bytes(event.order_id.try_into().unwrap()),
                sequence: event.sequence,
                status: status(event.status).unwrap(),
                previous_status: status(event.previous_status),
                attempt: event.attempt,
                occurred_at: Timestamp::from_micros(event.occurred_at),
                reason: event.reason,
                error_class: event.error_class,
                worker: None,
            })
        };
        let message: ProtoEvents = prost::Message::decode(content).unwrap();
        message.events.into_iter().map(event).collect()
    }

    /// Prints the cost of an event in this encoding and in Protocol Buffers; `domain::event_codec` states the results.
    #[test]
    #[ignore = "a measurement: cargo test --release -p broker --lib bus_content -- --ignored --nocapture"]
    fn measure_against_prost() {
        let events: Vec<_> = (0..100).map(event).map(Arc::new).collect();
        let (own, prost) = (encode_events(&events), encode_with_prost(&events));
        assert_eq!(decode_events(&own).unwrap(), decode_with_prost(&prost));
        let per_event_ns = |run: &dyn Fn()| {
            const ROUNDS: u32 = 20_000;
            let started = std::time::Instant::now();
            (0..ROUNDS).for_each(|_| run());
            started.elapsed().as_nanos() as f64 / f64::from(ROUNDS) / events.len() as f64
        };
        for _ in 0..5 {
            println!(
                "encode: own {:.1} ns, prost {:.1} ns; decode: own {:.1} ns, prost {:.1} ns",
                per_event_ns(&|| drop(std::hint::black_box(encode_events(&events)))),
                per_event_ns(&|| drop(std::hint::black_box(encode_with_prost(&events)))),
                per_event_ns(&|| drop(std::hint::black_box(decode_events(&own)))),
                per_event_ns(&|| drop(std::hint::black_box(decode_with_prost(&prost)))),
            );
        }
        println!("bytes of an event: own {}, prost {}", own.len() / 100, prost.len() / 100);
    }
}
