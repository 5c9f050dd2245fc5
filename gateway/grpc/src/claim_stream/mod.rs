//! The stream of a worker to which the gateway assigns jobs.
//!
//! The worker grants credits, and gets started attempts for them (`gateway_service::claims`). Its heartbeats renew the leases
//! of all jobs of the stream, so no message lists them. Each Jobs message has a number, and the worker confirms the numbers
//! that it has received. At the end of the stream, jobs that are not confirmed return to the queue and their attempts do
//! not count; the other jobs keep their leases, and the worker can resume them on another stream.
//!
//! Results and checkpoints are recorded in separate tasks, which repeat a write that cannot be decided now, so a worker
//! repeats them only after the loss of its stream. The progress of a job is published at most once a second.

mod control;
mod messages;
mod refusals;
mod results;
mod running;
mod session;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorCode, Kinds};
use futures_util::future::OptionFuture;
use futures_util::stream::{BoxStream, StreamExt};
use proto::v1::claim_request::Message as Request;
use proto::v1::claim_response::Message as Response;
use proto::{CLAIM_PROTOCOL, MAX_BATCH, REBALANCE, v1};
use rand::Rng;
use telemetry::panics;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tonic::{Status, Streaming};

use self::messages::Messages;
use self::results::{MAX_WAITING_REPORTS, RecordPermit};
use self::session::{PROGRESS_INTERVAL, Session};
use crate::message_body::HeldBytes;
use crate::state::State;
use crate::status::{from_problem, invalid, refuse};
use crate::worker_stream::Caller;
use gateway_service::claims::Claimer;

/// Maximum number of Results and Checkpoints of a stream that are being recorded; further ones wait in the connection.
const MAX_CONCURRENT_RESULTS: u32 = 64;
/// Maximum number of queued messages without jobs.
const MAX_QUEUED: usize = 64;
/// The number of heartbeat intervals without a message after which the stream ends.
const SILENT_INTERVALS: u32 = 3;
/// Maximum time for the responses to earlier results after the end of the credential.
const FAREWELL: Duration = Duration::from_millis(250);

/// Serves one stream.
pub(super) fn serve(
    state: State,
    caller: Caller,
    requests: Streaming<v1::ClaimRequest>,
    held: Option<Arc<HeldBytes>>,
) -> BoxStream<'static, Result<v1::ClaimResponse, Status>> {
    let (sender, control) = mpsc::channel(MAX_QUEUED);
    let (claimer, jobs) = state.claims.register(caller.principal.clone());
    let tasks = state.context.tasks.clone();
    let connected = state.health.track_worker_stream();
    let session = Arc::new(Session::new(state, caller.principal.clone(), sender));
    let messages = Messages::new(control, jobs, session.clone());
    tasks.spawn(async move {
        let ended = run(&session, caller, claimer, requests, held).await;
        if let Err(status) = &ended {
            tracing::debug!(%status, "worker stream ended");
        }
        session.close().await;
        drop(connected);
        session.end(ended.err()).await;
    });
    messages.boxed()
}

