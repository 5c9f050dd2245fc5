//! A subscriber with its own handler, as the README and docs/guides/subscriber-rust.md show it.
#![allow(clippy::print_stdout, reason = "an example may print")]

use std::sync::Arc;

use subscriber::{Config, Delivery, Event, EventHandler, EventType, Retry, async_trait};

struct Invoices;

#[async_trait]
impl EventHandler for Invoices {
    async fn handle(&self, event: &Event, _delivery: &Delivery) -> Result<(), Retry> {
        if let (EventType::Completed, Some(order)) = (event.kind, &event.order) {
            println!("invoice {}: {} {}", event.id, order.total, order.total.currency());
        }
        Ok(()) // or Err(Retry::new("the ledger is closed"))
    }
}

#[tokio::main]
async fn main() -> Result<(), subscriber::Error> {
    let config =
        Config { gateway_urls: vec!["http://127.0.0.1:50051".to_owned()], ..Config::new("invoices") };
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    subscriber::run(config, Arc::new(Invoices), shutdown).await
}
