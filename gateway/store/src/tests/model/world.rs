//! The store and the model, which execute the same steps.

use std::collections::HashMap;
use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{Draft, LeaseToken, OrderId, Principal, Priority, Status, Timestamp};

use super::known::{Expected, Known};
use super::steps::{Ask, Step, outcome};
use super::{GUARD, LEASE, RETRY};
use crate::{
    ClaimLimits, CommandOutcome, CreateRequest, DueTenants, ExpiredClaims, Idempotency, InsertOutcome,
    InsertPlan, NewOrder, Options, Store, request_hash,
};

/// The first order and the hash of each idempotency key.
pub(super) type Keys = HashMap<u8, (OrderId, [u8; 32])>;

pub(super) struct World {
    pub(super) store: Store,
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
    pub(super) async fn new() -> Self {
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

    pub(super) async fn step(&mut self, step: Step) {
        match step {
            Step::Create { priority, max_attempts, in_ms, key, taken } => {
                self.create(priority, max_attempts, in_ms, key, taken).await;
            }
            Step::Apply(asks) => self.apply(asks).await,
            Step::Dispatch { limit } => self.dispatch(limit).await,
            Step::Sweep => self.sweep().await,
            Step::Pause => {
                self.store.pause(None, None, &requester()).await.unwrap();
                self.paused = true;
            }
            Step::Resume => {
                assert_eq!(self.store.resume(&requester()).await.unwrap(), self.paused);
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

    /// Executes what dispatch does then: no order waits for longer than possible, and no lease expires.
    async fn set_back(&mut self, hours: i64) {
        if std::mem::replace(&mut self.set_back, true) {
            return;
        }
        // An older backup would come from the future.
        self.backup = None;
        self.store.inner.clock.shift(-hours * 3_600_000_000);
        let longest = ClaimLimits { visibility_timeout: GUARD, lease: LEASE };
        let ExpiredClaims { unstarted, leases, overlong, .. } =
            self.store.expired_claims(1_000, longest).await.unwrap();
        assert_eq!(leases.len(), 0, "no lease has ended by a clock that was set back");
        self.store.release_unstarted(unstarted).await.unwrap();
        self.store.shorten_leases(&overlong, longest).await.unwrap();
        self.store.shorten_waits().await.unwrap();
        let now = self.store.now();
        for order in &mut self.orders {
            if order.status == Status::Processing {
                order.lease_end = order.lease_end.min(now + LEASE);
            }
            if order.scheduled.is_none() || order.attempt > 0 {
                order.scheduled = None;
                // At some time from now on, and at the latest after the longest possible wait.
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
                    connection.execute_text(text).await?;
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

    /// As after a failover to a replica that lags. The workers keep the tokens of lost attempts.
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
        let order = NewOrder::new(id, domain::TenantId::default(), content, now);
        let guard = if taken { GUARD } else { Duration::ZERO };
        let creation = CreateRequest { orders: [order].into(), idempotency };
        let plan = InsertPlan::held(guard).into();
        let inserted = self.store.insert_planned([creation].into(), plan).await.unwrap().outcomes;
        let expected = match key.and_then(|key| self.keys.get(&key)) {
            None => InsertOutcome::Inserted,
            Some((before, same)) if *same == hash => InsertOutcome::Replayed(*before),
            Some(_) => InsertOutcome::KeyConflict,
        };
        assert_eq!(inserted, std::slice::from_ref(&expected));
        if expected != InsertOutcome::Inserted {
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
            process_after: at,
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
                Ask::Undeliver { back } => Command::Undeliver { lease: token(back) },
                Ask::Cancel => Command::Cancel { reason: None, requester: None },
                Ask::Redrive { in_ms } => {
                    let not_before = in_ms.map(|ms| now + Duration::from_millis(ms));
                    Command::Redrive { reason: None, not_before, requester: None }
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
        // The store has read its clock meanwhile.
        let later = self.store.now();
        for ((index, command), applied) in commands.iter().zip(applied) {
            let paused = self.paused;
            let order = &mut self.orders[*index];
            let expected = order.expect(command, (now, later), paused);
            let got = match applied {
                CommandOutcome::Changed { event, .. } => Expected::Becomes(event.status),
                CommandOutcome::Unchanged { .. } => Expected::Same,
                CommandOutcome::Refused(_) => Expected::Refused,
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
        let expired = self.store.expired_claims(100, ClaimLimits::default()).await.unwrap();
        let later = self.store.now();
        for id in &expired.unstarted {
            let order = self.orders.iter().find(|order| order.id == *id).unwrap();
            assert!(order.status == Status::Pending && order.guarded <= later, "its guard is not over");
        }
        self.store.release_unstarted(expired.unstarted).await.unwrap();
        let mut tenants = DueTenants::default();
        let claimed = self.store.claim_fairly(limit, GUARD, &mut tenants).await.unwrap();
        assert_eq!(claimed.is_none(), self.paused, "nothing is dispatched during a pause");
        let claimed = claimed.unwrap_or_default().claimed;
        let later = self.store.now();
        let jobs: Vec<_> =
            claimed.iter().flat_map(|claimed| claimed.front.iter().chain(&claimed.back)).collect();
        assert!(jobs.len() <= limit as usize);
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
        let expired = self.store.expired_claims(100, ClaimLimits::default()).await.unwrap().leases;
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
            let CommandOutcome::Changed { event, .. } = applied else { panic!("{applied:?}") };
            order.fail(None, (now, later));
            order.updated = order.updated.max(later);
            order.current = None;
            assert_eq!(event.status, order.status);
        }
    }

    /// Checks that the database contains what the model knows, and nothing else.
    async fn check(&self) {
        let report = self.store.inspect(Duration::ZERO).await.unwrap();
        assert_eq!(report.issues, []);
        assert_eq!(report.accepted(), self.orders.len() as u64);
        let ids: Vec<OrderId> = self.orders.iter().map(|order| order.id).collect();
        let mut stored: HashMap<OrderId, domain::Order> = self
            .store
            .orders(&Principal::anonymous(), &ids)
            .await
            .unwrap()
            .into_iter()
            .map(|order| (order.id, order))
            .collect();
        let cursors: Vec<_> = ids.iter().map(|id| (*id, 0)).collect();
        let events = self.store.events_after(&Principal::anonymous(), &cursors).await.unwrap();
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

fn requester() -> domain::Requester {
    domain::Requester { name: "model".into(), request_id: None }
}
