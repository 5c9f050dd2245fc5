//! One change of one order to all its subscribers, few and many; and what a change costs while others
//! follow other orders, against what it costs alone.
//!
//! The order changes as often as needed because a worker starts it and gives it back, over and over.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use proto::v1;
use proto::v1::gateway_message::Message as Answer;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::worker_message::Message as Request;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::histogram::Histogram;
use crate::load::{Socket, on_this_thread};
use crate::report::{Machine, Quantiles, round};
use crate::servers::{LOAD, Lab, Servers, Tuning, used};
use crate::watchers::{create, gone, idling, open, stop};

/// How long the last subscriber of a change may take to get it.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Subscribers of one order, each on a websocket of its own; several with commas
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000])]
    subscribers: Vec<usize>,
    /// Changes that are measured for each number of subscribers
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Subscriptions of other orders, on which nothing happens
    #[arg(long, default_value_t = 10_000)]
    others: usize,
    /// Changes that are measured in each turn without and with the others
    #[arg(long, default_value_t = 2_000)]
    turn: usize,
    /// Turns without and with the others
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    fan_out: Vec<Served>,
    others: usize,
    rounds: usize,
    alone: Served,
    among_others: Served,
}

/// What came of the changes of one order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    subscribers: usize,
    changes: usize,
    /// From the change sent to the last subscriber served.
    last_ms: Quantiles,
    gateway_cpu_us: f64,
    /// Of the load generator, which plays all subscribers.
    load_cpu_us: f64,
}

/// Figures of several turns.
#[derive(Default)]
struct Turns {
    latency: Histogram,
    gateway_s: f64,
    load_s: f64,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::without_processor(lab, &settings.tuning)?;
    let ids = create(&servers, settings.others + 1)?;
    let (popular, others) = ids.split_first().ok_or(io::ErrorKind::InvalidInput)?;

    // The first changes of a gateway are no measure of the others.
    on_this_thread(changes(&servers, popular, 1, settings.turn / 4, &mut Turns::default()))??;
    let mut fan_out = Vec::new();
    for subscribers in &settings.subscribers {
        let mut turns = Turns::default();
        on_this_thread(changes(&servers, popular, *subscribers, settings.changes, &mut turns))??;
        gone(&servers)?;
        fan_out.push(turns.served(*subscribers));
    }
    let (mut alone, mut among_others) = (Turns::default(), Turns::default());
    for _ in 0..settings.rounds {
        on_this_thread(changes(&servers, popular, 1, settings.turn, &mut alone))??;
        on_this_thread(async {
            let open = open(&servers, others.to_vec(), idling).await?;
            changes(&servers, popular, 1, settings.turn, &mut among_others).await?;
            stop(open).await
        })??;
        gone(&servers)?;
    }
    Ok(Report {
        scenario: "fan-out",
        machine: Machine::here(),
        fan_out,
        others: settings.others,
        rounds: settings.rounds,
        alone: alone.served(1),
        among_others: among_others.served(1),
    })
}

