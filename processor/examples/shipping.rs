//! A processor with its own handler, as the README and docs/guides/handler-rust.md show it.
#![allow(clippy::print_stdout, reason = "an example may print")]

use std::sync::Arc;

use processor::{Attempt, CancellationToken, Config, OrderHandler, Outcome, async_trait};

struct Shipping;

#[async_trait]
impl OrderHandler for Shipping {
    async fn handle(&self, attempt: Attempt, _cancelled: CancellationToken) -> Outcome {
        match attempt.order.customer.as_deref() {
            None => Outcome::failed("an order without a customer cannot be shipped"),
            Some(customer) => {
                println!("ship to {customer}, attempt {}", attempt.number());
                Outcome::Completed // or Outcome::retry("the carrier is closed")
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config { gateway_urls: vec!["http://127.0.0.1:50051".to_owned()], ..Config::default() };
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    processor::run(config, None, Arc::new(Shipping), shutdown).await?;
    Ok(())
}
