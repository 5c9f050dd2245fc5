use std::sync::Arc;

use broker::{Bus, GatewayId, GatewayInfo, Queue};
use futures_util::future::join_all;
use gateway_store::{Error as StoreError, Store};
use telemetry::panics::restart_on_panic;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt_metrics;
use crate::claim_queue::ClaimQueue;
use crate::claims::Claims;
use crate::config::Config;
use crate::direct_enqueue::DirectEnqueue;
use crate::dispatch::Dispatch;
use crate::dispatch_wake::Wake;
use crate::event_log::EventLog;
use crate::feed::Feed;
use crate::health_monitor::HealthMonitor;
use crate::health_reasons::HealthReasons;
use crate::installation_keys::InstallationKeys;
use crate::lanes::Lanes;
use crate::maintenance;
use crate::orders::Orders;
use crate::presence::Presence;
use crate::progress::ProgressReports;
use crate::publisher::Publisher;
use crate::retention;
use crate::signals::Signals;
use crate::sweeper::Sweeper;
use crate::system::System;
use crate::workers::Workers;

/// The parts that the service is built from.
pub struct ServiceParts {
    /// The settings.
    pub config: Config,
    /// The database, migrated.
    pub store: Store,
    /// Receives jobs.
    pub queue: Arc<dyn Queue>,
    /// Carries events between gateways.
    pub bus: Arc<dyn Bus>,
}

/// The started use cases, and the background tasks that are still to be spawned.
pub struct Service {
    /// The use cases.
    pub orders: Orders,
    /// The live feed.
    pub feed: Feed,
    /// The event log.
    pub event_log: EventLog,
    /// The running gateways. Its task announces this one.
    pub presence: Presence,
    /// The state of the database, the queue and the workers.
    pub health: HealthMonitor,
    /// What happened in the last hours.
    pub signals: Signals,
    /// The workers of all gateways.
    pub workers: Workers,
    /// The workers that wait for jobs.
    pub claims: Claims,
    /// The progress of attempts.
    pub progress: ProgressReports,
    /// The health in words.
    pub health_reasons: HealthReasons,
    /// The parts of the system.
    pub system: System,
    /// The background tasks.
    pub background: Background,
    /// The tasks of batches and of the publisher. They end once every clone of [`Self::orders`] is dropped.
    pub writes: TaskTracker,
}

impl Service {
    /// Starts the batches and the publisher.
    ///
    /// # Errors
    /// If the database does not respond.
    pub async fn start(parts: ServiceParts) -> Result<Self, StoreError> {
        let ServiceParts { config, store, queue, bus } = parts;
        let config = Arc::new(config);
        let installation = store.installation().await?;
        let shards = store.shards();
        let wake = Wake::new(shards.len());
        let signals = Signals::new(&store);
        let presence = Presence::new(GatewayInfo {
            id: GatewayId(signals.gateway().cast_unsigned()),
            host: config.host.as_str().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: store.now(),
        });
        let feed = Feed::new(&store, presence.clone());
        let workers = Workers::new(&store, signals.gateway());
        let claims = Claims::new(config.lease_prefix);
        let sweeper = Sweeper::new(&store, signals.gateway());
        let health = HealthMonitor::new(&store, &queue, &feed, &signals, &claims, &sweeper);
        attempt_metrics::register();
        let writes = TaskTracker::new();
        let event_log = EventLog::new(&store, &installation);
        let progress = ProgressReports::start(&store, &feed, bus.clone(), &writes);
        let publisher = Publisher::start(bus.clone(), feed.clone(), event_log.clone(), &writes);
        let lanes = Lanes::new(queue.clone(), wake.clone());
        let direct_enqueue = DirectEnqueue {
            lanes: lanes.clone(),
            store: store.clone(),
            config: config.clone(),
            wake: wake.clone(),
            health: health.clone(),
            tasks: writes.clone(),
        };
        let orders = Orders::start(
            InstallationKeys::new(&installation).with_slots(store.has_shards()),
            &config,
            &claims,
            &direct_enqueue,
            &publisher,
            &signals,
            &writes,
        );
        let health_reasons = HealthReasons {
            store: store.clone(),
            queue: queue.clone(),
            orders: orders.clone(),
            health: health.clone(),
            signals: signals.clone(),
            workers: workers.clone(),
        };
        let system = System {
            store: store.clone(),
            queue: queue.clone(),
            presence: presence.clone(),
            settings: config.settings.clone(),
        };
        let claim_queue = ClaimQueue {
            claims: claims.clone(),
            lanes: lanes.clone(),
            orders: orders.clone(),
            store: store.clone(),
        };
        let dispatch = shards.into_iter().enumerate().map(|(shard, store)| Dispatch {
            store,
            shard,
            orders: orders.clone(),
            lanes: lanes.clone(),
            config: config.clone(),
            wake: wake.clone(),
            health: health.clone(),
            sweeper: sweeper.clone(),
        });
        let dispatch = dispatch.collect();
        let background = Background {
            dispatch,
            config: config.clone(),
            claim_queue,
            feed: feed.clone(),
            event_log: event_log.clone(),
            bus,
            health: health.clone(),
            signals: signals.clone(),
            workers: workers.clone(),
            sweeper,
            store,
        };
        Ok(Self {
            orders,
            feed,
            event_log,
            presence,
            health,
            signals,
            workers,
            claims,
            progress,
            health_reasons,
            system,
            background,
            writes,
        })
    }
}

