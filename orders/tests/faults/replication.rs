//! Semi-synchronous replication between two MariaDB servers: the primary confirms a commit after the replica has received
//! it.

use sqlx::Row;

use crate::harness::eventually;
use crate::servers::MariaDb;

impl MariaDb {
    /// Starts a primary, and a read-only replica that receives each transaction before its commit is confirmed.
    pub(crate) async fn semi_synchronous_pair() -> (Self, Self) {
        let (primary, standby) = Self::with_standby().await;
        let standby = standby.expect("it was started");
        standby.execute("STOP SLAVE").await;
        standby.execute("SET GLOBAL rpl_semi_sync_slave_enabled = 1").await;
        standby.execute("START SLAVE").await;
        primary.execute("SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'").await;
        // Longer than a test: the primary never continues without the replica.
        primary.execute("SET GLOBAL rpl_semi_sync_master_timeout = 600000").await;
        primary.execute("SET GLOBAL rpl_semi_sync_master_enabled = 1").await;
        eventually("the replica to be semi-synchronous", || async {
            let clients = primary.query_row("SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'").await;
            (clients.get::<String, _>(1) == "1").then_some(())
        })
        .await;
        (primary, standby)
    }

    /// Makes this replica the primary after it has applied everything that it has received.
    pub(crate) async fn promote_with_all_received(&self) {
        self.execute("STOP SLAVE IO_THREAD").await;
        eventually("the replica to apply what it has received", || async {
            let state: String = self.query_row("SHOW SLAVE STATUS").await.get("Slave_SQL_Running_State");
            state.starts_with("Slave has read all relay log").then_some(())
        })
        .await;
        self.promote().await;
    }
}
