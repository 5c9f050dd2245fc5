//! gRPC: mutated messages, frames and paths, over raw HTTP/2.

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::mutate::Random;
use crate::run::{Run, in_time};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// Internal errors of tonic for a message that is not valid Protobuf, or for an invalid frame.
const NOT_A_MESSAGE: [&str; 4] =
    ["failed to decode Protobuf message", "Unexpected EOF decoding stream", "protocol error", "compress"];

/// Encodes a field of a message: its number and bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("fields of the corpus are short");
    let length = if length < 128 { vec![length] } else { vec![length | 0x80, 1] };
    [&[number << 3 | 2][..], &length, bytes].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value & 0x7f]
}

fn messages() -> Vec<(String, Vec<u8>)> {
    let lease = [field(1, ID.as_bytes()), field(2, b"0123456789abcdef")].concat();
    let report = |outcome: u8| field(1, &[field(1, &lease), field(outcome, b"")].concat());
    let envelope = |id: u8, kind: u8, message: &[u8]| [number(1, id), field(kind, message)].concat();
    let hello = envelope(1, 2, &[field(1, b"worker"), number(2, 1)].concat());
    let service = "/orders.v1.OrderService";
    let update = |status: &[u8]| [field(1, ID.as_bytes()), field(2, status), field(4, b"why")].concat();
    let work = |message: Vec<u8>| [framed(&hello), framed(&message)].concat();
    vec![
        (format!("{service}/UpdateStatus"), framed(&update(b"processing"))),
        (
            format!("{service}/UpdateStatus"),
            framed(&[update(b"failed"), field(3, b"0123456789abcdef")].concat()),
        ),
        (format!("{service}/GetOrder"), framed(&field(1, ID.as_bytes()))),
        (format!("{service}/WatchOrder"), framed(&[field(1, ID.as_bytes()), number(2, 1)].concat())),
        (format!("{service}/Work"), work(envelope(2, 3, &field(1, &lease)))),
        (format!("{service}/Work"), work(envelope(2, 4, &field(1, &lease)))),
        (format!("{service}/Work"), work(envelope(2, 5, &report(2)))),
        (format!("{service}/Work"), work(envelope(2, 5, &report(3)))),
        ("/orders.v1.Events/Read".to_owned(), framed(&[field(3, b"order.*"), number(6, 9)].concat())),
        ("/orders.v1.Events/Read".to_owned(), framed(&[field(2, b"x"), number(7, 1)].concat())),
        (
            "/orders.v1.Events/Commit".to_owned(),
            framed(&[field(1, b"x"), field(2, b"AVm0"), number(3, 1)].concat()),
        ),
        ("/orders.v1.Events/RemoveReader".to_owned(), framed(&field(1, b"x"))),
        ("/grpc.health.v1.Health/Check".to_owned(), framed(&field(1, b"orders.v1.OrderService"))),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(), framed(&field(7, b""))),
    ]
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages of the corpus are short");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc() {
    let run = Run::start("grpc").await;
    let messages = messages();
    run.repeat(async |mut random: Random| {
        let (path, bytes) = random.pick(&messages).clone();
        let message = if random.once_in(5) {
            random.bytes(&bytes)
        } else {
            framed(&random.bytes(bytes.get(5..).unwrap_or_default()))
        };
        let path = if random.once_in(20) { format!("/{}", random.below(1_000)) } else { path };
        let sent = (path.clone(), message.clone());
        let (code, text) = in_time(&sent, make_call(&run.grpc, &path, message)).await;
        let library = NOT_A_MESSAGE.iter().any(|known| text.contains(known));
        assert!(!matches!(code, 2 | 13 | 15) || library, "status {code}: {text}\nfor {sent:?}");
    })
    .await;
}

/// Makes one call on a separate connection. Returns its status and message; OK for a stream that has started.
async fn make_call(address: &str, path: &str, message: Vec<u8>) -> (u32, String) {
    let socket = TcpStream::connect(address).await.expect("the gateway accepts connections");
    let Ok((mut client, connection)) = h2::client::handshake(socket).await else {
        return (14, String::new());
    };
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let answered = async {
        let (response, mut body) = client.send_request(request, false)?;
        body.send_data(Bytes::from(message), true)?;
        let response = response.await?;
        assert!(response.status().as_u16() < 500, "{response:?}");
        let (head, mut body) = response.into_parts();
        let mut status = head.headers;
        if !status.contains_key("grpc-status") {
            // The first message of a stream, or its end.
            match body.data().await {
                Some(data) => drop(data?),
                None => status = body.trailers().await?.unwrap_or_default(),
            }
        }
        let read = |name: &str| {
            status.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        Ok::<_, h2::Error>((
            read("grpc-status").parse().unwrap_or(0),
            read("grpc-message").replace("%20", " "),
        ))
    };
    // An invalid frame can end the stream.
    let outcome = answered.await.unwrap_or((14, String::new()));
    connection.abort();
    outcome
}
