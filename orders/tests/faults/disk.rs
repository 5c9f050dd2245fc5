//! The disk under SQLite is full, and has space again later.

use crate::harness::{Api, eventually};
use crate::ledger::Book;
use crate::run::{LONG, Run};
use crate::shim::Shim;

/// Orders are refused with 503, nothing is half written, and what is there can be read. The process
/// lives, and goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn disk_full() {
    let disk = Shim::full_disk();
    let run = Run::embedded("disk_full", &disk.variables()).await;
    disk.begin("");
    let refused = |book: &mut Book| book.refusals.values().sum::<usize>();
    eventually("orders to be refused", || std::future::ready((run.ledger.look(refused) > 0).then_some(())))
        .await;
    run.lasts(LONG).await;
    let api = Api::new(run.system.http[0].clone());
    for path in ["/livez", "/orders"] {
        assert_eq!(api.try_get(path).await, Some(200), "{path}");
    }
    disk.end();
    // Any other answer than 503 would be found here.
    run.reckon().await;
}
