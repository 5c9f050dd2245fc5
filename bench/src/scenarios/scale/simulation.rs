//! A large installation, computed from the costs of one order.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::units::Units;
use crate::markdown::table_head;
use crate::report::round;

/// The events of an order that is created, started and completed.
const EVENTS: f64 = 3.0;
/// Connections of a gateway to a primary besides its two pools.
const FURTHER_CONNECTIONS: f64 = 3.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// The simulated installation.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Installation {
    /// Simulation: orders per second
    #[arg(long, default_value_t = 100_000.0)]
    simulated_rate: f64,
    /// Simulation: gateways
    #[arg(long, default_value_t = 50.0)]
    simulated_gateways: f64,
    /// Simulation: processors
    #[arg(long, default_value_t = 200.0)]
    simulated_processors: f64,
    /// Simulation: websockets, each with a subscription
    #[arg(long, default_value_t = 1_000_000.0)]
    simulated_subscribers: f64,
    /// Simulation: subscribers of each order while it changes
    #[arg(long, default_value_t = 1.0)]
    subscribers_per_order: f64,
    /// Simulation: days for which orders are kept in the database
    #[arg(long, default_value_t = 7.0)]
    kept_days: f64,
    /// Simulation: size of each of the two pools of a gateway (--database-pool-size)
    #[arg(long, default_value_t = 2.0)]
    pool_size: f64,
    /// Simulation: cores of a primary of the database
    #[arg(long, default_value_t = 16.0)]
    primary_cores: f64,
    /// Simulation: cores of a gateway
    #[arg(long, default_value_t = 4.0)]
    gateway_cores: f64,
    /// Simulation: cores of a processor, without its handlers
    #[arg(long, default_value_t = 1.0)]
    processor_cores: f64,
    /// Simulation: CPU of the database for an order through Vitess, in multiples of that without
    #[arg(long, default_value_t = 4.5)]
    vitess_factor: f64,
    /// Simulation: maximum share of a core that is planned
    #[arg(long, default_value_t = 0.7)]
    planned_share: f64,
}

/// What a component needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component {
    name: &'static str,
    /// The number of machines or processes that the rate needs.
    needed: f64,
    /// The rate at which the given number is used up, or one if the number follows from the rate.
    sufficient_up_to: f64,
    /// How `needed` follows from the costs.
    arithmetic: String,
    memory: String,
    disk: String,
    network: String,
}

/// Returns the components, and the one that limits the given numbers first.
pub(super) fn simulate(units: &Units, installation: &Installation) -> (Vec<Component>, String) {
    let components = vec![
        database(units, installation),
        redis(units, installation),
        gateways(units, installation),
        processors(units, installation),
    ];
    let first =
        components.iter().min_by(|one, other| one.sufficient_up_to.total_cmp(&other.sufficient_up_to));
    let bottleneck = first.map_or_else(String::new, |first| {
        format!("{}, at {} orders/s", first.name, thousands(first.sufficient_up_to))
    });
    (components, bottleneck)
}

fn database(units: &Units, it: &Installation) -> Component {
    let (rate, gateways) = (it.simulated_rate, it.simulated_gateways);
    let planned = it.primary_cores * it.planned_share;
    let idle_cores = gateways * units.idle_gateway_database_us_per_s / 1e6;
    let one = ((planned - idle_cores) * 1e6 / units.database_us).max(0.0);
    let many_us = units.database_us * it.vitess_factor;
    let needed = if rate <= one { 1.0 } else { (rate * many_us / 1e6 / planned).ceil() };
    let connections = gateways * (2.0 * it.pool_size + FURTHER_CONNECTIONS);
    let stored = rate * SECONDS_PER_DAY * units.stored_bytes;
    Component {
        name: "one primary of the database",
        needed,
        sufficient_up_to: round(one),
        arithmetic: format!(
            "{} orders/s × {:.0} µs × {} (Vitess) = {:.1} cores, of which a primary with {} cores gives {:.1}; one primary without \
             Vitess: {:.1} cores ÷ {:.0} µs = {} orders/s; {connections:.0} connections to each",
            thousands(rate),
            units.database_us,
            it.vitess_factor,
            rate * many_us / 1e6,
            it.primary_cores,
            planned,
            planned - idle_cores,
            units.database_us,
            thousands(one),
        ),
        memory: "as much as the rows of the orders that are changed and listed".to_owned(),
        disk: format!(
            "{} orders/s × {:.0} bytes = {}/day, {} for {} days, {} on each primary; redo log {}/s on each",
            thousands(rate),
            units.stored_bytes,
            bytes(stored),
            bytes(stored * it.kept_days),
            it.kept_days,
            bytes(stored * it.kept_days / needed),
            bytes(rate * units.redo_bytes / needed),
        ),
        network: format!(
            "in {}/s, out {}/s on each",
            bytes(rate * units.database_received_bytes / needed),
            bytes(rate * units.database_sent_bytes / needed)
        ),
    }
}

