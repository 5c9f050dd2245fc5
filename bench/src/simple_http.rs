//! HTTP requests outside the measurements: one connection for each.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a `GET`, and returns the status and the body of the response.
pub(crate) fn get(addr: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    exchange(addr, &format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n"))
}

/// Sends a `POST` of JSON, and returns the status and the body of the response.
pub(crate) fn post(addr: SocketAddr, path: &str, json: &str) -> io::Result<(u16, String)> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        json.len()
    );
    exchange(addr, &(head + json))
}

/// Sends a request of HTTP/1.0, whose response ends with the connection.
fn exchange(addr: SocketAddr, request: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let invalid = || io::Error::other(format!("invalid response: {response}"));
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    Ok((status, body.to_owned()))
}
