//! The store against a model of what it should do: random creates, commands (late, repeated, several at
//! once), dispatch, pauses and time, checked after each step. The model is written without a look at
//! `domain::transition`, in terms of what users are promised.

use std::collections::HashMap;
use std::time::Duration;

use domain::retry::MAX_POSTPONEMENTS;
use domain::transition::{CLOCK_STEP, Command, Rules};
use domain::{Draft, LeaseToken, OrderId, Outcome, Priority, RetryPolicy, Status, Timestamp};
use proptest::prelude::*;

use super::{
    Applied, Creation, Idempotency, Inserted, Longest, Marks, NewOrder, Options, Overdue, Store, request_hash,
};

const LEASE: Duration = Duration::from_secs(30);
const GUARD: Duration = Duration::from_secs(10);
/// What clocks of gateways may differ by.
const TOLERANCE: Duration = domain::transition::CLOCK_TOLERANCE;
const RETRY: RetryPolicy = RetryPolicy { base: Duration::from_secs(4), cap: Duration::from_secs(60) };

#[derive(Debug, Clone)]
enum Step {
    Create {
        priority: Priority,
        max_attempts: u32,
        in_ms: Option<u64>,
        key: Option<u8>,
        taken: bool,
    },
    Apply(Vec<(usize, Ask)>),
    Dispatch {
        limit: u32,
    },
    Sweep,
    Pause,
    Resume,
    Wait {
        ms: u64,
    },
    /// The clock is set back, by more than any order waits. Once, because a row does not say how often it was.
    SetBack {
        hours: i64,
    },
    /// The tables as they are now are kept ...
    Backup,
    /// ... and come back, while the store goes on and remembers what has been lost.
    Restore,
}

/// A command by somebody who may be late: `back` says how many of the order's tokens ago theirs was
/// drawn; 0 is the latest.
#[derive(Debug, Clone)]
enum Ask {
    Start,
    StartAgain { back: usize },
    Heartbeat { back: usize },
    Finish { back: usize, how: How },
    Cancel,
    Redrive { in_ms: Option<u64> },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Done,
    Retry,
    RetryIn { ms: u64 },
    Fail,
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        4 => Just(How::Done),
        3 => Just(How::Retry),
        2 => (0..20_000_u64).prop_map(|ms| How::RetryIn { ms }),
        1 => Just(How::Fail),
        1 => Just(How::Release),
    ];
    let ask = prop_oneof![
        6 => Just(Ask::Start),
        1 => (0..3_usize).prop_map(|back| Ask::StartAgain { back }),
        2 => (0..3_usize).prop_map(|back| Ask::Heartbeat { back }),
        5 => (0..2_usize, how).prop_map(|(back, how)| Ask::Finish { back, how }),
        1 => Just(Ask::Cancel),
        2 => prop::option::of(0..20_000_u64).prop_map(|in_ms| Ask::Redrive { in_ms }),
    ];
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let create = (
        priority,
        1..4_u32,
        prop::option::weighted(0.3, 0..20_000_u64),
        prop::option::weighted(0.4, 0..3_u8),
        any::<bool>(),
    );
    let step = prop_oneof![
        3 => create.prop_map(|(priority, max_attempts, in_ms, key, taken)| Step::Create { priority, max_attempts, in_ms, key, taken }),
        8 => prop::collection::vec((0..4_usize, ask), 1..5).prop_map(Step::Apply),
        2 => (1..6_u32).prop_map(|limit| Step::Dispatch { limit }),
        2 => Just(Step::Sweep),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        4 => (0..40_000_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (1..30_i64).prop_map(|hours| Step::SetBack { hours }),
        1 => Just(Step::Backup),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..40)
}

/// What is known about an order.
#[derive(Clone)]
struct Known {
    id: OrderId,
    status: Status,
    attempt: u32,
    failures: u32,
    max_attempts: u32,
    /// Every token that was ever used for it.
    tokens: Vec<LeaseToken>,
    /// The token of the latest attempt, while its holder may still be answered.
    current: Option<LeaseToken>,
    lease_end: Timestamp,
    /// It may be started from some time in this range; drawn by lot when the ends differ.
    start: (Timestamp, Timestamp),
    scheduled: Option<Timestamp>,
    /// When it last changed, by the latest clock that it has seen.
    updated: Timestamp,
    /// Not offered again before.
    guarded: Timestamp,
    timeline: Vec<Status>,
}

/// What the model expects of a command.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Becomes(Status),
    Same,
    Refused,
    /// Started or refused: it depends on a wait that was drawn by lot, or on one that only dispatch knows.
    StartsOrNot,
}