fn redis(units: &Units, it: &Installation) -> Component {
    let (rate, gateways) = (it.simulated_rate, it.simulated_gateways);
    let each_us = units.redis_us + gateways * units.redis_us_each_gateway;
    let one = it.planned_share * 1e6 / each_us;
    let needed = (rate / one).ceil();
    let sent = rate * gateways * units.redis_bytes_each_gateway;
    Component {
        name: "one node of Redis",
        needed,
        sufficient_up_to: round(one),
        arithmetic: format!(
            "{:.2} µs + {gateways:.0} gateways × {:.2} µs = {each_us:.1} µs for an order on one thread; {} orders/s × {each_us:.1} µs ÷ {} = \
             {needed:.0} nodes of a cluster with as many channels and lists",
            units.redis_us,
            units.redis_us_each_gateway,
            thousands(rate),
            it.planned_share,
        ),
        memory: "below 100 MiB: jobs up to --max-queue-depth, and what waits for slow subscribers".to_owned(),
        disk: "none".to_owned(),
        network: format!(
            "out {} orders/s × {gateways:.0} gateways × {:.0} bytes = {}/s, {}/s on each node",
            thousands(rate),
            units.redis_bytes_each_gateway,
            bytes(sent),
            bytes(sent / needed)
        ),
    }
}

fn gateways(units: &Units, it: &Installation) -> Component {
    let (rate, gateways) = (it.simulated_rate, it.simulated_gateways);
    let delivered_us = EVENTS * it.subscribers_per_order * units.socket.event_us;
    // Per order of the system, in one gateway.
    let each_us =
        (units.gateway_us + delivered_us) / gateways + units.other_gateway_us * (gateways - 1.0) / gateways;
    let planned = it.gateway_cores * it.planned_share;
    let one = (planned * 1e6 - units.idle_gateway_us_per_s).max(0.0) / each_us;
    let cores = (rate * each_us + units.idle_gateway_us_per_s) / 1e6;
    // A further gateway takes a part of the orders, and receives the events of all.
    let others_cores = rate * units.other_gateway_us / 1e6;
    let shared_cores = rate * (units.gateway_us + delivered_us - units.other_gateway_us) / 1e6;
    let needed =
        if planned > others_cores { (shared_cores / (planned - others_cores)).ceil() } else { f64::INFINITY };
    let sockets = it.simulated_subscribers / gateways;
    let received = rate * units.redis_bytes_each_gateway;
    let sent = rate / gateways * EVENTS * it.subscribers_per_order * units.socket.event_bytes;
    Component {
        name: "the gateways",
        needed: needed.max(1.0),
        sufficient_up_to: round(one),
        arithmetic: format!(
            "each: {} orders/s × ({:.1} µs + {EVENTS:.0} events × {} subscribers × {:.1} µs) ÷ {gateways:.0} + {} orders/s of others × {:.2} µs = \
             {cores:.2} cores of {}",
            thousands(rate),
            units.gateway_us,
            it.subscribers_per_order,
            units.socket.event_us,
            thousands(rate * (gateways - 1.0) / gateways),
            units.other_gateway_us,
            it.gateway_cores,
        ),
        memory: format!(
            "{} + {} sockets × {} = {} each",
            bytes(units.gateway_memory_bytes),
            thousands(sockets),
            bytes(units.socket.bytes),
            bytes(units.gateway_memory_bytes + sockets * units.socket.bytes)
        ),
        disk: "none".to_owned(),
        network: format!("from Redis {}/s, to subscribers {}/s, each", bytes(received), bytes(sent)),
    }
}

fn processors(units: &Units, it: &Installation) -> Component {
    let (rate, processors) = (it.simulated_rate, it.simulated_processors);
    let planned = it.processor_cores * it.planned_share;
    Component {
        name: "the processors",
        needed: (rate * units.processor_us / 1e6 / planned).ceil(),
        sufficient_up_to: round(processors * planned * 1e6 / units.processor_us),
        arithmetic: format!(
            "{} orders/s × {:.1} µs = {:.1} cores, without handlers; {} orders/s for each of {processors:.0}",
            thousands(rate),
            units.processor_us,
            rate * units.processor_us / 1e6,
            thousands(rate / processors),
        ),
        memory: format!("{} each, without handlers", bytes(units.processor_memory_bytes)),
        disk: "none".to_owned(),
        network: "below 1 KB for an order".to_owned(),
    }
}

