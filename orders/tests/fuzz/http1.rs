//! Raw HTTP/1: mutated bytes, in one or several writes, on a separate connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mutate::Random;
use crate::run::{Run, check_response, in_time};

fn requests() -> Vec<Vec<u8>> {
    let post = |head: &str, body: &str| {
        format!(
            "POST {head}host: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let order = r#"{"item":"Laptop","quantity":2,"price":1299.99}"#;
    let chunked = format!("{:x}\r\n{order}\r\n0\r\nx-trailer: 1\r\n\r\n", order.len());
    [
        "GET /orders?limit=2 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        "GET http://localhost/livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        "HEAD / HTTP/1.1\r\nhost: [::1]:3000\r\naccept-encoding: gzip\r\nif-none-match: \"x\"\r\n\r\n".to_owned(),
        post("/orders HTTP/1.1\r\n", order),
        post("/orders HTTP/1.1\r\nexpect: 100-continue\r\nidempotency-key: \"k\"\r\n", order),
        post("/orders/bulk HTTP/1.1\r\n", &format!("[{order},{order}]")),
        post("/graphql HTTP/1.1\r\n", r#"{"query":"{ orders(first: 1) { nodes { id } } }"}"#),
        format!(
            "POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"
        ),
        "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\nGET /queue HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        "GET /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn http1() {
    let run = Run::start("http1").await;
    let requests = requests();
    run.repeat(async |mut random: Random| {
        let mut bytes = random.pick(&requests).clone();
        if random.once_in(4) {
            bytes.extend_from_slice(random.pick::<Vec<u8>>(&requests));
        }
        let bytes = random.bytes(&bytes);
        let sent = String::from_utf8_lossy(&bytes).into_owned();
        let answered = async {
            let mut socket = TcpStream::connect(run.http()).await?;
            let cut = random.below(bytes.len() + 1);
            // The gateway can reject the request and close before it has read all bytes.
            let _ = socket.write_all(&bytes[..cut]).await;
            let _ = socket.write_all(&bytes[cut..]).await;
            let _ = socket.shutdown().await;
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer).await;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = in_time(&sent, answered).await.expect("the gateway accepts connections");
        let text = String::from_utf8_lossy(&answer);
        for part in text.split("HTTP/1.1 ").skip(1) {
            let status = part.get(..3).and_then(|status| status.parse().ok()).unwrap_or_default();
            let body = part.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            if status >= 500 {
                check_response(status, body.trim().as_bytes(), &sent);
            }
        }
    })
    .await;
}
