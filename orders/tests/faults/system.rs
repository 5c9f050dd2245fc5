//! The system under test: two gateways and two processors on a separate MariaDB and Redis, or one `orders dev`. Every part
//! keeps its address during the test, so the others reach it again after a restart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{Api, Process, command, run};
use crate::ledger::CREATE_INTERVAL;
use crate::proxy::{Mode, Proxy};
use crate::servers::{MariaDb, Port, Redis, plain_url_on, url_on};

/// A lost job is queued again soon.
const RULES: [&str; 2] = ["--visibility-timeout", "2s"];
/// Short work, so that many orders are in flight and completed within a test.
const WORK: [&str; 6] =
    ["--simulate-min-delay", "20ms", "--simulate-max-delay", "300ms", "--attempt-timeout", "20s"];
const SHUTDOWN: [&str; 2] = ["--shutdown-timeout", "3s"];

/// A gateway or processor, which can be stopped and started again.
pub(crate) struct Part {
    name: String,
    folder: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    pub(crate) process: Process,
}

impl Part {
    fn start(folder: &Path, name: String, arguments: Vec<String>, variables: Vec<(String, String)>) -> Self {
        let process = start_process(folder, &name, &arguments, &variables);
        Self { name, folder: folder.to_owned(), arguments, variables, process }
    }

    /// Starts the process again after its end.
    pub(crate) async fn restart(&mut self) {
        self.process.wait().await;
        assert_eq!(self.process.count_logged("panicked"), 0, "{} panicked", self.name);
        self.process = start_process(&self.folder, &self.name, &self.arguments, &self.variables);
    }
}

fn to_strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn local_address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Returns the arguments of a process that serves HTTP and gRPC.
fn server_arguments(command: &[&str], [http, grpc]: [String; 2], lease_ms: u32) -> Vec<String> {
    let own = ["--http-addr", &http, "--grpc-addr", &grpc, "--lease", &format!("{lease_ms}ms")];
    to_strings(&[command, &own[..], &RULES, &SHUTDOWN].concat())
}

/// Returns a file with the key of the secrets of webhook endpoints, the same for all gateways.
fn secret_key_file(folder: &Path) -> String {
    let file = folder.join("secret.key");
    // 32 bytes in base64.
    std::fs::write(&file, format!("{}=\n", "A".repeat(43))).expect("a file in the folder");
    file.display().to_string()
}

fn start_process(folder: &Path, name: &str, arguments: &[String], variables: &[(String, String)]) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let variables: Vec<_> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    Process::start(command(folder, &arguments, &variables), name)
}

/// The parts, and the servers that they use.
pub(crate) struct System {
    pub(crate) gateways: Vec<Part>,
    pub(crate) processors: Vec<Part>,
    /// `http://host:port` of each gateway.
    pub(crate) http: Vec<String>,
    /// The database that the tests read.
    pub(crate) database_url: String,
    /// The ports of the gateways.
    ports: Vec<Port>,
    proxies: Vec<(Link, Proxy)>,
    /// A replica, and the proxy of the primary.
    standby: Option<(MariaDb, Proxy)>,
    /// The URL of the database for gateways, if it names several servers.
    cluster_url: Option<String>,
    /// `None` if embedded.
    pub(crate) servers: Option<(MariaDb, Redis)>,
    /// Declared last: it is removed after the processes have ended.
    folder: TempDir,
}

/// The differences of a system from the default.
pub(crate) struct Plan {
    /// The duration of a lease in milliseconds.
    pub(crate) lease_ms: u32,
    /// Redis keeps its data over a restart.
    pub(crate) persistent_redis: bool,
    /// The URL of a Redis of several servers, in place of the one of the system.
    pub(crate) redis_url: Option<String>,
    /// Variables for Redis of all gateways and processors.
    pub(crate) redis_variables: Vec<(String, String)>,
    /// MariaDB has a replica for a failover.
    pub(crate) standby: bool,
    /// The connections whose proxy can cause faults.
    pub(crate) link: Option<Link>,
    /// All connections of the first gateway and the first processor have such a proxy.
    pub(crate) all_links: bool,
    /// The minimum interval between the creates of a client.
    pub(crate) create_interval: Duration,
    /// The number of processors, at most two.
    pub(crate) processors: usize,
    /// Each processor uses one gateway, so that both gateways have a processor.
    pub(crate) one_gateway_each: bool,
    /// The webhook of the processors; each uses a separate path.
    pub(crate) webhook: Option<String>,
    /// Variables of the first gateway.
    pub(crate) gateway_variables: Vec<(String, String)>,
    /// Variables of all processors.
    pub(crate) processor_variables: Vec<(String, String)>,
    /// Variables of the database.
    pub(crate) database_variables: Vec<(String, String)>,
}