/// Lets so many subscribe to an order, and changes it so often, one change after the other.
async fn changes(
    servers: &Servers,
    order: &str,
    subscribers: usize,
    changes: usize,
    turns: &mut Turns,
) -> io::Result<()> {
    let waiting = Rc::new(Waiting::default());
    let follow = {
        let waiting = waiting.clone();
        move |socket| follow(socket, waiting.clone())
    };
    let open = open(servers, vec![order.to_owned(); subscribers], follow).await?;
    let mut worker = Worker::connect(servers, order).await?;
    let before = servers.cpu()?;
    for _ in 0..changes {
        waiting.left.set(subscribers);
        let sent = Instant::now();
        worker.change().await?;
        let served = async {
            while waiting.left.get() > 0 {
                waiting.served.notified().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, served).await;
        in_time.map_err(|_| io::Error::other("not every subscriber was told of a change"))?;
        turns.latency.record(sent.elapsed());
        worker.answered().await?;
    }
    let cpu = used(&before, &servers.cpu()?);
    let of = |name: &str| cpu.get(name).copied().unwrap_or_default();
    turns.gateway_s += of("gateway");
    turns.load_s += of(LOAD);
    worker.give_back().await?;
    stop(open).await
}

/// The subscribers that have not been told of the latest change.
#[derive(Default)]
struct Waiting {
    left: Cell<usize>,
    served: Notify,
}

async fn follow(mut socket: Socket, waiting: Rc<Waiting>) -> io::Result<()> {
    loop {
        if socket.text().await?.contains("\"next\"") {
            waiting.left.set(waiting.left.get().saturating_sub(1));
            if waiting.left.get() == 0 {
                waiting.served.notify_one();
            }
        }
    }
}

/// Starts an order and gives it back, in turns.
struct Worker {
    requests: mpsc::Sender<v1::WorkerMessage>,
    answers: Streaming<v1::GatewayMessage>,
    lease: v1::Lease,
    started: bool,
}

impl Worker {
    async fn connect(servers: &Servers, order: &str) -> io::Result<Self> {
        let address = format!("http://{}", servers.grpc);
        let mut client = OrderServiceClient::connect(address).await.map_err(io::Error::other)?;
        let (requests, receiver) = mpsc::channel(1);
        let hello = v1::Hello { worker_id: "bench".to_owned(), ..Default::default() };
        let hello = v1::WorkerMessage { request_id: 0, message: Some(Request::Hello(hello)) };
        requests.send(hello).await.map_err(io::Error::other)?;
        let answers = client.work(ReceiverStream::new(receiver)).await.map_err(io::Error::other)?;
        let lease = v1::Lease { order_id: order.to_owned(), lease_token: String::new() };
        let mut worker = Self { requests, answers: answers.into_inner(), lease, started: false };
        worker.answers.message().await.map_err(io::Error::other)?;
        Ok(worker)
    }

    /// Asks for the next change.
    async fn change(&mut self) -> io::Result<()> {
        let message = if self.started {
            let outcome = Some(v1::report::Outcome::Released(v1::Released {}));
            let report = v1::Report { lease: Some(self.lease.clone()), outcome };
            Request::Finish(v1::Finish { reports: vec![report] })
        } else {
            self.lease.lease_token = domain::LeaseToken::random().to_string();
            Request::Start(v1::Start { leases: vec![self.lease.clone()] })
        };
        self.started = !self.started;
        let message = v1::WorkerMessage { request_id: 1, message: Some(message) };
        self.requests.send(message).await.map_err(io::Error::other)
    }

    /// Waits for its answer, which comes before or after the subscribers have theirs.
    async fn answered(&mut self) -> io::Result<()> {
        let answer = self.answers.message().await.map_err(io::Error::other)?;
        match answer.and_then(|answer| answer.message) {
            Some(Answer::Started(started)) if started.refused.is_empty() => Ok(()),
            Some(Answer::Finished(finished)) if finished.refused.is_empty() => Ok(()),
            other => Err(io::Error::other(format!("the order cannot be changed: {other:?}"))),
        }
    }

    /// So that the next one can start it.
    async fn give_back(&mut self) -> io::Result<()> {
        if self.started {
            self.change().await?;
            self.answered().await?;
        }
        Ok(())
    }
}

impl Turns {
    fn served(&self, subscribers: usize) -> Served {
        let changes = self.latency.count();
        let us_each = |seconds: f64| round(seconds * 1e6 / changes.max(1) as f64);
        Served {
            subscribers,
            changes: changes as usize,
            last_ms: (&self.latency).into(),
            gateway_cpu_us: us_each(self.gateway_s),
            load_cpu_us: us_each(self.load_s),
        }
    }
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| subscribers of the order | changes | change sent to last subscriber served: p50, p99 (ms) | CPU of the gateway for a change (µs) | for each subscriber | of the load generator |\n|---|---|---|---|---|---|\n",
        );
        for served in &self.fan_out {
            let each = served.subscribers.max(1) as f64;
            // Writing to a String does not fail.
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
        text.push_str(
            "\n| subscriptions of other orders | changes | change sent to its subscriber: p50, p99 (ms) | CPU of the gateway for a change (µs) |\n|---|---|---|---|\n",
        );
        for (others, served) in [(0, &self.alone), (self.others, &self.among_others)] {
            let _ = writeln!(
                text,
                "| {others} | {} | {} | {:.0} |",
                served.changes,
                served.last_ms.show_precisely(),
                served.gateway_cpu_us
            );
        }
        let ratio = |of: &dyn Fn(&Served) -> f64| of(&self.among_others) / of(&self.alone);
        let _ = writeln!(
            text,
            "| with against without | | {:.2}×, {:.2}× | {:.2}× |",
            ratio(&|served| served.last_ms.p50.unwrap_or_default()),
            ratio(&|served| served.last_ms.p99.unwrap_or_default()),
            ratio(&|served| served.gateway_cpu_us)
        );
        let _ = writeln!(text, "\n{} turns without and with others; {}", self.rounds, self.machine.show());
        text
    }
}
