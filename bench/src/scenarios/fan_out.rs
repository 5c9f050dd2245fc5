//! One change of one order to few and to many subscribers.
//!
//! The scenario also measures the cost of a change with and without subscriptions of other orders.
//!
//! A worker changes the order: it starts and releases it alternately.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use proto::v1;
use proto::v1::gateway_message::Message as GatewayMessage;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::worker_message::Message as WorkerMessage;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::latency::LatencyHistogram;
use crate::load::{Websocket, run_on_this_thread};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results, round};
use crate::servers::{LOAD, Lab, Servers, Tuning, cpu_used};
use crate::subscribers::{create_orders, keep_open, stop_all, subscribe_all, wait_until_none};

/// Timeout for the last subscriber to receive a change.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Numbers of subscribers of one order, each on a separate websocket; separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000])]
    subscribers: Vec<usize>,
    /// Measured changes for each number of subscribers
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Idle subscriptions of other orders
    #[arg(long, default_value_t = 10_000)]
    others: usize,
    /// Measured changes in each run without and with the others
    #[arg(long, default_value_t = 2_000)]
    turn: usize,
    /// Runs without and with the others
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    fan_out: Vec<Delivered>,
    others: usize,
    rounds: usize,
    alone: Delivered,
    among_others: Delivered,
}

/// The results of the changes of one order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Delivered {
    subscribers: usize,
    changes: usize,
    /// From the request for the change to the event at the last subscriber.
    last_ms: Quantiles,
    gateway_cpu_us: f64,
    /// CPU time of the load generator, which runs all subscribers.
    load_cpu_us: f64,
}

/// Figures of several runs.
#[derive(Default)]
struct Runs {
    latency: LatencyHistogram,
    gateway_s: f64,
    load_s: f64,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::start_without_processor(lab, &settings.tuning)?;
    let ids = create_orders(&servers, settings.others + 1)?;
    let (popular, others) = ids.split_first().ok_or(io::ErrorKind::InvalidInput)?;

    // The first changes warm the gateway up and do not count.
    run_on_this_thread(make_changes(&servers, popular, 1, settings.turn / 4, &mut Runs::default()))??;
    let mut fan_out = Vec::new();
    for subscribers in &settings.subscribers {
        let mut runs = Runs::default();
        run_on_this_thread(make_changes(&servers, popular, *subscribers, settings.changes, &mut runs))??;
        wait_until_none(&servers)?;
        fan_out.push(runs.delivered(*subscribers));
    }
    let (mut alone, mut among_others) = (Runs::default(), Runs::default());
    for _ in 0..settings.rounds {
        run_on_this_thread(make_changes(&servers, popular, 1, settings.turn, &mut alone))??;
        run_on_this_thread(async {
            let open = subscribe_all(&servers, others.to_vec(), keep_open).await?;
            make_changes(&servers, popular, 1, settings.turn, &mut among_others).await?;
            stop_all(open).await
        })??;
        wait_until_none(&servers)?;
    }
    Ok(Report {
        fan_out,
        others: settings.others,
        rounds: settings.rounds,
        alone: alone.delivered(1),
        among_others: among_others.delivered(1),
    })
}

/// Subscribes `subscribers` times to an order, and makes `changes` changes, one after the other.
async fn make_changes(
    servers: &Servers,
    order: &str,
    subscribers: usize,
    changes: usize,
    runs: &mut Runs,
) -> io::Result<()> {
    let pending = Rc::new(Pending::default());
    let follow = {
        let pending = pending.clone();
        move |socket| follow(socket, pending.clone())
    };
    let open = subscribe_all(servers, vec![order.to_owned(); subscribers], follow).await?;
    let mut worker = Worker::connect(servers, order).await?;
    let before = servers.cpu()?;
    for _ in 0..changes {
        pending.count.set(subscribers);
        let sent = Instant::now();
        worker.request_change().await?;
        let delivered = async {
            while pending.count.get() > 0 {
                pending.delivered.notified().await;
            }
        };
        let in_time = tokio::time::timeout(CHANGE_TIMEOUT, delivered).await;
        in_time.map_err(|_| io::Error::other("a subscriber did not receive a change in time"))?;
        runs.latency.record(sent.elapsed());
        worker.response().await?;
    }
    let cpu = cpu_used(&before, &servers.cpu()?);
    let of = |name: &str| cpu.get(name).copied().unwrap_or_default();
    runs.gateway_s += of("gateway");
    runs.load_s += of(LOAD);
    worker.release().await?;
    stop_all(open).await
}

/// The subscribers that have not received the latest change.
#[derive(Default)]
struct Pending {
    count: Cell<usize>,
    delivered: Notify,
}

async fn follow(mut socket: Websocket, pending: Rc<Pending>) -> io::Result<()> {
    loop {
        if socket.next_message().await?.contains("\"next\"") {
            pending.count.set(pending.count.get().saturating_sub(1));
            if pending.count.get() == 0 {
                pending.delivered.notify_one();
            }
        }
    }
}

