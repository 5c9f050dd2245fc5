//! What is broken: two gateways and two processors on a MariaDB and a Redis of their own, or one
//! `orders dev` on the embedded parts. Every part keeps its address for as long as the test runs, so
//! it can be stopped and started again under those who use it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{Api, Process, command, run};
use crate::proxy::{Mode, Proxy};
use crate::servers::{MariaDb, Port, Redis, plain_url_on, url_on};

/// A hint that is lost is noticed soon.
const RULES: [&str; 2] = ["--visibility-timeout", "2s"];
/// Quick, so that many orders are in flight and done within a test.
const WORK: [&str; 6] =
    ["--simulate-min-delay", "20ms", "--simulate-max-delay", "300ms", "--attempt-timeout", "20s"];
const DRAIN: [&str; 2] = ["--shutdown-timeout", "3s"];

/// A part that can be ended and started again.
pub(crate) struct Part {
    name: String,
    folder: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    pub(crate) process: Process,
}

impl Part {
    fn start(folder: &Path, name: String, arguments: Vec<String>, variables: Vec<(String, String)>) -> Self {
        let process = process(folder, &name, &arguments, &variables);
        Self { name, folder: folder.to_owned(), arguments, variables, process }
    }

    /// Starts it after its end.
    pub(crate) async fn restart(&mut self) {
        self.process.wait().await;
        assert_eq!(self.process.count_logged("panicked"), 0, "{} panicked", self.name);
        self.process = process(&self.folder, &self.name, &self.arguments, &self.variables);
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Of a process that serves HTTP and gRPC.
fn arguments(command: &[&str], [http, grpc]: [String; 2], lease_ms: u32) -> Vec<String> {
    let own = ["--http-addr", &http, "--grpc-addr", &grpc, "--lease", &format!("{lease_ms}ms")];
    strings(&[command, &own[..], &RULES, &DRAIN].concat())
}

fn process(folder: &Path, name: &str, arguments: &[String], variables: &[(String, String)]) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let variables: Vec<_> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    Process::start(command(folder, &arguments, &variables), name)
}

/// The parts on servers, and what they run on.
pub(crate) struct System {
    pub(crate) gateways: Vec<Part>,
    pub(crate) processors: Vec<Part>,
    /// `http://host:port` of each gateway.
    pub(crate) http: Vec<String>,
    /// Where the tests read what is true.
    pub(crate) database_url: String,
    /// Of the gateways.
    ports: Vec<Port>,
    proxies: Vec<Proxy>,
    /// A replica, and what leads to it once it has taken over.
    standby: Option<(MariaDb, Proxy)>,
    /// None when embedded.
    pub(crate) servers: Option<(MariaDb, Redis)>,
    /// Outlives the processes.
    folder: TempDir,
}

/// How a system differs from the usual one.
pub(crate) struct Plan {
    /// How long a lease lasts, in milliseconds.
    pub(crate) lease_ms: u32,
    /// Redis comes back with what it held.
    pub(crate) persistent_redis: bool,
    /// MariaDB has a replica that can take over.
    pub(crate) standby: bool,
    /// Connections that can be spoilt.
    pub(crate) link: Option<Link>,
    /// How many processors there are, at most two.
    pub(crate) processors: usize,
    /// Each processor knows one gateway, so that both gateways have one.
    pub(crate) one_gateway_each: bool,
    /// Processors send their orders there, each to its own path.
    pub(crate) webhook: Option<String>,
    /// For the first gateway.
    pub(crate) gateway_variables: Vec<(String, String)>,
    /// For all processors.
    pub(crate) processor_variables: Vec<(String, String)>,
    /// For the database.
    pub(crate) database_variables: Vec<(String, String)>,
}

/// A pair of parts, the first one of each kind. A processor is connected to both gateways.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    GatewayToMariaDb,
    GatewayToRedis,
    ProcessorToRedis,
    ProcessorToGateway,
    ClientToGateway,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            lease_ms: 2_000,
            persistent_redis: false,
            standby: false,
            link: None,
            processors: 2,
            one_gateway_each: false,
            webhook: None,
            gateway_variables: Vec::new(),
            processor_variables: Vec::new(),
            database_variables: Vec::new(),
        }
    }
}

