//! One connection: sends the request, reads the answer, no more HTTP than that takes.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, Target};

/// Longest answer.
const ANSWER_BYTES: usize = 1024 * 1024;
/// A connection that was not used for so long may have been closed by the other side.
const IDLE: Duration = Duration::from_secs(1);

/// A connection that is opened when it is first needed, and again after it was closed.
pub(super) struct Connection {
    target: Target,
    /// And when it was last used.
    stream: Option<(TcpStream, Instant)>,
    buffer: Vec<u8>,
    opened: u64,
}

/// Where the parts of an answer are.
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

    /// Sends the request and reads its answer.
    pub(super) async fn exchange(&mut self) -> io::Result<Answer<'_>> {
        let mut stream = match self.stream.take() {
            Some((stream, used)) if used.elapsed() < IDLE || is_open(&stream) => stream,
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
            if let Some(head) = head(&self.buffer)?
                && self.buffer.len() >= head.end
            {
                break head;
            }
            if self.buffer.len() > ANSWER_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        if !head.closes {
            self.stream = Some((stream, Instant::now()));
        }
        let refusal = self.target.refusal.and_then(|text| text_after(&self.buffer, &head, text));
        let good = head.status == self.target.good && refusal.is_none();
        let id = if self.target.remember { text_after(&self.buffer, &head, "\"id\":\"") } else { None };
        Ok(Answer { good, kind: kind(&self.buffer, &head), id })
    }
}

/// Whether the other side has neither closed the connection nor said anything unasked.
fn is_open(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// The head of an answer, once all of it is there.
fn head(buffer: &[u8]) -> io::Result<Option<Head>> {
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
    // Chunked answers are none of those that are measured.
    Ok(Some(Head { status, body, end: body + content.ok_or_else(bad)?, closes }))
}

/// The code of a problem, or else the status.
fn kind<'a>(buffer: &'a [u8], head: &Head) -> &'a str {
    let code = if head.status >= 400 { text_after(buffer, head, "\"code\":\"") } else { None };
    code.or_else(|| std::str::from_utf8(&buffer[9..12]).ok()).unwrap_or_default()
}

/// A text in the body of an answer, found by the name before it.
fn text_after<'a>(buffer: &'a [u8], head: &Head, name: &str) -> Option<&'a str> {
    let body = std::str::from_utf8(&buffer[head.body..head.end]).ok()?;
    body.split_once(name)?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_far_as_it_is_needed() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\ncontent-length: 21\r\n\r\n{\"code\":\"overloaded\"}";
        let found = head(answer).unwrap().unwrap();
        assert_eq!(found, Head { status: 503, body: 75, end: 96, closes: true });
        assert_eq!(kind(answer, &found), "overloaded");
        assert_eq!(head(&answer[..60]).unwrap(), None);

        let created = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        let found = head(created).unwrap().unwrap();
        assert_eq!((found.status, found.closes, kind(created, &found)), (201, false, "201"));
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "the length must be known");
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_told_from_one_that_waits() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert!(is_open(&client));
        drop(server);
        client.readable().await.unwrap();
        assert!(!is_open(&client));
    }
}