/// Starts and releases an order alternately.
struct Worker {
    requests: mpsc::Sender<v1::WorkerMessage>,
    responses: Streaming<v1::GatewayMessage>,
    lease: v1::Lease,
    started: bool,
}

impl Worker {
    async fn connect(servers: &Servers, order: &str) -> io::Result<Self> {
        let address = format!("http://{}", servers.grpc);
        let mut client = OrderServiceClient::connect(address).await.map_err(io::Error::other)?;
        let (requests, receiver) = mpsc::channel(1);
        let hello = v1::Hello { worker_id: "bench".to_owned(), ..Default::default() };
        let hello = v1::WorkerMessage { request_id: 0, message: Some(WorkerMessage::Hello(hello)) };
        requests.send(hello).await.map_err(io::Error::other)?;
        let responses = client.work(ReceiverStream::new(receiver)).await.map_err(io::Error::other)?;
        let lease = v1::Lease { order_id: order.to_owned(), lease_token: String::new() };
        let mut worker = Self { requests, responses: responses.into_inner(), lease, started: false };
        worker.responses.message().await.map_err(io::Error::other)?;
        Ok(worker)
    }

    /// Requests the next change.
    async fn request_change(&mut self) -> io::Result<()> {
        let message = if self.started {
            let outcome = Some(v1::report::Outcome::Released(v1::Released {}));
            let report = v1::Report { lease: Some(self.lease.clone()), outcome };
            WorkerMessage::Finish(v1::Finish { reports: vec![report] })
        } else {
            self.lease.lease_token = domain::LeaseToken::random().to_string();
            WorkerMessage::Start(v1::Start { leases: vec![self.lease.clone()] })
        };
        self.started = !self.started;
        let message = v1::WorkerMessage { request_id: 1, message: Some(message) };
        self.requests.send(message).await.map_err(io::Error::other)
    }

    /// Waits for the response, which comes before or after the event at the subscribers.
    async fn response(&mut self) -> io::Result<()> {
        let response = self.responses.message().await.map_err(io::Error::other)?;
        match response.and_then(|response| response.message) {
            Some(GatewayMessage::Started(started)) if started.refused.is_empty() => Ok(()),
            Some(GatewayMessage::Finished(finished)) if finished.refused.is_empty() => Ok(()),
            other => Err(io::Error::other(format!("failed to change the order: {other:?}"))),
        }
    }

    /// Releases the order, so that the next worker can start it.
    async fn release(&mut self) -> io::Result<()> {
        if self.started {
            self.request_change().await?;
            self.response().await?;
        }
        Ok(())
    }
}

impl Runs {
    fn delivered(&self, subscribers: usize) -> Delivered {
        let changes = self.latency.count();
        let us_each = |seconds: f64| round(seconds * 1e6 / changes.max(1) as f64);
        Delivered {
            subscribers,
            changes: changes as usize,
            last_ms: (&self.latency).into(),
            gateway_cpu_us: us_each(self.gateway_s),
            load_cpu_us: us_each(self.load_s),
        }
    }
}

impl Results for Report {
    const SCENARIO: &'static str = "fan-out";

    fn tables(&self) -> String {
        let mut text = table_head([
            "subscribers of the order",
            "changes",
            "change sent to event at the last subscriber: p50, p99 (ms)",
            "CPU of the gateway for a change (µs)",
            "for each subscriber",
            "of the load generator",
        ]);
        for served in &self.fan_out {
            let each = served.subscribers.max(1) as f64;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {:.1} | {:.1} |",
                served.subscribers,
                served.changes,
                served.last_ms.show_precisely(),
                served.gateway_cpu_us,
                served.gateway_cpu_us / each,
                served.load_cpu_us / each
            );
        }
        text.push('\n');
        text.push_str(&table_head([
            "subscriptions of other orders",
            "changes",
            "change sent to event at its subscriber: p50, p99 (ms)",
            "CPU of the gateway for a change (µs)",
        ]));
        for (others, served) in [(0, &self.alone), (self.others, &self.among_others)] {
            let _ = writeln!(
                text,
                "| {others} | {} | {} | {:.0} |",
                served.changes,
                served.last_ms.show_precisely(),
                served.gateway_cpu_us
            );
        }
        let ratio = |of: &dyn Fn(&Delivered) -> f64| of(&self.among_others) / of(&self.alone);
        let _ = writeln!(
            text,
            "| with against without | | {:.2}×, {:.2}× | {:.2}× |",
            ratio(&|run| run.last_ms.p50.unwrap_or_default()),
            ratio(&|run| run.last_ms.p99.unwrap_or_default()),
            ratio(&|run| run.gateway_cpu_us)
        );
        text
    }

    fn notes(&self) -> Vec<String> {
        vec![format!("{} runs without and with others", self.rounds)]
    }
}
