//! Websockets of both subprotocols: mutated messages in well-formed frames, and mutated frames.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mutate::Random;
use crate::run::{Run, in_time};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn conversations() -> Vec<Vec<String>> {
    let subscription =
        format!("subscription {{ orderStatus(orderId: \"{ID}\", after: 0) {{ status sequence }} }}");
    let payload = json!({"query": subscription, "variables": {}});
    let query = json!({"query": "query Q($n: Int = 1) { orders(first: $n) { nodes { id } } }", "variables": {"n": 2}, "operationName": "Q"});
    [
        vec![
            json!({"type": "connection_init", "payload": {"token": "x"}}),
            json!({"type": "subscribe", "id": "1", "payload": payload}),
            json!({"type": "subscribe", "id": "2", "payload": query}),
            json!({"type": "ping", "payload": {}}),
            json!({"type": "complete", "id": "1"}),
        ],
        vec![
            json!({"type": "connection_init"}),
            json!({"type": "start", "id": "1", "payload": payload}),
            json!({"type": "start", "id": "2", "payload": query}),
            json!({"type": "stop", "id": "1"}),
            json!({"type": "connection_terminate"}),
        ],
    ]
    .map(|messages| messages.iter().map(ToString::to_string).collect())
    .to_vec()
}

/// Encodes a masked frame, as clients send it.
fn frame(opcode: u8, payload: &[u8], random: &mut Random) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    let mask = (random.next() as u32).to_be_bytes();
    frame.extend_from_slice(&mask);
    frame.extend(
        payload.iter().take(u16::MAX.into()).zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask),
    );
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket() {
    let run = Run::start("websocket").await;
    let conversations = conversations();
    run.repeat(async |mut random: Random| {
        let protocol = *random.pick(&["graphql-transport-ws", "graphql-ws"]);
        let mut bytes = Vec::new();
        for message in random.pick(&conversations).clone() {
            if random.once_in(8) {
                continue;
            }
            let message = if random.once_in(3) { message } else { random.mutated_string(&message) };
            let opcode = if random.once_in(12) { random.below(16) as u8 } else { 1 };
            bytes.extend(frame(opcode, message.as_bytes(), &mut random));
        }
        if random.once_in(3) {
            bytes = random.bytes(&bytes);
        }
        // Closes a connection that is still open.
        bytes.extend(frame(8, &1000_u16.to_be_bytes(), &mut random));
        let sent = (protocol, String::from_utf8_lossy(&bytes).into_owned());
        let open = format!(
            "GET /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: {protocol}\r\n\r\n"
        );
        let answered = async {
            let mut socket = TcpStream::connect(run.http()).await?;
            socket.write_all(open.as_bytes()).await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await?);
            }
            assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer).await;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = in_time(&sent, answered).await.expect("the gateway accepts websockets");
        assert!(!String::from_utf8_lossy(&answer).contains(r#""code":"internal_error""#), "{sent:?}");
    })
    .await;
}
