//! The program on Vitess, and connections to vtgate.

use serde_json::{Value, json};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::harness::{Api, Process, Servers, command, eventually, id, redis_url, run, start_gateway_with};

pub(crate) const SHARDS: [&str; 2] = ["-80", "80-"];

/// The processor completes each order after some milliseconds.
pub(crate) const QUICK: &[&str] = &["--simulate-min-delay", "5ms", "--simulate-max-delay", "20ms"];

/// One gateway and one processor on the keyspace.
pub(crate) struct System {
    servers: Servers,
    folder: TempDir,
    pub(crate) api: Api,
    gateway: Process,
    grpc: String,
    processor: Process,
    _alone: MutexGuard<'static, ()>,
}

pub(crate) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start Vitess with scripts/vitess.sh"))
}

impl System {
    pub(crate) async fn start() -> Self {
        Self::start_with(QUICK, &[]).await
    }

    /// Starts it with flags of the processor and variables of the gateway.
    pub(crate) async fn start_with(work: &[&str], variables: &[(&str, &str)]) -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let prefix = format!("vt_{}", std::process::id());
        let servers =
            Servers { database_url: setting("ORDERS_TEST_VITESS_URL"), redis_url: redis_url(), prefix };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (gateway, api, grpc) = start_gateway_with(&folder, &servers, 1, variables).await;
        let processor = start_processor(&folder, &grpc, work);
        Self { servers, folder, api, gateway, grpc, processor, _alone: alone }
    }

    /// Kills the processor, and starts another one with these flags.
    pub(crate) async fn replace_processor(&mut self, work: &[&str]) {
        self.kill_processor().await;
        self.processor = start_processor(&self.folder, &self.grpc, work);
    }

    pub(crate) async fn kill_processor(&mut self) {
        self.processor.kill();
        self.processor.wait().await;
    }

    /// Stops the gateway and the processor, and starts both with variables of the gateway.
    pub(crate) async fn restart(&mut self, variables: &[(&str, &str)]) {
        self.gateway.terminate();
        self.gateway.wait_for_success().await;
        (self.gateway, self.api, self.grpc) =
            start_gateway_with(&self.folder, &self.servers, 2, variables).await;
        self.replace_processor(QUICK).await;
    }

    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let variables = [
            ("DATABASE_URL", self.servers.database_url.as_str()),
            ("REDIS_URL", &self.servers.redis_url),
            ("ORDERS_REDIS_PREFIX", &self.servers.prefix),
        ];
        let output = run(self.folder.path(), arguments, &variables).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut request = client.request(method, format!("{}{path}", self.api.base)).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await.expect("a response");
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// Waits until health shows that all shards accept writes, or that one does not. Returns what it says about them.
    pub(crate) async fn wait_for_shards(&self, ok: bool) -> String {
        let what = if ok { "every shard to accept writes" } else { "health to name the shard" };
        eventually(what, || async {
            let (_, health) = self.api.get("/readyz?verbose").await;
            let checks = health["checks"].as_array().cloned().unwrap_or_default();
            let shards = checks.iter().find(|check| check["name"] == "shards").cloned().unwrap_or_default();
            ((shards["status"] == "ok") == ok)
                .then(|| shards["detail"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    pub(crate) async fn create(&self, order: &Value) -> String {
        let (status, order) = self.request("POST", "/orders", None, order).await;
        assert_eq!(status, 201, "{order}");
        id(&order)
    }
}

fn start_processor(folder: &TempDir, grpc: &str, work: &[&str]) -> Process {
    let url = format!("http://{grpc}");
    let arguments = [&["processor", "--metrics-addr", "127.0.0.1:0"], work].concat();
    Process::start(command(folder.path(), &arguments, &[("ORDERS_GATEWAY_URL", &url)]), "processor")
}

pub(crate) fn order() -> Value {
    json!({"item": "Laptop", "quantity": 2, "price": 1299.99, "customer": "Ann"})
}

/// Connects to vtgate, for all shards or for one.
pub(crate) async fn vtgate(target: &str) -> MySqlConnection {
    let url = setting("ORDERS_TEST_VITESS_URL");
    let options: MySqlConnectOptions = url.parse().expect("a URL");
    let keyspace = options.get_database().expect("a keyspace").to_owned();
    let options =
        options.pipes_as_concat(false).no_engine_substitution(false).timezone(None).set_names(false);
    let options = options.database(&format!("{keyspace}{target}"));
    MySqlConnection::connect_with(&options).await.expect("vtgate responds")
}

pub(crate) async fn count(connection: &mut MySqlConnection, sql: &str) -> i64 {
    let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.expect(sql);
    row.get(0)
}