async fn run(
    session: &Arc<Session>,
    Caller { principal: _, credential }: Caller,
    claimer: Claimer,
    mut requests: Streaming<v1::ClaimRequest>,
    held: Option<Arc<HeldBytes>>,
) -> Result<(), Status> {
    let state = &session.state;
    let interval = state.orders.config().rules.lease / 3;
    let mut claimer = Some(claimer);
    let mut cancelled = state.feed.cancelled();
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_RESULTS as usize));
    let waiting = Arc::new(Semaphore::new(MAX_WAITING_REPORTS));
    let recorded = Arc::new(Notify::new());
    let (mut greeted, mut drained) = (false, false);
    let mut silence = silence(interval);
    let (mut silent_intervals, mut renewed, mut progress_at) = (0, None::<Instant>, None::<Instant>);
    let mut ended = pin!(state.context.auth.clone().until_ended(credential));
    let mut rebalance = pin!(sleep(rebalance_pause(state)));
    loop {
        let free = permits.available_permits() + waiting.available_permits();
        if drained && session.is_idle() && free == MAX_CONCURRENT_RESULTS as usize + MAX_WAITING_REPORTS {
            return Ok(());
        }
        let request = tokio::select! {
            request = requests.message() => match request? {
                Some(request) => request,
                None => return Ok(()),
            },
            id = cancelled.recv() => {
                session.cancel_orders(id, &mut cancelled).await;
                continue;
            }
            () = state.context.draining.cancelled(), if !drained => {
                drained = true;
                claimer = None;
                session.set_draining();
                session.send(drain(ErrorCode::ShuttingDown.as_str())).await;
                continue;
            }
            () = &mut rebalance, if !drained => {
                rebalance.set(sleep(rebalance_pause(state)));
                if state.gateways.get() > 1 {
                    drained = true;
                    claimer = None;
                    session.set_draining();
                    session.send(drain(REBALANCE)).await;
                }
                continue;
            }
            problem = &mut ended => {
                drop(claimer);
                session.set_draining();
                let farewell = async {
                    session.send(drain(problem.code().as_str())).await;
                    // All are free when every result has its response, except those that wait for a shard.
                    let _ = permits.acquire_many(MAX_CONCURRENT_RESULTS).await;
                };
                let _ = timeout(FAREWELL, farewell).await;
                return Err(from_problem(&problem));
            }
            _ = silence.tick() => {
                silent_intervals += 1;
                if silent_intervals > SILENT_INTERVALS {
                    return Err(silent(interval));
                }
                continue;
            }
            () = recorded.notified(), if drained => continue,
            Some(()) = OptionFuture::from(progress_at.map(sleep_until)) => {
                progress_at = session.publish_progress().then(|| Instant::now() + PROGRESS_INTERVAL);
                continue;
            }
            () = session.closed() => return Ok(()),
        };
        silent_intervals = 0;
        // The bytes of the message count until its response is sent.
        let held = held.as_ref().map(|held| held.hand_over());
        let v1::ClaimRequest { received, credits, message } = request;
        if !greeted && !matches!(message, Some(Request::Hello(_))) {
            return Err(invalid("the first message must be ClaimHello"));
        }
        session.confirm_messages(received);
        match message {
            Some(Request::Hello(_)) if greeted => return Err(invalid("ClaimHello may be sent only once")),
            Some(Request::Hello(hello)) => {
                greeted = true;
                if hello.protocol != CLAIM_PROTOCOL {
                    return Err(refuse(
                        ErrorCode::UnsupportedProtocol,
                        format!(
                            "the worker speaks protocol {} and this gateway {CLAIM_PROTOCOL}: use a worker and a gateway \
                             of versions that fit",
                            hello.protocol
                        ),
                    ));
                }
                check_length(hello.running.len())?;
                let kinds = Kinds::parse(&hello.kinds);
                let kinds = kinds.map_err(|problem| invalid(format!("ClaimHello.kinds: {problem}")))?;
                session.greet(hello, kinds, claimer.as_ref(), interval).await;
            }
            Some(Request::Heartbeat(_)) => {
                let is_due = renewed.is_none_or(|at| at.elapsed() >= interval / 2);
                if is_due {
                    renewed = Some(Instant::now());
                    session.renew();
                }
                // A full queue means that other messages are on their way, which serve as well.
                session.try_send(Response::Heartbeat(v1::Heartbeat {}));
            }
            Some(Request::Results(results)) => {
                check_length(results.reports.len())?;
                session.confirm(results.reports.iter().filter_map(|report| report.lease.as_ref()));
                let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
                let mut permit = RecordPermit::new(permit, &waiting);
                let (session, recorded) = (session.clone(), recorded.clone());
                state.context.tasks.spawn(async move {
                    let number = results.number;
                    let record = session.record(results.reports, &mut permit);
                    let refused = panics::catch_async("grpc", record).await;
                    if let Ok(Some(refused)) = refused {
                        let recorded = v1::ResultsRecorded { number, refused };
                        session.send(Response::ResultsRecorded(recorded)).await;
                    }
                    drop((held, permit));
                    recorded.notify_one();
                });
            }
            Some(Request::Checkpoint(v1::Checkpoint { number, lease, json })) => {
                session.confirm(lease.iter());
                let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
                let mut permit = RecordPermit::new(permit, &waiting);
                let (session, recorded) = (session.clone(), recorded.clone());
                state.context.tasks.spawn(async move {
                    let record = session.record_checkpoint(lease, &json, &mut permit);
                    let stored = panics::catch_async("grpc", record).await;
                    if let Ok(Some(refused)) = stored {
                        let recorded = v1::CheckpointRecorded { number, refused };
                        session.send(Response::CheckpointRecorded(recorded)).await;
                    }
                    drop((held, permit));
                    recorded.notify_one();
                });
            }
            Some(Request::Progress(progress)) => {
                session.confirm(progress.lease.iter());
                if session.report_progress(progress) {
                    progress_at.get_or_insert_with(|| Instant::now() + PROGRESS_INTERVAL);
                }
            }
            Some(Request::Drain(_)) => {
                claimer = None;
                session.drain_worker();
            }
            None => {}
        }
        // After the message: the results of finished jobs are on their way to the database before new ones are assigned.
        if let Some(claimer) = &claimer {
            claimer.grant(credits);
        }
    }
}

fn check_length(entries: usize) -> Result<(), Status> {
    if entries > MAX_BATCH {
        return Err(invalid(format!("a message may have at most {MAX_BATCH} entries, has {entries}")));
    }
    Ok(())
}

/// Returns the ends of the intervals that count as silence. They are counted and not measured: of the time for which this
/// process was stopped they contain one.
fn silence(interval: Duration) -> Interval {
    let mut ends = interval_at(Instant::now() + interval, interval);
    ends.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ends
}

fn silent(interval: Duration) -> Status {
    let waited = interval * SILENT_INTERVALS;
    Status::deadline_exceeded(format!(
        "the worker has sent no message for {} ms: send a Heartbeat every {} ms",
        waited.as_millis(),
        interval.as_millis()
    ))
}

/// Returns the message that announces the end of the stream.
fn drain(reason: &str) -> Response {
    Response::Drain(v1::Drain { reason: reason.to_owned() })
}

/// Returns the time after which the worker is sent to another gateway. Workers choose gateways at random, so after some
/// minutes they are distributed among all, also those that were added. The random time keeps them from moving together.
fn rebalance_pause(state: &State) -> Duration {
    let min = state.config.rebalance_after;
    rand::rng().random_range(min..=2 * min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use limits_page::{count, row};

    #[test]
    fn the_limits_are_documented() {
        row(
            "concurrent Results and Checkpoints of a worker's stream; reports that wait for a shard of Vitess",
            &format!("{MAX_CONCURRENT_RESULTS}; {}", count(MAX_WAITING_REPORTS)),
        );
        row("queued messages without jobs of a worker's stream", &MAX_QUEUED.to_string());
        row("heartbeat intervals without a message of a worker", &SILENT_INTERVALS.to_string());
    }
}
