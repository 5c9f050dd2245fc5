//! Orders that cannot be processed: one that kills its processor at each attempt, and unreadable rows.

use std::collections::BTreeSet;

use sqlx::{Connection, MySqlConnection};

use crate::harness::{Api, eventually, run as orders};
use crate::run::Run;
use crate::system::Plan;
use crate::webhook::{CHOSEN, Webhook};

const MAX_ATTEMPTS: u32 = 3;

/// The order ends as failed after its attempts. All others are completed, some of them later.
#[tokio::test(flavor = "multi_thread")]
async fn poison_order() {
    let mut webhook = Webhook::start().await;
    let plan = Plan { webhook: Some(webhook.base.clone()), ..Plan::default() };
    let mut run = Run::on_servers("poison_order", plan).await;
    let id = run.clients.create(CHOSEN, MAX_ATTEMPTS).await;
    for number in 1..=MAX_ATTEMPTS {
        let attempt = webhook.next_attempt().await;
        assert_eq!(attempt.number, u64::from(number));
        let victim = &mut run.system.processors[attempt.processor];
        victim.process.kill();
        victim.restart().await;
    }
    Api::new(run.system.http[0].clone()).wait_for_status(&id, "failed").await;
    run.reconcile_with(|reference| reference == CHOSEN).await;
}

/// The damage of each row, and the arguments that repair it.
const DAMAGED_ROWS: [(&str, &str, &[&str]); 6] = [
    ("bad-currency", "currency = 'QQQ'", &["--set", "currency=USD"]),
    (
        "bad-items",
        "line_items = '{broken'",
        &["--set", r#"line_items=[{"item":"Laptop","quantity":1,"priceMinor":100}]"#],
    ),
    ("bad-priority", "priority = 'urgent'", &["--set", "priority=normal"]),
    ("bad-version", "version = 0", &["--set", "version=1"]),
    ("bad-attempt", "attempt = -1", &["--set", "attempt=0"]),
    ("bad-status", "status = 'shipped'", &["--fail"]),
];

/// Unreadable rows are parked and listed by the doctor, and no others. All other orders are processed. An operator
/// repairs the rows, or marks their orders as failed.
#[tokio::test(flavor = "multi_thread")]
async fn poison_rows() {
    let run = Run::on_servers("poison_rows", Plan::default()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = [("DATABASE_URL", run.system.database_url.as_str())];
    let gateway = run.system.http[0].as_str();
    assert!(orders(folder.path(), &["queue", "pause", "--url", gateway], &[]).await.status.success());
    let mut ids = Vec::new();
    let mut connection =
        MySqlConnection::connect(&run.system.database_url).await.expect("the database is there");
    // Without a strict mode an ENUM stores any value as the empty string.
    sqlx::raw_sql("SET SESSION sql_mode = ''").execute(&mut connection).await.expect("it is allowed");
    for (reference, change, _) in DAMAGED_ROWS {
        let id = run.clients.create(reference, 5).await;
        let text = format!("UPDATE orders SET {change} WHERE id = x'{}'", id.replace('-', ""));
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.expect("the order is there");
        ids.push(id);
    }
    assert!(orders(folder.path(), &["queue", "resume", "--url", gateway], &[]).await.status.success());
    let bad: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    eventually("the doctor to name the parked orders", || async {
        let output = orders(folder.path(), &["doctor"], &url).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let findings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  0")).collect();
        let named = |line: &str| ids.iter().find(|id| format!("0{line}").starts_with(id.as_str()));
        assert!(findings.iter().all(|line| named(line).is_some()), "{text}");
        let parked = findings.iter().filter(|line| line.contains("is parked"));
        let parked: BTreeSet<&str> = parked.filter_map(|line| named(line)).map(String::as_str).collect();
        (parked == bad).then_some(())
    })
    .await;
    // Later orders are processed.
    run.clients.wait_until_accepted_everywhere(std::time::Instant::now()).await;
    for (id, (_, _, repair)) in ids.iter().zip(DAMAGED_ROWS) {
        let arguments = [&["repair", id], repair].concat();
        let output = orders(folder.path(), &arguments, &url).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    run.reconcile_with(|reference| reference == "bad-status").await.costs_no_create();
}