/// Renders the components.
pub(super) fn table(it: &Installation, components: &[Component]) -> String {
    let mut text = format!(
        "{} orders/s, {} gateways, {} processors, {} subscribers; at most {:.0} % of a core planned:\n\n",
        thousands(it.simulated_rate),
        it.simulated_gateways,
        it.simulated_processors,
        thousands(it.simulated_subscribers),
        it.planned_share * 100.0
    );
    text.push_str(&table_head([
        "component",
        "sufficient up to (orders/s)",
        "needed",
        "CPU",
        "memory",
        "disk",
        "network",
    ]));
    for component in components {
        let Component { name, needed, sufficient_up_to, arithmetic, memory, disk, network } = component;
        let sufficient = thousands(*sufficient_up_to);
        let _ = writeln!(
            text,
            "| {name} | {sufficient} | {needed:.0} | {arithmetic} | {memory} | {disk} | {network} |"
        );
    }
    text
}

/// Shows a whole number with separators: `12,500`.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Shows a number of bytes with a decimal unit.
fn bytes(number: f64) -> String {
    let units = ["bytes", "KB", "MB", "GB", "TB", "PB"];
    let (mut number, mut unit) = (number, 0);
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1_000.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && number < 9.95);
    format!("{number:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::super::units::SocketCosts;
    use super::*;

    fn units() -> Units {
        Units {
            database_us: 100.0,
            database_received_bytes: 300.0,
            database_sent_bytes: 30.0,
            redo_bytes: 900.0,
            stored_bytes: 500.0,
            redis_us: 5.0,
            redis_us_each_gateway: 0.5,
            redis_bytes_each_gateway: 100.0,
            gateway_us: 40.0,
            other_gateway_us: 2.0,
            processor_us: 10.0,
            idle_gateway_us_per_s: 0.0,
            idle_gateway_database_us_per_s: 0.0,
            gateway_memory_bytes: 40e6,
            processor_memory_bytes: 20e6,
            socket: SocketCosts { bytes: 9_000.0, event_us: 10.0, event_bytes: 300.0 },
        }
    }

    fn installation() -> Installation {
        Installation {
            simulated_rate: 100_000.0,
            simulated_gateways: 50.0,
            simulated_processors: 200.0,
            simulated_subscribers: 1_000_000.0,
            subscribers_per_order: 1.0,
            kept_days: 7.0,
            pool_size: 2.0,
            primary_cores: 16.0,
            gateway_cores: 4.0,
            processor_cores: 1.0,
            vitess_factor: 1.5,
            planned_share: 0.5,
        }
    }

    #[test]
    fn numbers_follow_from_the_costs() {
        let (components, bottleneck) = simulate(&units(), &installation());
        let [database, redis, gateways, processors] = &components[..] else { panic!("{components:?}") };
        // 8 planned cores; 100,000 × 150 µs are 15.
        assert_eq!((database.needed, database.sufficient_up_to), (2.0, 80_000.0));
        // 5 + 50 × 0.5 µs; half of a second has room for 16,666 orders.
        assert_eq!((redis.needed, redis.sufficient_up_to.floor()), (6.0, 16_666.0));
        // 100,000 × 68 µs are 6.8 cores; each gateway gives 2 cores without the 0.2 for the orders of others.
        assert_eq!(gateways.needed, 4.0);
        assert_eq!((processors.needed, processors.sufficient_up_to), (2.0, 10_000_000.0));
        assert_eq!(bottleneck, "one node of Redis, at 16,667 orders/s");
        assert!(gateways.memory.ends_with("= 220 MB each"), "{}", gateways.memory);
        assert!(database.disk.contains("4.3 TB/day"), "{}", database.disk);
    }

    #[test]
    fn events_of_others_alone_can_be_too_many() {
        let (components, _) = simulate(&Units { other_gateway_us: 30.0, ..units() }, &installation());
        assert_eq!(components[2].needed, f64::INFINITY);
    }

    #[test]
    fn numbers_are_shown_with_separators_and_units() {
        assert_eq!(
            ["0", "999", "12,500", "1,000,000"],
            [0.0, 999.0, 12_500.0, 1e6].map(thousands).each_ref().map(String::as_str)
        );
        assert_eq!(
            ["12 bytes", "8.6 KB", "68 MB", "1.0 GB"],
            [12.0, 8_600.0, 68e6, 999.9e6].map(bytes).each_ref().map(String::as_str)
        );
    }
}