impl Plan {
    /// For faults that must not cost an attempt: no lease runs out because the machine is busy.
    pub(crate) fn patient() -> Self {
        Self { lease_ms: 8_000, ..Self::default() }
    }
}

impl System {
    /// Two gateways and two processors.
    pub(crate) async fn on_servers(plan: &Plan) -> Self {
        let mariadb = async {
            if plan.standby {
                MariaDb::with_standby().await
            } else {
                (MariaDb::launch(&[], &plan.database_variables).await, None)
            }
        };
        let ((mariadb, standby), redis) = tokio::join!(mariadb, Redis::start(plan.persistent_redis));
        let standby = match standby {
            Some(standby) => Some((standby, Proxy::to(mariadb.port.number).await)),
            None => None,
        };
        let mut system = Self {
            gateways: Vec::new(),
            processors: Vec::new(),
            http: Vec::new(),
            database_url: mariadb.url(),
            ports: Vec::new(),
            proxies: Vec::new(),
            standby,
            servers: Some((mariadb, redis)),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let grpc = [system.claim(), system.claim()];
        for (i, port) in grpc.into_iter().enumerate() {
            system.add_gateway(plan, i, port).await;
        }
        for i in 0..plan.processors {
            system.add_processor(plan, i, grpc).await;
        }
        system
    }

    async fn add_gateway(&mut self, plan: &Plan, i: usize, grpc: u16) {
        let (http, mariadb, redis) = (self.claim(), self.mariadb().port.number, self.redis().port.number);
        let spoilt = plan.link.filter(|_| i == 0);
        let mariadb = self.port(mariadb, spoilt == Some(Link::GatewayToMariaDb)).await;
        let redis = self.port(redis, spoilt == Some(Link::GatewayToRedis)).await;
        let seen = self.port(http, spoilt == Some(Link::ClientToGateway)).await;
        let arguments = arguments(&["gateway"], [local(http), local(grpc)], plan.lease_ms);
        let database = match &self.standby {
            Some((_, proxy)) => plain_url_on(proxy.port),
            None => url_on(mariadb),
        };
        let mut variables = vec![
            ("DATABASE_URL".to_owned(), database),
            ("REDIS_URL".to_owned(), format!("redis://{}", local(redis))),
        ];
        if i == 0 {
            variables.extend_from_slice(&plan.gateway_variables);
        }
        self.gateways.push(Part::start(self.folder.path(), format!("gateway {i}"), arguments, variables));
        self.http.push(format!("http://{}", local(seen)));
    }

    async fn add_processor(&mut self, plan: &Plan, i: usize, grpc: [u16; 2]) {
        let redis = self.redis().port.number;
        let spoilt = plan.link.filter(|_| i == 0);
        let redis = self.port(redis, spoilt == Some(Link::ProcessorToRedis)).await;
        let mut gateways = Vec::new();
        for (number, port) in grpc.into_iter().enumerate() {
            if plan.one_gateway_each && number != i {
                continue;
            }
            let port = self.port(port, spoilt == Some(Link::ProcessorToGateway)).await;
            gateways.push(format!("http://{}", local(port)));
        }
        let mut arguments = strings(&["processor", "--metrics-addr", "127.0.0.1:0"]);
        arguments.extend(strings(&[&WORK[..], &DRAIN].concat()));
        if let Some(base) = &plan.webhook {
            arguments.extend(strings(&["--handler", "webhook", "--webhook-url", &format!("{base}/{i}")]));
        }
        let mut variables = vec![
            ("ORDERS_GATEWAY_URL".to_owned(), gateways.join(",")),
            ("REDIS_URL".to_owned(), format!("redis://{}", local(redis))),
        ];
        variables.extend_from_slice(&plan.processor_variables);
        self.processors.push(Part::start(self.folder.path(), format!("processor {i}"), arguments, variables));
    }

    fn claim(&mut self) -> u16 {
        self.ports.push(Port::claim());
        self.ports[self.ports.len() - 1].number
    }

    /// The port itself, or a proxy's in front of it.
    async fn port(&mut self, port: u16, spoilt: bool) -> u16 {
        if !spoilt {
            return port;
        }
        let proxy = Proxy::to(port).await;
        let port = proxy.port;
        self.proxies.push(proxy);
        port
    }

    /// What becomes of the connections of the plan's link.
    pub(crate) fn spoil(&self, mode: Mode) {
        assert!(!self.proxies.is_empty(), "there is no such link");
        self.proxies.iter().for_each(|proxy| proxy.set(mode));
    }

    /// The replica takes over. The old primary stays up and keeps its connections.
    pub(crate) async fn switch_over(&mut self) {
        let (standby, proxy) = self.standby.as_ref().expect("there is a replica");
        let primary = &self.servers.as_ref().expect("it runs on servers").0;
        standby.take_over(primary).await;
        proxy.lead_to(standby.port.number);
        self.database_url = standby.url();
    }

    /// The replica gets transactions, and does not carry them out.
    pub(crate) async fn let_standby_lag(&self) {
        self.standby.as_ref().expect("there is a replica").0.lag().await;
    }

    /// The primary is killed, and the replica takes over with what it has carried out.
    pub(crate) async fn fail_over(&mut self) {
        self.mariadb().process.kill();
        let (standby, proxy) = self.standby.as_ref().expect("there is a replica");
        standby.promote().await;
        proxy.lead_to(standby.port.number);
        self.database_url = standby.url();
    }

    pub(crate) fn mariadb(&mut self) -> &mut MariaDb {
        &mut self.servers.as_mut().expect("it runs on servers").0
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        &mut self.servers.as_mut().expect("it runs on servers").1
    }

    /// Everything in one process.
    pub(crate) async fn embedded(variables: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = vec![Port::claim(), Port::claim()];
        let addresses = [local(ports[0].number), local(ports[1].number)];
        let http = format!("http://{}", addresses[0]);
        let mut arguments = arguments(&["dev"], addresses, Plan::default().lease_ms);
        arguments.extend(strings(&WORK));
        let dev = Part::start(folder.path(), "orders dev".to_owned(), arguments, variables.to_vec());
        Self {
            gateways: vec![dev],
            processors: Vec::new(),
            http: vec![http],
            ports,
            database_url: format!("sqlite://{}?mode=rw", folder.path().join("data/orders.db").display()),
            proxies: Vec::new(),
            standby: None,
            servers: None,
            folder,
        }
    }

    /// Every gateway and every processor.
    pub(crate) fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        self.gateways.iter_mut().chain(&mut self.processors)
    }

    /// Ends gateways and processors in an orderly way, which none may refuse.
    pub(crate) async fn stop(&mut self) {
        for part in self.parts() {
            part.process.terminate();
        }
        for part in self.parts() {
            part.process.wait_for_success().await;
        }
    }

    /// What `orders doctor` has to say, and whether it is content. The system must have been stopped.
    pub(crate) async fn doctor(&self) -> (bool, String) {
        let url = self.servers.as_ref().map(|_| self.database_url.clone());
        let variables: Vec<_> = url.iter().map(|url| ("DATABASE_URL", url.as_str())).collect();
        let output = run(self.folder.path(), &["doctor"], &variables).await;
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// Waits until a gateway serves, and returns where.
pub(crate) async fn ready(gateway: &mut Process) -> Api {
    let http = gateway
        .wait_for_log("that it is ready", |line| {
            let address = line.contains("the gateway is ready").then(|| line.split("http=").nth(1))??;
            Some(address.split_whitespace().next()?.to_owned())
        })
        .await;
    Api::new(format!("http://{http}"))
}
