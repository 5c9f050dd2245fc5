//! A websocket with one subscription over `graphql-transport-ws`. It implements only the parts of both protocols that
//! the load needs.

use std::io;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// One subscription on a separate websocket.
pub(crate) struct Websocket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Websocket {
    /// Connects from the address `from` and subscribes to an order, from its latest event. An address has about 28,000
    /// ports.
    pub(crate) async fn subscribe_to_order(from: IpAddr, to: SocketAddr, order: &str) -> io::Result<Self> {
        let query = "subscription($id: ID!) { orderStatus(orderId: $id) { sequence status } }";
        Self::subscribe(from, to, json!({"query": query, "variables": {"id": order}})).await
    }

    /// Connects and subscribes.
    pub(crate) async fn subscribe(from: IpAddr, to: SocketAddr, payload: Value) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A dropped socket resets the connection and frees its port at once.
        socket.set_zero_linger()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let mut stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        let upgrade = format!(
            "GET /graphql HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).await?;
        let mut socket = Self { stream, buffer: Vec::new() };
        let length = loop {
            if let Some(at) = socket.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            socket.read_more().await?;
        };
        if !socket.buffer.starts_with(b"HTTP/1.1 101") {
            let response = String::from_utf8_lossy(&socket.buffer).into_owned();
            return Err(io::Error::other(format!("the upgrade to a websocket was refused: {response}")));
        }
        socket.buffer.drain(..length);
        socket.send(TEXT, br#"{"type":"connection_init"}"#).await?;
        let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload}).to_string();
        socket.send(TEXT, subscribe.as_bytes()).await?;
        Ok(socket)
    }

    /// Reads messages until one contains this status.
    pub(crate) async fn wait_for_status(&mut self, status: &str) -> io::Result<()> {
        loop {
            let text = self.next_message().await?;
            if text.contains(status) {
                return Ok(());
            }
            if text.contains("\"error") {
                return Err(io::Error::other(text));
            }
        }
    }

    /// Returns the next message, and answers pings.
    pub(crate) async fn next_message(&mut self) -> io::Result<String> {
        loop {
            let (kind, payload) = self.next_frame().await?;
            match kind {
                TEXT => return String::from_utf8(payload).map_err(io::Error::other),
                PING => self.send(PONG, &payload).await?,
                _ => return Err(io::Error::other(format!("unexpected frame of kind {kind}"))),
            }
        }
    }

    async fn next_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((kind, start, end)) = parse_frame(&self.buffer) {
                let payload = self.buffer[start..end].to_vec();
                self.buffer.drain(..end);
                return Ok((kind, payload));
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Sends a frame. A client must mask its payload; a mask of zeros does not change it.
    async fn send(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x80 | kind];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                let length = u16::try_from(length).map_err(io::Error::other)?;
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).await
    }
}

/// Returns the kind, start and end of the first payload; `None` until it is complete.
fn parse_frame(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (kind, length) = (buffer.first()? & 0x0f, *buffer.get(1)? as usize);
    let (start, length): (usize, usize) = match length {
        126 => (4, u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, length),
    };
    let end = start.checked_add(length)?;
    (buffer.len() >= end).then_some((kind, start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_parsed_when_complete() {
        assert_eq!(parse_frame(&[0x81, 2, b'a', b'b', 0x89, 0]), Some((TEXT, 2, 4)));
        assert_eq!(parse_frame(&[0x81, 2, b'a']), None);
        assert_eq!(parse_frame(&[0x81]), None);
        let long = [vec![0x81, 126, 1, 0], vec![b'a'; 256]].concat();
        assert_eq!(parse_frame(&long), Some((TEXT, 4, 260)));
        assert_eq!(parse_frame(&long[..259]), None);
    }
}