/// The background tasks of a gateway. Each starts again after a panic.
pub struct Background {
    /// One for each shard of the database.
    dispatch: Vec<Dispatch>,
    config: Arc<Config>,
    claim_queue: ClaimQueue,
    feed: Feed,
    event_log: EventLog,
    bus: Arc<dyn Bus>,
    health: HealthMonitor,
    signals: Signals,
    workers: Workers,
    sweeper: Sweeper,
    store: Store,
}

impl Background {
    /// Spawns all tasks. Dispatch runs until `stop_dispatch`, the others until `stop`. Returns the task of dispatch.
    pub fn spawn(
        self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        stop_dispatch: CancellationToken,
    ) -> JoinHandle<()> {
        let Self {
            dispatch,
            config,
            claim_queue,
            feed,
            event_log,
            bus,
            health,
            signals,
            workers,
            sweeper,
            store,
        } = self;
        let log_retention = config.log_retention;
        let (retained, audit_retention) = (config.retention, config.audit_retention);
        let (stop_feed, stop_clock, stop_prune, stop_health) =
            (stop.clone(), stop.clone(), stop.clone(), stop.clone());
        let (clock, prune, audit, stop_audit) = (store.clone(), store.clone(), store.clone(), stop.clone());
        let (stop_signals, stop_workers) = (stop.clone(), stop.clone());
        tasks.spawn(restart_on_panic("signals", move || signals.clone().run(stop_signals.clone())));
        tasks.spawn(restart_on_panic("workers", move || workers.clone().run(stop_workers.clone())));
        tasks.spawn(restart_on_panic("health_monitor", move || health.clone().run(stop_health.clone())));
        tasks.spawn(restart_on_panic("feed", move || feed.clone().run(bus.clone(), stop_feed.clone())));
        let (trimmed, stop_numbering, stop_trim) = (event_log.clone(), stop.clone(), stop.clone());
        let (numbering, trimming) = (sweeper.clone(), sweeper.clone());
        tasks.spawn(restart_on_panic("event_log", move || {
            event_log.clone().number(numbering.clone(), stop_numbering.clone())
        }));
        tasks.spawn(restart_on_panic("event_log_retention", move || {
            trimmed.clone().trim(trimming.clone(), log_retention, stop_trim.clone())
        }));
        tasks.spawn(restart_on_panic("clock", move || {
            maintenance::follow_database(clock.clone(), stop_clock.clone())
        }));
        let (shards, stop_shards) = (store.clone(), stop.clone());
        tasks.spawn(restart_on_panic("shards", move || {
            maintenance::retry_shards(shards.clone(), stop_shards.clone())
        }));
        let (replica, stop_replica) = (store.clone(), stop.clone());
        tasks.spawn(restart_on_panic("replica", move || {
            maintenance::follow_replica(replica.clone(), stop_replica.clone())
        }));
        let (of_keys, of_audit) = (sweeper.clone(), sweeper.clone());
        tasks.spawn(restart_on_panic("prune", move || {
            maintenance::expire_keys(prune.clone(), of_keys.clone(), stop_prune.clone())
        }));
        tasks.spawn(restart_on_panic("audit_log", move || {
            maintenance::prune_audit_log(audit.clone(), of_audit.clone(), audit_retention, stop_audit.clone())
        }));
        for shard in store.shards() {
            let (sweeper, stop) = (sweeper.clone(), stop.clone());
            tasks.spawn(restart_on_panic("retention", move || {
                retention::run(shard.clone(), sweeper.clone(), retained, stop.clone())
            }));
        }
        let stop_sweeper = stop.clone();
        tasks.spawn(restart_on_panic("sweeper", move || sweeper.clone().run(stop_sweeper.clone())));
        let stop_claims = stop_dispatch.clone();
        tasks.spawn(restart_on_panic("claim_queue", move || claim_queue.clone().run(stop_claims.clone())));
        let dispatch = dispatch.into_iter().map(|dispatch| {
            let stop = stop_dispatch.clone();
            tasks.spawn(restart_on_panic("dispatch", move || dispatch.clone().run(stop.clone())))
        });
        let dispatch: Vec<_> = dispatch.collect();
        tasks.spawn(async move { drop(join_all(dispatch).await) })
    }
}
