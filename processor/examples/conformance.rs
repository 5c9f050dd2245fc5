//! The worker under test of `sdk/conformance`: the order states how it behaves.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    reason = "the script reads what the worker prints, and one handler is defective"
)]

use std::env::var;
use std::sync::Arc;
use std::time::Duration;

use processor::{Attempt, CancellationToken, Config, JsonText, Kinds, OrderHandler, Outcome, async_trait};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

struct Conformance;

#[async_trait]
impl OrderHandler for Conformance {
    async fn handle(&self, attempt: Attempt, cancelled: CancellationToken) -> Outcome {
        let say = |what: &str| println!("{what} {} {}", attempt.order.id, attempt.number());
        say("started");
        let is_first = attempt.number() == 1;
        let metadata = |key: &str| attempt.order.metadata.get(key).unwrap_or_default();
        let mut result = None;
        let mut work = Duration::from_millis(metadata("ms").parse().unwrap_or(0));
        match metadata("behaviour") {
            "retry" if is_first => return Outcome::retry("try again").with_class("flaky"),
            "retry-after" if is_first => {
                let after = Some(Duration::from_millis(200));
                return Outcome::Retry { reason: "busy".to_owned(), class: None, after };
            }
            // Every error of a handler in Rust is an outcome, except a panic.
            "error" if is_first => panic!("a defect"),
            "fail" => return Outcome::failed("declined").with_class("card_declined"),
            "slow-first" if !is_first => work = Duration::ZERO,
            "result" => {
                let item = &attempt.order.line_items[0].item;
                result = Some(json!({"item": item, "attempt": attempt.number()}));
            }
            "progress" => attempt.report_progress(Some(40), "packing"),
            "checkpoint" if is_first => {
                if let Err(error) = attempt.save_checkpoint(&json!({"step": 1})).await {
                    return Outcome::retry(error.to_string());
                }
                say("saved");
                work = Duration::from_secs(60);
            }
            "checkpoint" => {
                let state = attempt.checkpoint.as_ref();
                let state = state.and_then(|state| serde_json::from_str::<Value>(state.as_str()).ok());
                result = Some(json!({"resumed": state}));
            }
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(work) => {
                say("ended");
                match result.as_ref().map(JsonText::of) {
                    None => Outcome::Completed,
                    Some(Ok(result)) => Outcome::CompletedWith(result),
                    Some(Err(error)) => Outcome::failed(error.to_string()),
                }
            }
            () = cancelled.cancelled() => {
                say("stopped");
                Outcome::retry("stopped")
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinds = var("ORDERS_KINDS").unwrap_or_default();
    let kinds: Vec<&str> = kinds.split(',').filter(|kind| !kind.is_empty()).collect();
    let config = Config {
        gateway_urls: var("ORDERS_GATEWAY_URL")?.split(',').map(str::to_owned).collect(),
        token: var("ORDERS_TOKEN").ok().map(Into::into),
        worker_id: var("ORDERS_WORKER_ID")?,
        kinds: Kinds::parse(&kinds)?,
        concurrency: var("ORDERS_CONCURRENCY")?.parse()?,
        shutdown_timeout: Duration::from_secs_f64(var("ORDERS_GRACE")?.parse()?),
        ..Config::default()
    };
    let mut terminated = signal(SignalKind::terminate())?;
    let shutdown = async move {
        terminated.recv().await;
    };
    processor::run(config, None, Arc::new(Conformance), shutdown).await?;
    Ok(())
}
