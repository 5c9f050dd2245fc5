//! A websocket that follows one order over `graphql-transport-ws`, with no more of either protocol than
//! that takes.

use std::io;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// One subscription on a socket of its own.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Socket {
    /// Connects and subscribes to an order, from its latest event on. `from` is the address to connect
    /// from: each has some 28,000 ports.
    pub(crate) async fn watch(from: IpAddr, to: SocketAddr, order: &str) -> io::Result<Self> {
        let query = "subscription($id: ID!) { orderStatus(orderId: $id) { sequence status } }";
        Self::subscribe(from, to, json!({"query": query, "variables": {"id": order}})).await
    }

    /// Connects and subscribes.
    pub(crate) async fn subscribe(from: IpAddr, to: SocketAddr, payload: Value) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Dropping it cuts the connection and frees its port at once.
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
            socket.more().await?;
        };
        if !socket.buffer.starts_with(b"HTTP/1.1 101") {
            let answer = String::from_utf8_lossy(&socket.buffer).into_owned();
            return Err(io::Error::other(format!("no websocket: {answer}")));
        }
        socket.buffer.drain(..length);
        socket.send(TEXT, br#"{"type":"connection_init"}"#).await?;
        let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload}).to_string();
        socket.send(TEXT, subscribe.as_bytes()).await?;
        Ok(socket)
    }

    /// Reads until the order has this status.
    pub(crate) async fn until(&mut self, status: &str) -> io::Result<()> {
        loop {
            let text = self.text().await?;
            if text.contains(status) {
                return Ok(());
            }
            if text.contains("\"error") {
                return Err(io::Error::other(text));
            }
        }
    }

    /// The next message; pings are answered.
    pub(crate) async fn text(&mut self) -> io::Result<String> {
        loop {
            let (kind, payload) = self.frame().await?;
            match kind {
                TEXT => return String::from_utf8(payload).map_err(io::Error::other),
                PING => self.send(PONG, &payload).await?,
                _ => return Err(io::Error::other(format!("a frame of kind {kind}"))),
            }
        }
    }

    async fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((kind, start, end)) = frame(&self.buffer) {
                let payload = self.buffer[start..end].to_vec();
                self.buffer.drain(..end);
                return Ok((kind, payload));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// A client has to mask what it sends; the mask of zeros changes nothing.
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

/// Kind, start and end of the payload of the first frame, once all of it is there.
fn frame(buffer: &[u8]) -> Option<(u8, usize, usize)> {
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
    fn frames_are_found_once_they_are_complete() {
        assert_eq!(frame(&[0x81, 2, b'a', b'b', 0x89, 0]), Some((TEXT, 2, 4)));
        assert_eq!(frame(&[0x81, 2, b'a']), None);
        assert_eq!(frame(&[0x81]), None);
        let long = [vec![0x81, 126, 1, 0], vec![b'a'; 256]].concat();
        assert_eq!(frame(&long), Some((TEXT, 4, 260)));
        assert_eq!(frame(&long[..259]), None);
    }
}
