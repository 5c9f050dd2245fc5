//! The costs of an order with one number of gateways.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::show_each;

/// Which gateways get the requests and have processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Spread {
    /// The first gateway. The others only belong to the system.
    First,
    /// Each gateway.
    All,
}

/// The results of one number of gateways.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Load {
    pub(super) gateways: usize,
    pub(super) spread: Spread,
    pub(super) orders: u64,
    /// Until the last one was completed.
    pub(super) seconds: f64,
    /// CPU time of each process per order of the system.
    pub(super) cpu_us: BTreeMap<String, f64>,
    /// CPU time of each process per second without load.
    pub(super) idle_us_per_s: BTreeMap<String, f64>,
    /// Bytes that Redis has sent, per order.
    pub(super) redis_sent_bytes: f64,
    /// Bytes that MariaDB has received, sent and written to its redo log, per order.
    pub(super) database_received_bytes: f64,
    pub(super) database_sent_bytes: f64,
    pub(super) redo_bytes: f64,
    /// Bytes of the tables and their indexes per stored order.
    pub(super) stored_bytes: f64,
    pub(super) memory_bytes: BTreeMap<String, u64>,
}

impl Load {
    /// Returns the CPU time of the database per order.
    pub(super) fn database_us(&self) -> f64 {
        self.cpu_us.get("mariadb").copied().unwrap_or_default()
    }

    /// Returns the CPU time of a gateway with orders per order that it gets: that of all gateways per order of the system, if all
    /// get orders.
    pub(super) fn gateway_us(&self) -> f64 {
        match self.spread {
            Spread::First => self.cpu_us.get("gateway").copied().unwrap_or_default(),
            Spread::All => self.of_gateways(&self.cpu_us).sum(),
        }
    }

    /// Returns the CPU time of a gateway that gets no orders per order of the others; `None` if there is none.
    pub(super) fn idle_gateway_us(&self) -> Option<f64> {
        let others = self.of_gateways(&self.cpu_us).sum::<f64>() - self.gateway_us();
        (self.spread == Spread::First && self.gateways > 1).then(|| others / (self.gateways - 1) as f64)
    }

    pub(super) fn of_gateways<'a>(
        &self,
        values: &'a BTreeMap<String, f64>,
    ) -> impl Iterator<Item = f64> + use<'a> {
        values.iter().filter(|(name, _)| name.starts_with("gateway")).map(|(_, value)| *value)
    }

    /// Returns how much each further gateway raises a cost, in percent of the cost with one gateway.
    pub(super) fn growth_percent(&self, single: f64, cost: f64) -> f64 {
        100.0 * (cost / single - 1.0) / (self.gateways - 1).max(1) as f64
    }

    pub(super) fn summary(&self) -> String {
        let Self { gateways, spread, redis_sent_bytes, .. } = self;
        let where_to = if *spread == Spread::All { "each" } else { "the first" };
        format!(
            "{gateways} gateways, orders to {where_to}: {} µs of CPU per order; Redis sent {redis_sent_bytes:.0} bytes",
            show_each(&self.cpu_us, |us| format!("{us:.1}"))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_one_further_gateway() {
        let load = Load {
            gateways: 5,
            spread: Spread::All,
            orders: 1,
            seconds: 1.0,
            cpu_us: BTreeMap::new(),
            idle_us_per_s: BTreeMap::new(),
            redis_sent_bytes: 0.0,
            database_received_bytes: 0.0,
            database_sent_bytes: 0.0,
            redo_bytes: 0.0,
            stored_bytes: 0.0,
            memory_bytes: BTreeMap::new(),
        };
        assert!((load.growth_percent(50.0, 60.0) - 5.0).abs() < 1e-9);
        assert!((load.growth_percent(50.0, 45.0) + 2.5).abs() < 1e-9);
    }
}
