//! Many times the capacity for a minute.
//!
//! First the peak: as many requests as the product takes from clients that wait for their answers.
//! Then a multiple of that from clients that do not wait. Then the first load again. Accepted orders
//! count while their phase lasts; at the end each 201 must be a row in the database.

use std::io;
use std::time::Duration;

use clap::Args;

use crate::load::{self, Tally, Target};
use crate::report::{Phase, Report};
use crate::servers::{Lab, Servers, System, Tuning, used};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Connections of the phases that measure the peak
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of load before anything is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    warm_up_s: u64,
    /// Seconds of each phase that measures the peak
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    normal_s: u64,
    /// Seconds of overload
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    overload_s: u64,
    /// How many times the peak is offered
    #[arg(long, default_value_t = 3.0)]
    factor: f64,
    /// Requests a second to offer, instead of a multiple of the peak
    #[arg(long)]
    rate: Option<f64>,
    /// Most connections of the overload; further requests wait in the client, which counts
    #[arg(long, default_value_t = 8_000)]
    crowd: usize,
    #[command(flatten)]
    tuning: Tuning,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::start(lab, System::Orders, &settings.tuning)?;
    let target = Target::create(servers.http);
    let normal = |seconds| load::closed(&target, settings.connections, Duration::from_secs(seconds));

    let mut accepted = normal(settings.warm_up_s)?.accepted_latency.count();
    let mut phases = Vec::new();
    let mut measure = |name: &str, load: &dyn Fn() -> io::Result<Tally>| -> io::Result<f64> {
        let (_, completed) = servers.count_orders()?;
        let before = servers.cpu()?;
        let tally = load()?;
        let cpu = used(&before, &servers.cpu()?);
        let completed = servers.count_orders()?.1 - completed;
        accepted += tally.accepted_latency.count();
        let phase = Phase::new(name, &tally, completed, cpu);
        let rate = phase.accepted_per_s;
        phases.push(phase);
        Ok(rate)
    };
    let peak = measure("peak", &|| normal(settings.normal_s))?;
    let rate = settings.rate.unwrap_or(peak * settings.factor);
    let overload = Duration::from_secs(settings.overload_s);
    measure("overload", &|| load::open(&target, rate, overload, settings.crowd))?;
    measure("afterwards", &|| normal(settings.normal_s))?;

    let (stored, _) = servers.count_orders()?;
    Ok(Report { scenario: "overload", machine: crate::report::Machine::here(), phases, accepted, stored })
}
