//! The containers of the trial as processes: the same arguments and variables, with the secrets of `secrets.sh` as files.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use super::manifests::trial;
use super::{list, name, pods, repository, strings};
use crate::harness::{Api, Process, Servers, command, eventually, free_ports, within};

/// Runs the statements as the user of `ORDERS_TEST_MYSQL_URL`.
async fn run_sql(servers: &Servers, statements: &str) {
    let mut connection = MySqlConnection::connect(&servers.database_url).await.expect("the server runs");
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.expect("the rights");
}

/// Returns the keys of each secret that `secrets.sh` prints.
async fn secrets(gateway_url: &str, servers: &Servers) -> BTreeMap<String, Value> {
    let script = Command::new(repository("ops/kubernetes/secrets.sh"))
        .env("DATABASE_URL", gateway_url)
        .env("MIGRATE_DATABASE_URL", &servers.database_url)
        .env("REDIS_URL", &servers.redis_url)
        .env("WEBHOOK_URL", "https://shop.example/orders")
        .output();
    let output = within("secrets.sh to end", script).await.expect("bash is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let secrets = super::objects(std::str::from_utf8(&output.stdout).expect("YAML is UTF-8"));
    assert!(secrets.iter().all(|secret| secret["kind"] == "Secret"));
    secrets.into_iter().map(|secret| (name(&secret).to_owned(), secret["stringData"].clone())).collect()
}

/// What a container gets on this machine in place of addresses and mounted folders.
struct Machine {
    folder: TempDir,
    secrets: BTreeMap<String, Value>,
    /// The port of this machine for each port of the manifests.
    ports: BTreeMap<&'static str, u16>,
    prefix: String,
}

impl Machine {
    /// Writes the secrets of a pod into a folder for each mount, and returns its process.
    fn start(&self, owner: &str, pod: &Value) -> Process {
        let container = &pod["containers"][0];
        let root = self.folder.path().join(owner);
        for mount in list(&container["volumeMounts"]) {
            let volumes = list(&pod["volumes"]).iter();
            let mut volumes = volumes.filter(|volume| volume["name"] == mount["name"]);
            let volume = volumes.next().expect("a volume");
            let folder = root.join(mount["mountPath"].as_str().expect("a path").trim_start_matches('/'));
            std::fs::create_dir_all(&folder).expect("a folder");
            let Some(secret) = volume["secret"]["secretName"].as_str() else { continue };
            for item in list(&volume["secret"]["items"]) {
                let value = self.secrets[secret][item["key"].as_str().expect("a key")].as_str();
                let value =
                    value.unwrap_or_else(|| panic!("secrets.sh prints no {} of {secret}", item["key"]));
                let file = folder.join(item["path"].as_str().expect("a path"));
                std::fs::write(&file, value).expect("a file");
                let mode = volume["secret"]["defaultMode"].as_u64().and_then(|mode| mode.try_into().ok());
                let mode = Permissions::from_mode(mode.expect("a mode"));
                std::fs::set_permissions(&file, mode).expect("the file of the test");
            }
        }
        let arguments: Vec<_> = strings(&container["args"]).iter().map(|text| self.here(text)).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut variables = vec![("ORDERS_REDIS_PREFIX".to_owned(), self.prefix.clone())];
        for variable in list(&container["env"]) {
            let path = variable["value"].as_str().expect("a path");
            let path = root.join(path.trim_start_matches('/')).display().to_string();
            variables.push((variable["name"].as_str().expect("a name").to_owned(), path));
        }
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Process::start(command(&root, &arguments, &variables), owner)
    }

    /// Returns an argument with the addresses of this machine.
    fn here(&self, argument: &str) -> String {
        let mut argument =
            argument.replace("0.0.0.0:", "127.0.0.1:").replace("orders-gateway-grpc:", "127.0.0.1:");
        for (port, here) in &self.ports {
            if let Some(start) = argument.strip_suffix(&format!(":{port}")) {
                argument = format!("{start}:{here}");
            }
        }
        argument
    }

    fn api(&self, port: &str) -> Api {
        Api::new(format!("http://127.0.0.1:{}", self.ports[port]))
    }
}

/// A gateway waits for the migration, which another user carries out, and has no right to change tables.
#[tokio::test]
async fn the_containers_complete_an_order() {
    let servers = Servers::new().await;
    let user = format!("app_{}", &servers.prefix[servers.prefix.len() - 12..]);
    run_sql(&servers, &format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'x'")).await;
    let database = &servers.prefix;
    run_sql(&servers, &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO '{user}'@'%'")).await;
    let mut url = Url::parse(&servers.database_url).expect("a URL");
    url.set_username(&user).and_then(|()| url.set_password(Some("x"))).expect("a URL with a host");
    let ports = free_ports(4);
    let machine = Machine {
        folder: tempfile::tempdir().expect("a temporary folder"),
        secrets: secrets(url.as_str(), &servers).await,
        ports: ["3000", "50051", "9091", "9090"].into_iter().zip(ports).collect(),
        prefix: servers.prefix.clone(),
    };
    let trial = trial();
    let pod =
        |owner: &str| pods(&trial).into_iter().find(|(name, _)| *name == owner).expect("the pod").1.clone();

    let mut gateway = machine.start("orders-gateway", &pod("orders-gateway"));
    let probes = machine.api("9091");
    eventually("the gateway to be alive", || async {
        (probes.try_get("/livez").await? == 200).then_some(())
    })
    .await;
    let waits = |line: &str| line.contains("no complete schema").then_some(());
    gateway.wait_for_log("that it waits for the migration", waits).await;
    assert_eq!(probes.try_get("/readyz").await, Some(503));

    let mut migration = machine.start("orders-migrate", &pod("orders-migrate"));
    migration.wait_for_success().await;
    probes.wait_until_ready().await;
    let mut processor = machine.start("orders-processor", &pod("orders-processor"));
    machine.api("9090").wait_until_ready().await;

    assert_eq!(machine.api("3000").get("/orders").await.0, 401, "requests need a key");
    let key = machine.secrets["orders-first-keys"]["bootstrap-key"].as_str().expect("the first key");
    let api = Api::with_key(machine.api("3000").base, None, key);
    let id = api.create_id().await;
    api.wait_for_status(&id, "completed").await;

    for (process, owner) in [(&mut gateway, "orders-gateway"), (&mut processor, "orders-processor")] {
        let grace = pod(owner)["terminationGracePeriodSeconds"].as_u64().expect("a grace period");
        let (start, grace) = (Instant::now(), Duration::from_secs(grace));
        process.terminate();
        process.wait_for_success_within(grace).await;
        assert!(start.elapsed() < grace);
        assert!(!process.stderr().contains(key), "the log has no key");
    }
    assert!(!gateway.stderr().contains("accessible by other users"), "{}", gateway.stderr());
}