/// The first order and the hash of each idempotency key.
type Keys = HashMap<u8, (OrderId, [u8; 32])>;

struct World {
    store: Store,
    orders: Vec<Known>,
    keys: Keys,
    /// The orders and the keys of the backup.
    backup: Option<(Vec<Known>, Keys)>,
    paused: bool,
    set_back: bool,
    rules: Rules,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        let store = Store::connect(&url, &Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let rules = Rules { lease: LEASE, retry: RETRY, ..Rules::default() };
        Self {
            store,
            orders: Vec::new(),
            keys: HashMap::new(),
            backup: None,
            paused: false,
            set_back: false,
            rules,
            _folder: folder,
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Create { priority, max_attempts, in_ms, key, taken } => {
                self.create(priority, max_attempts, in_ms, key, taken).await;
            }
            Step::Apply(asks) => self.apply(asks).await,
            Step::Dispatch { limit } => self.dispatch(limit).await,
            Step::Sweep => self.sweep().await,
            Step::Pause => {
                self.store.pause(None, None).await.unwrap();
                self.paused = true;
            }
            Step::Resume => {
                assert_eq!(self.store.resume().await.unwrap(), self.paused);
                self.paused = false;
            }
            Step::Wait { ms } => {
                let micros = i64::try_from(ms).unwrap() * 1_000;
                self.store.inner.clock.shift(micros);
            }
            Step::SetBack { hours } => self.set_back(hours).await,
            Step::Backup => self.back_up().await,
            Step::Restore => self.restore().await,
        }
        self.check().await;
    }

    /// What dispatch does then: no order waits for longer than it can, and no lease is taken.
    async fn set_back(&mut self, hours: i64) {
        if std::mem::replace(&mut self.set_back, true) {
            return;
        }
        // A backup from before would come from the future.
        self.backup = None;
        self.store.inner.clock.shift(-hours * 3_600_000_000);
        let longest = Longest { guard: GUARD, lease: LEASE };
        let Overdue { guards, leases, ahead, .. } = self.store.overdue(1_000, longest).await.unwrap();
        assert_eq!(leases.len(), 0, "no lease has ended by a clock that was set back");
        self.store.drop_guards_of(guards).await.unwrap();
        self.store.shorten_leases(&ahead, longest).await.unwrap();
        self.store.bring_in().await.unwrap();
        let now = self.store.now();
        for order in &mut self.orders {
            if order.status == Status::Processing {
                order.lease_end = order.lease_end.min(now + LEASE);
            }
            if order.scheduled.is_none() || order.attempt > 0 {
                order.scheduled = None;
                // At some time from now on, and at the latest after the longest wait that there is.
                order.start = (Timestamp::from_micros(0), now + RETRY.cap);
                order.guarded = order.start.0;
            } else {
                order.guarded = order.start.0;
            }
        }
    }

    async fn run(&self, statement: fn(&str) -> String) {
        for table in ["orders", "order_events", "idempotency_keys"] {
            let text = statement(table);
            let run = self.store.write(|connection| {
                let text = text.clone();
                Box::pin(async move {
                    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(connection).await?;
                    Ok(())
                })
            });
            run.await.unwrap();
        }
    }

    async fn back_up(&mut self) {
        let copy = |table: &str| {
            format!("DROP TABLE IF EXISTS kept_{table}; CREATE TABLE kept_{table} AS SELECT * FROM {table}")
        };
        self.run(copy).await;
        self.backup = Some((self.orders.clone(), self.keys.clone()));
    }

    /// As after the failover to a replica that was behind. The workers keep the tokens of what has been lost.
    async fn restore(&mut self) {
        let Some((mut orders, keys)) = self.backup.clone() else { return };
        self.run(|table| format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}"))
            .await;
        for order in &mut orders {
            if let Some(lost) = self.orders.iter_mut().find(|lost| lost.id == order.id) {
                order.tokens = std::mem::take(&mut lost.tokens);
            }
        }
        (self.orders, self.keys) = (orders, keys);
    }

