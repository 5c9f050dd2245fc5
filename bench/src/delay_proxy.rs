//! A proxy between a system and its MariaDB or Redis that delays each response, as a network between two zones does.
//!
//! Bytes that the proxy reads at a time are written after the delay, and meanwhile it reads on. The delay therefore
//! limits no throughput. Requests are forwarded at once, and counted: a client sends one and waits for its response. Threads sleep for the delay, because the timers of tokio have a
//! resolution of a millisecond.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::servers::{local_address, split_port};

/// Bytes that are forwarded at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Maximum number of chunks of one connection that are delayed at the same time.
const MAX_DELAYED: usize = 1_024;

/// The delay of responses, for all proxies; it can change while they run.
#[derive(Clone, Default)]
pub(crate) struct ResponseDelay {
    micros: Arc<AtomicU64>,
    /// The number of requests to each kind of server, by the scheme of its URL.
    requests: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
}

impl ResponseDelay {
    /// Sets the delay.
    pub(crate) fn set(&self, delay: Duration) {
        self.micros.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// Returns the number of requests to each kind of server until now.
    pub(crate) fn requests(&self) -> BTreeMap<String, f64> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count =
            |(name, count): (&String, &Arc<AtomicU64>)| (name.clone(), count.load(Ordering::Relaxed) as f64);
        requests.iter().map(count).collect()
    }

    /// Returns the counter of requests to a server with this URL.
    fn counter(&self, url: &str) -> Arc<AtomicU64> {
        let scheme = url.split(':').next().unwrap_or_default().to_owned();
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(scheme).or_default().clone()
    }

    /// Starts a proxy for the server of a URL, and returns the URL of the proxy.
    pub(crate) fn start_proxy(&self, url: &str) -> io::Result<String> {
        let (before, port, path) = split_port(url)?;
        let server = local_address(port);
        let listener = TcpListener::bind(local_address(0))?;
        let url = format!("{before}:{}/{path}", listener.local_addr()?.port());
        let (delay, counter) = (self.clone(), self.counter(&url));
        // The threads end with this process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (delay, counter) = (delay.clone(), counter.clone());
                std::thread::spawn(move || delay.forward_connection(client, server, &counter));
            }
        });
        Ok(url)
    }

    /// Forwards one connection in both directions until one side closes it.
    fn forward_connection(
        &self,
        client: TcpStream,
        server: SocketAddr,
        requests: &AtomicU64,
    ) -> io::Result<()> {
        let server = TcpStream::connect(server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (responses, delayed) = mpsc::sync_channel(MAX_DELAYED);
        let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
        let delay = self.clone();
        std::thread::spawn(move || {
            read_chunks(from_server, |chunk| responses.send((Instant::now(), chunk.to_vec())).is_ok())
        });
        std::thread::spawn(move || write_delayed(&delayed, &delay, to_client));
        let mut to_server = server;
        read_chunks(client, |chunk| {
            requests.fetch_add(1, Ordering::Relaxed);
            to_server.write_all(chunk).is_ok()
        });
        to_server.shutdown(Shutdown::Both)
    }
}

/// Passes on what is read, until the end of the connection or until `forward` returns false.
fn read_chunks(mut from: TcpStream, mut forward: impl FnMut(&[u8]) -> bool) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length) = from.read(&mut chunk) {
        if length == 0 || !forward(&chunk[..length]) {
            return;
        }
    }
}

/// Writes each chunk when its delay has passed, and closes the connection after the last one.
fn write_delayed(
    delayed: &mpsc::Receiver<(Instant, Vec<u8>)>,
    delay: &ResponseDelay,
    mut to: TcpStream,
) -> io::Result<()> {
    while let Ok((read_at, chunk)) = delayed.recv() {
        std::thread::sleep((read_at + delay.get()).saturating_duration_since(Instant::now()));
        to.write_all(&chunk)?;
    }
    to.shutdown(Shutdown::Both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_delayed_together() {
        let server = TcpListener::bind(local_address(0)).unwrap();
        let delay = ResponseDelay::default();
        delay.set(Duration::from_millis(50));
        let url = format!("redis://127.0.0.1:{}/", server.local_addr().unwrap().port());
        let proxy = delay.start_proxy(&url).unwrap();
        let (before, port, path) = split_port(&proxy).unwrap();
        assert_eq!((before, path), ("redis://127.0.0.1", ""));
        let mut client = TcpStream::connect(local_address(port)).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        accepted.set_nodelay(true).unwrap();
        client.write_all(b"ab").unwrap();
        let mut request = [0; 2];
        accepted.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"ab");
        assert_eq!(delay.requests(), BTreeMap::from([("redis".to_owned(), 1.0)]));

        let began = Instant::now();
        // Ten responses in sequence would take half a second if each waited for the one before.
        for number in 0..10_u8 {
            accepted.write_all(&[number]).unwrap();
        }
        let mut responses = [0; 10];
        client.read_exact(&mut responses).unwrap();
        let elapsed = began.elapsed();
        assert_eq!(responses, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(elapsed >= Duration::from_millis(50) && elapsed < Duration::from_millis(400), "{elapsed:?}");

        drop(accepted);
        assert_eq!(client.read(&mut responses).unwrap(), 0);
    }
}
