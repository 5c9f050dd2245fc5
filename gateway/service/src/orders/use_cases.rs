use std::sync::Arc;

use domain::transition::Command;
use domain::{Order, OrderId, Principal, Slot, Timestamp};
use gateway_store::{CommandOutcome, CreateRequest, InsertOutcome, Store};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::create_batch::CreateBatch;
use super::{answers, command_batch, counts, open_orders};
use crate::claims::Claims;
use crate::config::Config;
use crate::direct_enqueue::DirectEnqueue;
use crate::error::Error;
use crate::group_commit::{GroupCommit, GroupCommitLimits, SubmitError};
use crate::health_monitor::HealthMonitor;
use crate::installation_keys::InstallationKeys;
use crate::publisher::Publisher;
use crate::shard_commits::ShardCommits;
use crate::signals::Signals;

/// Maximum number of concurrent exports of one gateway.
pub const MAX_EXPORTS: usize = 2;

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Orders {
    pub(super) store: Store,
    pub(super) keys: InstallationKeys,
    pub(super) config: Arc<Config>,
    pub(super) direct_enqueue: DirectEnqueue,
    pub(super) counts: Arc<counts::Cache>,
    pub(super) open_orders: Arc<open_orders::OpenOrders>,
    pub(super) exports: Arc<Semaphore>,
    pub(super) health: HealthMonitor,
    pub(super) publisher: Publisher,
    pub(super) signals: Signals,
    pub(super) creations: ShardCommits<CreateRequest, Result<InsertOutcome, Error>>,
    pub(super) transitions: ShardCommits<(OrderId, Command), Result<CommandOutcome, Error>>,
}

impl Orders {
    pub(crate) fn start(
        keys: InstallationKeys,
        config: &Arc<Config>,
        claims: &Claims,
        direct_enqueue: &DirectEnqueue,
        publisher: &Publisher,
        signals: &Signals,
        tasks: &TaskTracker,
    ) -> Self {
        let store = &direct_enqueue.store;
        let limits = GroupCommitLimits {
            size: config.batch_size,
            backlog: config.batch_backlog,
            writers: config.writers,
            deadline: config.request_timeout,
        };
        let ready = |store: Store| {
            // What a shard does not accept at once is refused, or taken by another shard.
            let waits = !store.has_shards();
            move || {
                let store = store.clone();
                async move {
                    if waits {
                        store.wait_until_healthy().await;
                    }
                }
            }
        };
        let creations = ShardCommits::start(
            store,
            |creation: &CreateRequest| creation.id().slot(),
            |store| {
                let batch = CreateBatch {
                    store: store.clone(),
                    rules: config.rules,
                    claims: claims.clone(),
                    direct_enqueue: direct_enqueue.clone(),
                    publisher: publisher.clone(),
                    signals: signals.clone(),
                    tasks: tasks.clone(),
                };
                let rows = |creation: &CreateRequest| creation.orders.len();
                let ready = ready(store.clone());
                GroupCommit::start(limits, tasks, rows, ready, move |creations, attempt| {
                    batch.clone().flush(creations, attempt)
                })
            },
        );
        let transitions = ShardCommits::start(
            store,
            |(id, _): &(OrderId, Command)| id.slot(),
            |store| {
                let (store, direct_enqueue, publisher, signals) =
                    (store.clone(), direct_enqueue.clone(), publisher.clone(), signals.clone());
                let rules = config.rules;
                GroupCommit::start(
                    limits,
                    tasks,
                    |_| 1,
                    ready(store.clone()),
                    // Commands recognise their effect, so carrying them out again is safe.
                    move |commands, _| {
                        command_batch::flush_commands(
                            store.clone(),
                            rules,
                            direct_enqueue.clone(),
                            publisher.clone(),
                            signals.clone(),
                            commands,
                        )
                    },
                )
            },
        );
        Self {
            store: store.clone(),
            keys,
            config: config.clone(),
            direct_enqueue: direct_enqueue.clone(),
            counts: Arc::default(),
            open_orders: Arc::default(),
            exports: Arc::new(Semaphore::new(MAX_EXPORTS)),
            health: direct_enqueue.health.clone(),
            publisher: publisher.clone(),
            signals: signals.clone(),
            creations,
            transitions,
        }
    }