    async fn create(
        &mut self,
        priority: Priority,
        max_attempts: u32,
        in_ms: Option<u64>,
        key: Option<u8>,
        taken: bool,
    ) {
        let now = self.store.now();
        let at = in_ms.map(|ms| now + Duration::from_millis(ms));
        let draft = Draft {
            item: Some("Laptop".into()),
            quantity: Some(1),
            price: Some("1".into()),
            max_attempts: Some(max_attempts.into()),
            priority: Some(priority.to_string()),
            process_after: at.map(|at| at.to_string()),
            ..Draft::default()
        };
        let content = draft.check(domain::Currency::USD).unwrap();
        let id = OrderId::new(now);
        let hash = request_hash(&content);
        let idempotency = key.map(|key| Idempotency {
            key: format!("key-{key}").parse().unwrap(),
            request_hash: hash,
            expires_at: now + Duration::from_secs(86_400),
        });
        let order = NewOrder::new(id, content, now);
        let guard = if taken { GUARD } else { Duration::ZERO };
        let creation = Creation { orders: [order].into(), idempotency };
        let inserted = self.store.insert_taken([creation].into(), guard).await.unwrap();
        let expected = match key.and_then(|key| self.keys.get(&key)) {
            None => Inserted::New,
            Some((before, same)) if *same == hash => Inserted::Before(*before),
            Some(_) => Inserted::KeyReused,
        };
        assert_eq!(inserted, std::slice::from_ref(&expected));
        if expected != Inserted::New {
            return;
        }
        if let Some(key) = key {
            self.keys.insert(key, (id, hash));
        }
        let start = at.map_or(now, |at| at.max(now));
        self.orders.push(Known {
            id,
            status: Status::Pending,
            attempt: 0,
            failures: 0,
            max_attempts,
            tokens: Vec::new(),
            current: None,
            lease_end: now,
            start: (start, start),
            scheduled: at,
            updated: now,
            guarded: if at.is_none() { start + guard } else { start },
            timeline: vec![Status::Pending],
        });
    }

    async fn apply(&mut self, asks: Vec<(usize, Ask)>) {
        if self.orders.is_empty() {
            return;
        }
        let now = self.store.now();
        let mut commands = Vec::new();
        for (n, ask) in asks {
            let index = n % self.orders.len();
            let order = &mut self.orders[index];
            let token = |back: usize| {
                let used = order.tokens.len();
                used.checked_sub(1 + back).map_or(LeaseToken::from_i64(-1).unwrap(), |at| order.tokens[at])
            };
            let command = match ask {
                Ask::Start => Command::start(LeaseToken::random()),
                Ask::StartAgain { back } => Command::start(token(back)),
                Ask::Heartbeat { back } => Command::Heartbeat { lease: token(back) },
                Ask::Finish { back, how } => Command::Finish { lease: token(back), outcome: outcome(how) },
                Ask::Cancel => Command::Cancel { reason: None },
                Ask::Redrive { in_ms } => {
                    let not_before = in_ms.map(|ms| now + Duration::from_millis(ms));
                    Command::Redrive { reason: None, not_before }
                }
            };
            if let Command::Start { lease, .. } = command {
                order.tokens.push(lease);
            }
            commands.push((index, command));
        }
        let sent: Vec<_> =
            commands.iter().map(|(n, command)| (self.orders[*n].id, command.clone())).collect();
        let applied = self.store.apply(sent.into(), self.rules).await.unwrap();
        // The store has read its clock in between.
        let later = self.store.now();
        for ((index, command), applied) in commands.iter().zip(applied) {
            let paused = self.paused;
            let order = &mut self.orders[*index];
            let expected = order.expect(command, (now, later), paused);
            let got = match applied {
                Applied::Changed { event, .. } => Expected::Becomes(event.status),
                Applied::Unchanged { .. } => Expected::Same,
                Applied::Refused(_) => Expected::Refused,
                other => panic!("{other:?}"),
            };
            let by_lot = expected == Expected::StartsOrNot
                && matches!(got, Expected::Becomes(Status::Processing) | Expected::Refused);
            assert!(by_lot || got == expected, "{command:?} of {}: {got:?}, expected {expected:?}", order.id);
            order.carry_out(command, &got, (now, later), paused);
            if matches!(got, Expected::Becomes(_)) {
                order.updated = order.updated.max(later);
            }
        }
    }

