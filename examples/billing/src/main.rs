//! Writes one invoice line for each completed order to an SQLite file: `billing GATEWAY_URL FILE`.
//!
//! **Exactly once.** The gateway delivers an event at least once, and the id of the event is the key of its line. So a
//! repeated event changes nothing, and one that was not written is delivered again.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use subscriber::{
    Config, Delivery, Event, EventHandler, EventType, EventTypes, OrderContent, Retry, SecretString,
    async_trait,
};

/// The table; amounts are in the smallest unit of the currency, such as cents.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS invoice_lines (event_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, \
                     customer TEXT, total INTEGER NOT NULL, currency TEXT NOT NULL, completed_at TEXT NOT NULL)";

struct Billing {
    database: SqlitePool,
}

#[async_trait]
impl EventHandler for Billing {
    async fn handle(&self, event: &Event, _delivery: &Delivery) -> Result<(), Retry> {
        match (event.kind, &event.order) {
            (EventType::Completed, Some(order)) => self.add_line(event, order).await?,
            // Retention keeps orders longer than billing may be down.
            (EventType::Completed, None) => {
                tracing::warn!(order = %event.order_id, "the order was removed and has no invoice")
            }
            _ => {}
        }
        Ok(())
    }
}

impl Billing {
    async fn open(file: &str) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let database = SqlitePool::connect_with(options).await?;
        sqlx::query(TABLE).execute(&database).await?;
        Ok(Self { database })
    }

    async fn add_line(&self, event: &Event, order: &OrderContent) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT OR IGNORE INTO invoice_lines VALUES (?, ?, ?, ?, ?, ?)")
            .bind(&event.id)
            .bind(event.order_id.to_string())
            .bind(&order.customer)
            .bind(order.total.minor())
            .bind(order.total.currency().code().to_owned())
            .bind(event.timestamp.to_string())
            .execute(&self.database)
            .await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let (Some(gateway), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: billing GATEWAY_URL FILE".into());
    };
    let billing = Billing::open(&file).await?;
    let config = Config {
        gateway_urls: vec![gateway],
        token: std::env::var("ORDERS_TOKEN").ok().map(SecretString::from),
        // Another process takes over this long after a crash.
        lease: Duration::from_secs(5),
        types: EventType::Completed.as_str().parse::<EventTypes>()?,
        ..Config::new("billing")
    };
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    Ok(subscriber::run(config, Arc::new(billing), shutdown).await?)
}
