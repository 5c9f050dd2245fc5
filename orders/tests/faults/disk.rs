//! The disk of SQLite is full, and has space again later.

use crate::harness::{Api, eventually};
use crate::ledger::Ledger;
use crate::run::{LONG, Run};
use crate::shim::Shim;

/// Creates are rejected with 503, no write is partial, and stored orders can be read. The process survives and recovers
/// without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn disk_full() {
    let disk = Shim::full_disk();
    let run = Run::embedded("disk_full", &disk.variables()).await;
    disk.begin("");
    let rejected = |ledger: &mut Ledger| ledger.refusals.values().sum::<usize>();
    eventually("creates to be rejected", || {
        std::future::ready((run.clients.with_ledger(rejected) > 0).then_some(()))
    })
    .await;
    run.lasts(LONG).await;
    let api = Api::new(run.system.http[0].clone());
    for path in ["/livez", "/orders"] {
        assert_eq!(api.try_get(path).await, Some(200), "{path}");
    }
    disk.end();
    // The comparison reports any other response than 503.
    run.reconcile().await;
}