    async fn dispatch(&mut self, limit: u32) {
        let now = self.store.now();
        let overdue = self.store.overdue(100, Longest::default()).await.unwrap();
        let later = self.store.now();
        for id in &overdue.guards {
            let order = self.orders.iter().find(|order| order.id == *id).unwrap();
            assert!(order.status == Status::Pending && order.guarded <= later, "its guard is not over");
        }
        self.store.drop_guards_of(overdue.guards).await.unwrap();
        let taken = self.store.take_due(limit, GUARD, Marks::default()).await.unwrap();
        assert_eq!(taken.is_none(), self.paused, "nothing is dispatched during a pause");
        let taken = taken.unwrap_or_default();
        let later = self.store.now();
        assert!(taken.ahead.len() + taken.behind.len() <= limit as usize);
        let jobs: Vec<_> = taken.ahead.iter().chain(&taken.behind).collect();
        for job in &jobs {
            let order = self.orders.iter_mut().find(|order| order.id == job.order_id).unwrap();
            assert_eq!(order.status, Status::Pending);
            assert!(later >= order.start.0, "dispatched early");
            assert!(later >= order.guarded, "dispatched twice within its guard");
            order.guarded = now + GUARD;
        }
        let due = |order: &&Known| order.status == Status::Pending && order.start.1.max(order.guarded) <= now;
        if jobs.is_empty() && !self.paused {
            assert_eq!(
                self.orders.iter().find(due).map(|order| order.id),
                None,
                "it is due and was left out"
            );
        }
    }

    async fn sweep(&mut self) {
        let now = self.store.now();
        let expired = self.store.overdue(100, Longest::default()).await.unwrap().leases;
        for order in &self.orders {
            let runs_out = order.status == Status::Processing && order.lease_end <= now;
            let found = expired.iter().any(|(id, _)| *id == order.id);
            assert!(found || !runs_out, "its lease ran out and was not found");
        }
        let applied = self.store.apply(expired.clone().into(), self.rules).await.unwrap();
        let later = self.store.now();
        for ((id, _), applied) in expired.iter().zip(applied) {
            let order = self.orders.iter_mut().find(|order| order.id == *id).unwrap();
            assert!(order.status == Status::Processing && order.lease_end <= later);
            let Applied::Changed { event, .. } = applied else { panic!("{applied:?}") };
            order.fail(None, (now, later));
            order.updated = order.updated.max(later);
            order.current = None;
            assert_eq!(event.status, order.status);
        }
    }

    /// The database holds what the model knows, and nothing else.
    async fn check(&self) {
        let report = self.store.inspect(Duration::ZERO).await.unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.accepted(), self.orders.len() as u64);
        let ids: Vec<OrderId> = self.orders.iter().map(|order| order.id).collect();
        let mut stored: HashMap<OrderId, domain::Order> =
            self.store.orders(&ids).await.unwrap().into_iter().map(|order| (order.id, order)).collect();
        let cursors: Vec<_> = ids.iter().map(|id| (*id, 0)).collect();
        let events = self.store.events_after(&cursors).await.unwrap();
        for known in &self.orders {
            let order = stored.remove(&known.id).unwrap();
            assert_eq!(
                (order.status, order.attempt, order.failures),
                (known.status, known.attempt, known.failures)
            );
            let timeline = events.iter().filter(|event| event.order_id == known.id).map(|event| event.status);
            assert_eq!(timeline.collect::<Vec<_>>(), known.timeline);
            assert_eq!(order.version as usize, known.timeline.len());
        }
    }
}

impl Known {
    /// What has to happen, somewhen in the time from `now.0` to `now.1`.
    fn expect(&self, command: &Command, now: (Timestamp, Timestamp), paused: bool) -> Expected {
        let runs = |lease: &LeaseToken| self.status == Status::Processing && self.current == Some(*lease);
        match command {
            Command::Start { lease, .. } => match self.status {
                Status::Pending => {
                    let early =
                        |at: Timestamp| self.scheduled.map_or(at - TOLERANCE, |set| set.max(at - TOLERANCE));
                    // Its times are of a clock that was set back since: dispatch has waited for it, a Start does not.
                    let from_the_future =
                        self.updated > now.1 + CLOCK_STEP && (self.scheduled.is_none() || self.attempt > 0);
                    if self.current == Some(*lease) || paused {
                        Expected::Refused
                    } else if now.1 < early(self.start.0) {
                        if from_the_future { Expected::StartsOrNot } else { Expected::Refused }
                    } else if now.0 >= early(self.start.1) {
                        Expected::Becomes(Status::Processing)
                    } else {
                        Expected::StartsOrNot
                    }
                }
                Status::Processing if self.current == Some(*lease) => Expected::Same,
                _ => Expected::Refused,
            },
            Command::Heartbeat { lease } if runs(lease) => Expected::Same,
            Command::Heartbeat { .. } => Expected::Refused,
            Command::Finish { lease, outcome } => {
                if !runs(lease) {
                    let same = self.current == Some(*lease) && self.was_reported(outcome);
                    return if same { Expected::Same } else { Expected::Refused };
                }
                Expected::Becomes(match outcome {
                    Outcome::Completed => Status::Completed,
                    Outcome::Failed { .. } => Status::Failed,
                    Outcome::Released => Status::Pending,
                    Outcome::Retry { after, .. }
                        if self.counts(*after) && self.failures + 1 >= self.max_attempts =>
                    {
                        Status::Failed
                    }
                    Outcome::Retry { .. } => Status::Pending,
                })
            }
            Command::Cancel { .. } => match self.status {
                Status::Pending | Status::Processing => Expected::Becomes(Status::Cancelled),
                Status::Cancelled => Expected::Same,
                Status::Completed | Status::Failed => Expected::Refused,
            },
            Command::Redrive { .. } if self.status == Status::Failed => Expected::Becomes(Status::Pending),
            Command::Redrive { .. } => Expected::Refused,
            Command::Expire => unreachable!("leases are taken back by the sweep"),
        }
    }

