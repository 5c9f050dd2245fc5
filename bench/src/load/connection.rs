//! One HTTP/1.1 connection. It implements only the part of HTTP that the load needs.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::target::{Response, Target};

/// Maximum size of a response.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// Idle time after which a connection is checked before use.
///
/// The server may have closed it.
const CHECK_IF_IDLE_FOR: Duration = Duration::from_secs(1);

/// A connection that opens at its first use, and again after it was closed.
pub(super) struct Connection {
    target: Target,
    /// The stream and the time of its last use.
    stream: Option<(TcpStream, Instant)>,
    buffer: Vec<u8>,
    opened: u64,
}

/// The status of a response and the positions of its parts.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: usize,
    end: usize,
    closes: bool,
}

impl Connection {
    pub(super) fn new(target: Target) -> Self {
        Self { target, stream: None, buffer: Vec::with_capacity(2048), opened: 0 }
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    pub(super) fn reset(&mut self) {
        self.stream = None;
    }

    /// Sends the next request and reads its response.
    pub(super) async fn exchange(&mut self) -> io::Result<Response<'_>> {
        let mut stream = match self.stream.take() {
            Some((stream, used)) if used.elapsed() < CHECK_IF_IDLE_FOR || is_open(&stream) => stream,
            _ => {
                let stream = TcpStream::connect(self.target.addr).await?;
                stream.set_nodelay(true)?;
                self.opened += 1;
                stream
            }
        };
        let Target { requests, sent, .. } = &self.target;
        stream.write_all(&requests[sent.replace(sent.get() + 1) % requests.len()]).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)?
                && self.buffer.len() >= head.end
            {
                break head;
            }
            if self.buffer.len() > MAX_RESPONSE_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        if !head.closes {
            self.stream = Some((stream, Instant::now()));
        }
        let rejection = self.target.rejection_mark.and_then(|mark| string_after(&self.buffer, &head, mark));
        let accepted = head.status == self.target.accepted_status && rejection.is_none();
        let id = if self.target.returns_ids { id_in(&self.buffer, &head) } else { None };
        Ok(Response { accepted, kind: code_or_status(&self.buffer, &head), id })
    }
}

/// Checks that the server has neither closed the connection nor sent data.
fn is_open(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Parses the head of a response; `None` until it is complete.
fn parse_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let Some(length) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(&buffer[..length]).map_err(|_| bad())?;
    let status = text.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
    let (mut content, mut closes) = (None, false);
    for line in text.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            content = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let body = length + 4;
    // No measured response is chunked.
    Ok(Some(Head { status, body, end: body + content.ok_or_else(bad)?, closes }))
}

/// Returns the code of a problem, or else the status.
fn code_or_status<'a>(buffer: &'a [u8], head: &Head) -> &'a str {
    let code = if head.status >= 400 { string_after(buffer, head, "\"code\":\"") } else { None };
    code.or_else(|| std::str::from_utf8(&buffer[9..12]).ok()).unwrap_or_default()
}

/// Returns the JSON string after `name` in the body of a response.
fn string_after<'a>(buffer: &'a [u8], head: &Head, name: &str) -> Option<&'a str> {
    let body = std::str::from_utf8(&buffer[head.body..head.end]).ok()?;
    body.split_once(name)?.1.split('"').next()
}

/// Returns the first id in the body of a response; it is a JSON string or a number.
fn id_in<'a>(buffer: &'a [u8], head: &Head) -> Option<&'a str> {
    let body = std::str::from_utf8(&buffer[head.body..head.end]).ok()?;
    let (_, rest) = ["\"id\":", "\"invocationId\":"].iter().find_map(|name| body.split_once(name))?;
    rest.trim_start_matches('"').split(['"', ',', '}']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_parsed_when_complete() {
        let response = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\ncontent-length: 21\r\n\r\n{\"code\":\"overloaded\"}";
        let found = parse_head(response).unwrap().unwrap();
        assert_eq!(found, Head { status: 503, body: 75, end: 96, closes: true });
        assert_eq!(code_or_status(response, &found), "overloaded");
        assert_eq!(parse_head(&response[..60]).unwrap(), None);

        let created = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        let found = parse_head(created).unwrap().unwrap();
        assert_eq!((found.status, found.closes, code_or_status(created, &found)), (201, false, "201"));
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "a response without a length is invalid");
    }

    #[test]
    fn id_is_a_string_or_a_number() {
        for (body, id) in [
            (r#"{"id":"01890a5d","status":"pending"}"#, Some("01890a5d")),
            (r#"{"id":17,"item":"Laptop"}"#, Some("17")),
            (r#"{"id":17}"#, Some("17")),
            (r#"{"invocationId":"inv_1","status":"Accepted"}"#, Some("inv_1")),
            (r#"{"status":"pending"}"#, None),
        ] {
            let head = Head { status: 201, body: 0, end: body.len(), closes: false };
            assert_eq!(id_in(body.as_bytes(), &head), id, "{body}");
        }
    }

    #[tokio::test]
    async fn closed_connection_is_not_open() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert!(is_open(&client));
        drop(server);
        client.readable().await.unwrap();
        assert!(!is_open(&client));
    }
}
