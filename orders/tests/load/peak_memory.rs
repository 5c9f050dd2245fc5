//! The peak memory of the process, as the kernel counts it.

use futures_util::future::join_all;
use serde_json::json;

use crate::ALONE;
use crate::harness::{Api, Process, base_url, command, within};

const MIB: u64 = 1024 * 1024;
/// The maximum without the pages of the program, which have room beside it in 128 MiB.
const PEAK_MIB: u64 = 96;

#[tokio::test]
async fn eight_concurrent_bulk_creates_fit_into_128_mib() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let item = json!({"item": "x".repeat(200), "quantity": 1, "price": 1});
    let order = json!({"lineItems": vec![item; 14]});
    let body = json!(vec![order; 1_000]).to_string();
    assert!((3 * MIB..4 * MIB).contains(&(body.len() as u64)), "{} bytes", body.len());
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let creates = (0..8).map(|_| async {
        let request = client.post(format!("{}/orders/bulk", api.base));
        let request = request.header("content-type", "application/json").body(body.clone());
        let answer = within("a response", request.send()).await.expect("a response");
        let status = answer.status();
        (status.as_u16(), within("the body", answer.bytes()).await.expect("a body").len())
    });
    let answers = join_all(creates).await;
    assert!(answers.iter().all(|(status, _)| *status == 201), "{answers:?}");
    // The pages of the program itself depend on the build: 52 MiB without optimisation, half of that with it.
    let peak = dev.memory("VmHWM") - dev.memory("RssFile");
    assert!(peak < PEAK_MIB * MIB, "{} MiB", peak / MIB);
    dev.terminate();
    dev.wait_for_success().await;
}