    /// Returns the time of the database.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// Returns the settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the keys that bind lease tokens to orders.
    pub fn keys(&self) -> &InstallationKeys {
        &self.keys
    }

    /// Returns the error of a request whose transaction did not begin in time.
    pub(super) fn timeout_error(&self) -> Error {
        let stalled = self.health.is_stalled(self.config.request_timeout * 3 / 4);
        if self.store.is_unhealthy() || stalled { Error::database_unavailable() } else { Error::overloaded() }
    }

    /// Divides keys by the shards of the database.
    pub(crate) fn by_shard<K>(&self, keys: Vec<K>, slot: impl Fn(&K) -> Slot) -> Vec<Vec<K>> {
        let parts = self.store.parts(keys, slot).into_iter();
        parts.map(|(_, keys)| keys.into_iter().map(|(_, key)| key).collect()).collect()
    }

    /// Carries out a command that returns the order.
    pub(super) async fn change(
        &self,
        principal: &Principal,
        id: OrderId,
        command: Command,
    ) -> Result<Order, Error> {
        self.apply(principal, vec![(id, command)], answers::expect_order)
            .await?
            .pop()
            .ok_or(Error::Internal)?
    }

    /// Carries out the commands of a caller in one group.
    ///
    /// An order of another tenant is not found. It is looked up before the transaction, because the tenant of an order
    /// does not change.
    pub(super) async fn apply<T>(
        &self,
        principal: &Principal,
        commands: Vec<(OrderId, Command)>,
        answer: impl Fn(OrderId, CommandOutcome) -> Result<T, Error>,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        if principal.all_tenants {
            return self.submit(commands, answer).await;
        }
        let ids: Vec<OrderId> = commands.iter().map(|(id, _)| *id).collect();
        let (lost, readable): (Vec<OrderId>, Vec<OrderId>) =
            ids.iter().partition(|id| self.is_in_unhealthy_shard(**id));
        let visible = self.store.visible(principal, &readable).await?;
        let mut commands = commands;
        commands.retain(|(id, _)| visible.contains(id));
        let mut answers =
            if commands.is_empty() { Vec::new() } else { self.submit(commands, answer).await? }.into_iter();
        let answer = |id: OrderId| {
            if visible.contains(&id) {
                answers.next().unwrap_or(Err(Error::Internal))
            } else if lost.contains(&id) {
                Err(Error::database_unavailable())
            } else {
                Err(Error::NotFound(id))
            }
        };
        Ok(ids.into_iter().map(answer).collect())
    }

    /// Returns whether an order is in a shard of the database that does not respond, while others may.
    pub fn is_in_unhealthy_shard(&self, id: OrderId) -> bool {
        self.store.is_in_unhealthy_shard(id)
    }

    /// Carries out commands in one group.
    pub(super) async fn submit<T>(
        &self,
        commands: Vec<(OrderId, Command)>,
        answer: impl Fn(OrderId, CommandOutcome) -> Result<T, Error>,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        let ids: Vec<OrderId> = commands.iter().map(|(id, _)| *id).collect();
        let failed = |failure| match failure {
            SubmitError::Overloaded => self.timeout_error(),
            // The caller may repeat the command: commands recognise their effect.
            SubmitError::NotStarted => self.timeout_error(),
            SubmitError::OutcomeUnknown | SubmitError::ShardUnavailable => Error::database_unavailable(),
            SubmitError::Panicked => Error::Internal,
        };
        let applied = self.transitions.submit(commands).await.map_err(failed)?;
        let answers = ids.into_iter().zip(applied);
        Ok(answers.map(|(id, applied)| answer(id, applied.map_err(failed)??)).collect())
    }
}