    /// Whether the latest attempt may have ended like this.
    fn was_reported(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Completed => self.status == Status::Completed,
            Outcome::Failed { .. } => self.status == Status::Failed,
            Outcome::Released => self.status == Status::Pending,
            Outcome::Retry { .. } => {
                let last = self.status == Status::Failed && self.failures >= self.max_attempts;
                self.status == Status::Pending || last
            }
        }
    }

    /// Takes over what has happened.
    fn carry_out(&mut self, command: &Command, got: &Expected, now: (Timestamp, Timestamp), paused: bool) {
        match (command, got) {
            (Command::Start { lease, .. }, Expected::Becomes(_)) => {
                self.attempt += 1;
                self.current = Some(*lease);
                self.lease_end = now.0 + LEASE;
                self.becomes(Status::Processing);
            }
            // Its job is used up: it is offered again as soon as the queue is resumed.
            (Command::Start { .. }, Expected::Refused) if paused && self.status == Status::Pending => {
                self.guarded = self.start.0.min(self.guarded);
            }
            (Command::Heartbeat { .. }, Expected::Same) => self.lease_end = now.0 + LEASE,
            (Command::Finish { outcome, .. }, Expected::Becomes(status)) => match outcome {
                Outcome::Retry { after, .. } => self.fail(*after, now),
                Outcome::Released => self.waits(now),
                Outcome::Failed { .. } => {
                    self.failures += 1;
                    self.becomes(*status);
                }
                Outcome::Completed => self.becomes(*status),
            },
            (Command::Cancel { .. }, Expected::Becomes(status)) => {
                self.current = None;
                self.becomes(*status);
            }
            (Command::Redrive { not_before, .. }, Expected::Becomes(_)) => {
                self.current = None;
                self.failures = 0;
                let at = |now: Timestamp| not_before.map_or(now, |at| at.max(now));
                self.waits((at(now.0), at(now.1)));
            }
            _ => {}
        }
    }

    /// Whether such a retry is a failure, and not a wait that the other side has asked for.
    fn counts(&self, after: Option<Duration>) -> bool {
        after.is_none_or(|after| after.is_zero()) || self.attempt - self.failures > MAX_POSTPONEMENTS
    }

    /// An attempt has failed: another one, or a dead letter.
    fn fail(&mut self, after: Option<Duration>, now: (Timestamp, Timestamp)) {
        if !self.counts(after) {
            let after = after.unwrap_or_default();
            let longest = RETRY.ceiling(self.attempt - self.failures).max(after);
            return self.waits((now.0 + after, now.1 + longest));
        }
        self.failures += 1;
        if self.failures >= self.max_attempts {
            return self.becomes(Status::Failed);
        }
        match after {
            Some(after) => self.waits((now.0 + after, now.1 + after)),
            None => {
                let longest = RETRY.base * 2_u32.pow(self.failures - 1);
                self.waits((now.0, now.1 + longest.min(RETRY.cap)));
            }
        }
    }

    fn waits(&mut self, start: (Timestamp, Timestamp)) {
        self.start = start;
        self.guarded = start.0;
        self.becomes(Status::Pending);
    }

    fn becomes(&mut self, status: Status) {
        self.status = status;
        self.timeline.push(status);
    }
}

fn outcome(how: How) -> Outcome {
    let reason = || "it broke".to_owned();
    match how {
        How::Done => Outcome::Completed,
        How::Retry => Outcome::Retry { reason: reason(), class: None, after: None },
        How::RetryIn { ms } => {
            Outcome::Retry { reason: reason(), class: None, after: Some(Duration::from_millis(ms)) }
        }
        How::Fail => Outcome::Failed { reason: reason(), class: None },
        How::Release => Outcome::Released,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
            world.store.close().await;
        });
    }
}