/// A pair of parts, the first one of each kind. A processor is connected to both gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            redis_url: None,
            redis_variables: Vec::new(),
            standby: false,
            link: None,
            all_links: false,
            create_interval: CREATE_INTERVAL,
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
    /// Longer leases, for faults that must not cost an attempt: none expires on a busy machine.
    pub(crate) fn patient() -> Self {
        Self { lease_ms: 8_000, ..Self::default() }
    }

    /// Returns the link if the part with this index has a proxy for it.
    fn link_of(&self, part: usize, link: Link) -> Option<Link> {
        (part == 0 && (self.all_links || self.link == Some(link))).then_some(link)
    }

    fn redis_url_on(&self, port: u16) -> String {
        self.redis_url.clone().unwrap_or_else(|| format!("redis://{}", local_address(port)))
    }
}

impl System {
    /// Starts two gateways and two processors.
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
            Some(standby) => Some((standby, Proxy::start(mariadb.port.number).await)),
            None => None,
        };
        Self::assemble(plan, mariadb, redis, standby, None).await
    }

    /// Starts two gateways and two processors on a cluster with this node. Gateways use `url`.
    pub(crate) async fn on_cluster(plan: &Plan, node: MariaDb, url: String) -> Self {
        let redis = Redis::start(plan.persistent_redis).await;
        Self::assemble(plan, node, redis, None, Some(url)).await
    }

    async fn assemble(
        plan: &Plan,
        mariadb: MariaDb,
        redis: Redis,
        standby: Option<(MariaDb, Proxy)>,
        cluster_url: Option<String>,
    ) -> Self {
        let mut system = Self {
            gateways: Vec::new(),
            processors: Vec::new(),
            http: Vec::new(),
            database_url: mariadb.url(),
            ports: Vec::new(),
            proxies: Vec::new(),
            standby,
            cluster_url,
            servers: Some((mariadb, redis)),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let grpc = [system.claim_port(), system.claim_port()];
        for (i, port) in grpc.into_iter().enumerate() {
            system.add_gateway(plan, i, port).await;
        }
        for i in 0..plan.processors {
            system.add_processor(plan, i, grpc).await;
        }
        system
    }

    async fn add_gateway(&mut self, plan: &Plan, i: usize, grpc: u16) {
        let (http, mariadb, redis) =
            (self.claim_port(), self.mariadb().port.number, self.redis().port.number);
        let mariadb = self.port_or_proxy(mariadb, plan.link_of(i, Link::GatewayToMariaDb)).await;
        let redis = self.port_or_proxy(redis, plan.link_of(i, Link::GatewayToRedis)).await;
        let seen = self.port_or_proxy(http, plan.link_of(i, Link::ClientToGateway)).await;
        let arguments =
            server_arguments(&["gateway"], [local_address(http), local_address(grpc)], plan.lease_ms);
        let database = match (&self.cluster_url, &self.standby) {
            (Some(url), _) => url.clone(),
            (None, Some((_, proxy))) => plain_url_on(proxy.port),
            (None, None) => url_on(mariadb),
        };
        let mut variables = vec![
            ("DATABASE_URL".to_owned(), database),
            ("REDIS_URL".to_owned(), plan.redis_url_on(redis)),
            ("ORDERS_SECRET_KEY_FILE".to_owned(), secret_key_file(self.folder.path())),
            // Another gateway soon delivers in place of one that was killed.
            ("ORDERS_WEBHOOK_REQUEST_TIMEOUT".to_owned(), "1s".to_owned()),
        ];
        variables.extend_from_slice(&plan.redis_variables);
        if i == 0 {
            variables.extend_from_slice(&plan.gateway_variables);
        }
        self.gateways.push(Part::start(self.folder.path(), format!("gateway {i}"), arguments, variables));
        self.http.push(format!("http://{}", local_address(seen)));
    }

    async fn add_processor(&mut self, plan: &Plan, i: usize, grpc: [u16; 2]) {
        let redis = self.redis().port.number;
        let redis = self.port_or_proxy(redis, plan.link_of(i, Link::ProcessorToRedis)).await;
        let mut gateways = Vec::new();
        for (number, port) in grpc.into_iter().enumerate() {
            if plan.one_gateway_each && number != i {
                continue;
            }
            let port = self.port_or_proxy(port, plan.link_of(i, Link::ProcessorToGateway)).await;
            gateways.push(format!("http://{}", local_address(port)));
        }
        let mut arguments = to_strings(&["processor", "--metrics-addr", "127.0.0.1:0"]);
        arguments.extend(to_strings(&[&WORK[..], &SHUTDOWN].concat()));
        if let Some(base) = &plan.webhook {
            arguments.extend(to_strings(&["--handler", "webhook", "--webhook-url", &format!("{base}/{i}")]));
        }
        let mut variables = vec![("ORDERS_GATEWAY_URL".to_owned(), gateways.join(","))];
        // The first processor takes jobs from Redis, and gateways assign jobs to the second one.
        if i == 0 {
            variables.push(("ORDERS_JOB_SOURCE".to_owned(), "queue".to_owned()));
            variables.push(("REDIS_URL".to_owned(), plan.redis_url_on(redis)));
            variables.extend_from_slice(&plan.redis_variables);
        }
        variables.extend_from_slice(&plan.processor_variables);
        self.processors.push(Part::start(self.folder.path(), format!("processor {i}"), arguments, variables));
    }

    fn claim_port(&mut self) -> u16 {
        self.ports.push(Port::claim());
        self.ports[self.ports.len() - 1].number
    }

    /// Returns the port, or that of a new proxy for it.
    async fn port_or_proxy(&mut self, port: u16, link: Option<Link>) -> u16 {
        let Some(link) = link else { return port };
        let proxy = Proxy::start(port).await;
        let port = proxy.port;
        self.proxies.push((link, proxy));
        port
    }

    /// Sets the state of the connections of the plan's link.
    pub(crate) fn set_link(&self, mode: Mode) {
        assert!(!self.proxies.is_empty(), "the plan has a link");
        self.proxies.iter().for_each(|(_, proxy)| proxy.set(mode));
    }

    /// The same for one link of a plan with all links.
    pub(crate) fn set_one_link(&self, link: Link, mode: Mode) {
        let proxies = || self.proxies.iter().filter(|(of, _)| *of == link);
        assert!(proxies().next().is_some(), "the plan has the link {link:?}");
        proxies().for_each(|(_, proxy)| proxy.set(mode));
    }

    /// Makes the replica the primary. The old primary keeps running and keeps its connections.
    pub(crate) async fn switch_over(&mut self) {
        let (standby, proxy) = self.standby.as_ref().expect("there is a replica");
        let primary = &self.servers.as_ref().expect("it runs on servers").0;
        standby.take_over(primary).await;
        proxy.redirect_to(standby.port.number);
        self.database_url = standby.url();
    }

    /// Lets the replica receive transactions without applying them.
    pub(crate) async fn let_standby_lag(&self) {
        self.standby.as_ref().expect("there is a replica").0.lag().await;
    }

    /// Kills the primary, and makes the replica the primary with the transactions that it has applied.
    pub(crate) async fn fail_over(&mut self) {
        self.mariadb().process.kill();
        let (standby, proxy) = self.standby.as_ref().expect("there is a replica");
        standby.promote().await;
        proxy.redirect_to(standby.port.number);
        self.database_url = standby.url();
    }

    pub(crate) fn mariadb(&mut self) -> &mut MariaDb {
        &mut self.servers.as_mut().expect("it runs on servers").0
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        &mut self.servers.as_mut().expect("it runs on servers").1
    }

    /// Starts `orders dev`.
    pub(crate) async fn embedded(variables: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = vec![Port::claim(), Port::claim()];
        let addresses = [local_address(ports[0].number), local_address(ports[1].number)];
        let http = format!("http://{}", addresses[0]);
        let mut arguments = server_arguments(&["dev"], addresses, Plan::default().lease_ms);
        arguments.extend(to_strings(&WORK));
        let dev = Part::start(folder.path(), "orders dev".to_owned(), arguments, variables.to_vec());
        Self {
            gateways: vec![dev],
            processors: Vec::new(),
            http: vec![http],
            ports,
            database_url: format!("sqlite://{}?mode=rw", folder.path().join("data/orders.db").display()),
            proxies: Vec::new(),
            standby: None,
            cluster_url: None,
            servers: None,
            folder,
        }
    }

    /// Returns all gateways and processors.
    pub(crate) fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        self.gateways.iter_mut().chain(&mut self.processors)
    }

    /// Shuts gateways and processors down, which must succeed.
    pub(crate) async fn stop(&mut self) {
        for part in self.parts() {
            part.process.terminate();
        }
        for part in self.parts() {
            part.process.wait_for_success().await;
        }
    }

    /// Returns whether `orders doctor` has no findings, and its output. The system must be stopped.
    pub(crate) async fn doctor(&self) -> (bool, String) {
        let url = self.servers.as_ref().map(|_| self.database_url.clone());
        let variables: Vec<_> = url.iter().map(|url| ("DATABASE_URL", url.as_str())).collect();
        let output = run(self.folder.path(), &["doctor"], &variables).await;
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// Waits until a gateway is ready, and returns a client.
pub(crate) async fn wait_until_ready(gateway: &mut Process) -> Api {
    let http = gateway
        .wait_for_log("its readiness", |line| {
            let address = line.contains("the gateway is ready").then(|| line.split("http=").nth(1))??;
            Some(address.split_whitespace().next()?.to_owned())
        })
        .await;
    Api::new(format!("http://{http}"))
}
