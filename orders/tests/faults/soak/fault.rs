//! The faults of a soak test, and their random choice.
//!
//! Only the first gateway and the first processor are killed and restarted. The second ones run from the beginning to the end, so
//! that a leak of theirs is visible; they are frozen, and lose the servers that they use.

use std::fmt;
use std::time::Duration;

use super::random::Random;
use crate::harness::{Api, Process};
use crate::proxy::Mode;
use crate::run::Run;
use crate::system::{Link, System};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Gateway(usize),
    Processor(usize),
    MariaDb,
    Redis,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// SIGKILL and a restart.
    Kill(Part),
    /// SIGSTOP and SIGCONT.
    Freeze(Part),
    /// SIGTERM and a restart. A gateway is removed from the load balancer meanwhile.
    Restart(Part),
    /// All keys of Redis are deleted.
    FlushRedis,
    /// A connection of the first gateway or processor.
    Connection(Link, Mode),
}

const FAULTS: [Fault; 29] = {
    use Fault::{Connection, FlushRedis, Freeze, Kill, Restart};
    use Link::{ClientToGateway, GatewayToMariaDb, GatewayToRedis, ProcessorToGateway, ProcessorToRedis};
    use Mode::{Cut, Slow, Stall};
    use Part::{Gateway, MariaDb, Processor, Redis};
    [
        Kill(Gateway(0)),
        Kill(Processor(0)),
        Kill(MariaDb),
        Kill(Redis),
        Freeze(Gateway(0)),
        Freeze(Gateway(1)),
        Freeze(Processor(0)),
        Freeze(Processor(1)),
        Freeze(MariaDb),
        Freeze(Redis),
        Restart(Gateway(0)),
        Restart(Processor(0)),
        Restart(Redis),
        FlushRedis,
        Connection(GatewayToMariaDb, Cut),
        Connection(GatewayToMariaDb, Stall),
        Connection(GatewayToMariaDb, Slow),
        Connection(GatewayToRedis, Cut),
        Connection(GatewayToRedis, Stall),
        Connection(GatewayToRedis, Slow),
        Connection(ProcessorToRedis, Cut),
        Connection(ProcessorToRedis, Stall),
        Connection(ProcessorToRedis, Slow),
        Connection(ProcessorToGateway, Cut),
        Connection(ProcessorToGateway, Stall),
        Connection(ProcessorToGateway, Slow),
        Connection(ClientToGateway, Cut),
        Connection(ClientToGateway, Stall),
        Connection(ClientToGateway, Slow),
    ]
};

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(part) => write!(f, "kill {part:?}"),
            Self::Freeze(part) => write!(f, "freeze {part:?}"),
            Self::Restart(part) => write!(f, "restart {part:?}"),
            Self::FlushRedis => f.write_str("flush Redis"),
            Self::Connection(link, mode) => write!(f, "{mode:?} {link:?}"),
        }
    }
}

/// Deals all faults in a random order, then again in another one: each of them happens as often as the others.
#[derive(Default)]
pub(crate) struct Deck(Vec<Fault>);

impl Deck {
    pub(crate) fn deal(&mut self, random: &mut Random) -> Fault {
        if self.0.is_empty() {
            self.0.extend(FAULTS);
        }
        let index = random.below(self.0.len() as u64);
        self.0.swap_remove(usize::try_from(index).expect("it is below a usize"))
    }
}

/// Causes a fault for this time, and ends it.
pub(crate) async fn cause(run: &mut Run, fault: Fault, time: Duration) {
    match fault {
        Fault::Kill(part) => {
            process(&mut run.system, part).kill();
            run.lasts(time).await;
            start_again(run, part).await;
        }
        Fault::Freeze(part) => {
            process(&mut run.system, part).signal("STOP");
            run.lasts(time).await;
            process(&mut run.system, part).signal("CONT");
        }
        Fault::Restart(part) => {
            if let Part::Gateway(i) = part {
                run.clients.balance(i, false);
            }
            let stopped = process(&mut run.system, part);
            stopped.terminate();
            stopped.wait_for_success().await;
            start_again(run, part).await;
            if let Part::Gateway(i) = part {
                Api::new(run.system.http[i].clone()).wait_until_ready().await;
                run.clients.balance(i, true);
            }
        }
        Fault::FlushRedis => {
            assert_eq!(run.system.redis().command("FLUSHALL").await.as_deref(), Some("+OK"));
        }
        Fault::Connection(link, mode) => {
            run.system.set_one_link(link, mode);
            run.lasts(time).await;
            run.system.set_one_link(link, Mode::Pass);
        }
    }
}

fn process(system: &mut System, part: Part) -> &mut Process {
    match part {
        Part::Gateway(i) => &mut system.gateways[i].process,
        Part::Processor(i) => &mut system.processors[i].process,
        Part::MariaDb => &mut system.mariadb().process,
        Part::Redis => &mut system.redis().process,
    }
}

async fn start_again(run: &mut Run, part: Part) {
    match part {
        Part::Gateway(i) => run.system.gateways[i].restart().await,
        Part::Processor(i) => run.system.processors[i].restart().await,
        Part::MariaDb => run.system.mariadb().restart().await,
        Part::Redis => run.system.redis().restart().await,
    }
}
