//! API keys, tenants and the audit log on the command line, on both databases.

use serde_json::{Value, json};

use crate::harness::{Api, Process, Servers, base_url, command, id, run};

/// A folder with a migrated database.
struct Database {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Database {
    async fn sqlite() -> Self {
        Self::migrated(Vec::new()).await
    }

    async fn server() -> Self {
        let servers = Servers::new().await;
        Self::migrated(vec![("DATABASE_URL", servers.database_url)]).await
    }

    async fn migrated(variables: Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Self { folder, variables };
        database.succeed(&["migrate"]).await;
        database
    }

    async fn run(&self, arguments: &[&str]) -> std::process::Output {
        let variables: Vec<_> = self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let variables = [&variables[..], &[("USER", "ann")]].concat();
        run(self.folder.path(), arguments, &variables).await
    }

    /// Runs a command that must succeed, and returns its stdout.
    async fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }

    /// Runs a command that must fail, and returns its stderr.
    async fn fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && stderr.contains("error: ") && stderr.contains("hint: "),
            "{stderr}"
        );
        stderr
    }

    async fn keys(&self) -> Vec<Value> {
        let listed = self.succeed(&["keys", "list", "--json"]).await;
        listed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

async fn keys_are_created_listed_rotated_and_revoked(database: Database) {
    let key = database.succeed(&["keys", "create", "--name", "ops", "--role", "admin"]).await;
    let key = key.trim_end();
    assert!(key.starts_with("ord_") && key.len() == 62 && key.lines().count() == 1, "only the key: {key}");
    let id = &key[4..12];

    let keys = database.keys().await;
    assert_eq!(keys.len(), 1);
    assert_eq!((&keys[0]["id"], &keys[0]["state"]), (&id.into(), &"active".into()));
    assert!(keys[0]["tenant"].is_null(), "an admin acts for all tenants");
    assert_eq!(keys[0]["createdBy"], "cli:ann");
    let table = database.succeed(&["keys", "list"]).await;
    assert!(table.starts_with("ID") && table.contains(id) && !table.contains(key), "{table}");

    let rotated = database.succeed(&["keys", "rotate", id, "--grace", "1h", "--json"]).await;
    let rotated: Value = serde_json::from_str(&rotated).expect("a line of JSON");
    assert_eq!(rotated["name"], "ops");
    assert_ne!(rotated["key"], key);
    let new = rotated["id"].as_str().expect("an id");

    database.succeed(&["keys", "revoke", id]).await;
    database.succeed(&["keys", "revoke", id]).await;
    let states: Vec<_> =
        database.keys().await.iter().map(|key| (key["id"].clone(), key["state"].clone())).collect();
    assert!(
        states.contains(&(id.into(), "revoked".into())) && states.contains(&(new.into(), "active".into()))
    );
    let error = database.fail(&["keys", "rotate", id]).await;
    assert!(error.contains("no active key") && error.contains("orders keys list"), "{error}");

    let audit = database.succeed(&["audit", "--json"]).await;
    let actions: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let actions: Vec<_> = actions.iter().map(|entry| (&entry["action"], &entry["actor"])).collect();
    let by_ann = Value::from("cli:ann");
    let expected = ["key.revoke", "key.rotate", "key.create"].map(Value::from);
    assert_eq!(actions, expected.iter().map(|action| (action, &by_ann)).collect::<Vec<_>>());
    assert!(!audit.contains(key), "the audit log has no secret");
}

#[tokio::test]
async fn keys_in_sqlite() {
    keys_are_created_listed_rotated_and_revoked(Database::sqlite().await).await;
}

#[tokio::test]
async fn keys_on_a_server() {
    keys_are_created_listed_rotated_and_revoked(Database::server().await).await;
}

async fn tenants_own_keys(database: Database) {
    let create = ["keys", "create", "--name", "shop", "--role", "writer", "--tenant", "shop"];
    let error = database.fail(&create).await;
    assert!(error.contains("no tenant shop") && error.contains("orders tenants create"), "{error}");
    database.succeed(&["tenants", "create", "shop", "--name", "The shop"]).await;
    let error = database.fail(&["tenants", "create", "shop"]).await;
    assert!(error.contains("the tenant shop exists"), "{error}");
    let tenants = database.succeed(&["tenants", "list"]).await;
    assert!(tenants.contains("default") && tenants.contains("The shop"), "{tenants}");
    database.succeed(&create).await;
    database.succeed(&["keys", "create", "--name", "other", "--scopes", "orders:read work"]).await;
    let listed = database.succeed(&["keys", "list", "--tenant", "shop", "--json"]).await;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let audit = database.succeed(&["audit", "--tenant", "shop"]).await;
    assert!(audit.contains("tenant.create") && audit.contains("key.create"), "{audit}");
    assert_eq!(audit.lines().count(), 3, "a head and two entries: {audit}");
    for (command, state) in [("suspend", "suspended"), ("resume", "active")] {
        // Repeating it changes nothing.
        for _ in 0..2 {
            let changed = database.succeed(&["tenants", command, "shop"]).await;
            assert!(changed.starts_with(&format!("tenant shop is {state}; ")), "{changed}");
        }
        let tenants = database.succeed(&["tenants", "list"]).await;
        let shop = tenants.lines().find(|line| line.starts_with("shop ")).expect("the tenant is listed");
        assert!(shop.contains(state), "{tenants}");
        let audit = database.succeed(&["audit", "--tenant", "shop"]).await;
        assert_eq!(audit.matches(&format!("tenant.{command}")).count(), 1, "{audit}");
        let error = database.fail(&["tenants", command, "cafe"]).await;
        assert!(error.contains("no tenant cafe") && error.contains("orders tenants list"), "{error}");
    }
    let revoked = database.succeed(&["tenants", "revoke-links", "shop"]).await;
    assert_eq!(revoked, "all tracking links of tenant shop are revoked\n");
    let audit = database.succeed(&["audit", "--tenant", "shop"]).await;
    assert_eq!(audit.matches("tenant.revoke_links").count(), 1, "{audit}");
    let error = database.fail(&["tenants", "revoke-links", "cafe"]).await;
    assert!(error.contains("no tenant cafe"), "{error}");
}

#[tokio::test]
async fn tenants_in_sqlite() {
    tenants_own_keys(Database::sqlite().await).await;
}

#[tokio::test]
async fn tenants_on_a_server() {
    tenants_own_keys(Database::server().await).await;
}

async fn limits_are_set_and_changed(database: Database) {
    let json = |text: String| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    };
    let limited = ["tenants", "create", "shop", "--rate", "500", "--max-open", "20000"];
    database.succeed(&limited).await;
    let create = ["keys", "create", "--name", "a", "--role", "writer", "--tenant", "shop", "--rate", "100"];
    let key = database.succeed(&[&create[..], &["--burst", "200", "--max-streams", "5"]].concat()).await;
    let rotated = json(database.succeed(&["keys", "rotate", &key[4..12], "--json"]).await);
    for key in database.keys().await.iter().chain(&rotated) {
        let limits = [&key["ratePerSecond"], &key["burst"], &key["maxStreams"]];
        assert_eq!(limits, [100, 200, 5].map(Value::from).each_ref(), "{key}");
    }
    assert!(database.succeed(&["keys", "list"]).await.contains("100/s, burst 200, streams 5"));

    let update = ["tenants", "update", "shop"];
    let changed = database.succeed(&[&update[..], &["--burst", "1000", "--max-open", "none"]].concat()).await;
    assert!(changed.starts_with("tenant shop: 500/s, burst 1000; "), "{changed}");
    let tenants = json(database.succeed(&["tenants", "list", "--json"]).await);
    let shop = tenants.iter().find(|tenant| tenant["id"] == "shop").expect("the tenant is listed");
    assert_eq!((&shop["burst"], &shop["maxOpen"]), (&1_000.into(), &Value::Null));
    let changed = database.succeed(&[&update[..], &["--rate", "none"]].concat()).await;
    assert!(changed.starts_with("tenant shop: no limits; "), "{changed}");
    let audit = database.succeed(&["audit", "--tenant", "shop"]).await;
    for detail in ["shop; 500/s, burst 500, open orders 20000", "500/s, burst 1000", "no limits"] {
        assert!(audit.contains(detail), "{detail}: {audit}");
    }

    for (arguments, part) in [
        (&["tenants", "update", "shop"][..], "--max-open"),
        (&["tenants", "update", "cafe", "--rate", "5"], "no tenant cafe"),
        (&["tenants", "update", "shop", "--rate", "0"], "from 1 to 1000000, or none"),
        (&["tenants", "create", "b", "--burst", "5"], "--rate"),
        (&["keys", "create", "--name", "a", "--role", "reader", "--rate", "1000001"], "1 to 1000000"),
        (&["tenants", "create", "b", "--max-streams", "x"], "--max-streams is \"x\""),
    ] {
        let error = database.fail(arguments).await;
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn limits_in_sqlite() {
    limits_are_set_and_changed(Database::sqlite().await).await;
}

#[tokio::test]
async fn limits_on_a_server() {
    limits_are_set_and_changed(Database::server().await).await;
}

#[tokio::test]
async fn an_sqlite_file_in_use_names_the_alternative() {
    let database = Database::sqlite().await;
    let ports = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut process = Process::start(command(database.folder.path(), &ports, &[]), "orders dev");
    base_url(&mut process).await;
    let error = database.fail(&["keys", "list"]).await;
    assert!(error.contains("stop the process") && error.contains("belongs to one process"), "{error}");
    process.terminate();
    process.wait_for_success().await;
}

#[tokio::test]
async fn a_missing_database_is_not_created() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = run(folder.path(), &["keys", "create", "--name", "a", "--role", "admin"], &[]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("orders migrate") && output.stdout.is_empty(), "{stderr}");
}

/// The data of a customer is printed and erased, and each use is in the audit log without the name.
#[tokio::test]
async fn the_data_of_a_customer_is_exported_and_erased() {
    let database = Database::sqlite().await;
    let folder = database.folder.path();
    let addresses = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--simulate-min-delay", "0"];
    let mut dev = Process::start(command(folder, &addresses, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    for customer in ["Ann", "Ann", "Bob"] {
        let order = json!({"item": "Tea", "quantity": 2, "price": 1.5, "customer": customer});
        let (status, order) = api.post("/orders", &order).await;
        assert_eq!(status, 201, "{order}");
        api.wait_for_status(&id(&order), "completed").await;
        let note = json!({"text": format!("left with the neighbour of {customer}"), "public": true});
        let (status, note) = api.post(&format!("/orders/{}/notes", id(&order)), &note).await;
        assert_eq!(status, 201, "{note}");
    }
    let later = json!({"item": "Tea", "quantity": 1, "price": 1, "customer": "Ann", "processAfter": "2099-01-01T00:00:00Z"});
    assert_eq!(api.post("/orders", &later).await.0, 201);
    dev.terminate();
    dev.wait_for_success().await;

    let exported = database.succeed(&["customer", "export", "--customer", "Ann"]).await;
    let orders: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(orders.len(), 3, "{exported}");
    assert!(orders.iter().all(|order| order["customer"] == "Ann"), "{exported}");
    assert_eq!(
        (&orders[1]["total"], &orders[1]["events"][2]["status"]),
        (&json!("3.00"), &json!("completed"))
    );
    assert_eq!(orders[1]["notes"][0]["text"], json!("left with the neighbour of Ann"));

    let stderr = database.fail(&["customer", "erase", "--customer", "Ann"]).await;
    assert!(stderr.contains("1 orders of the customer are not final"), "{stderr}");
    let exported = database.succeed(&["customer", "export", "--customer", "Ann"]).await;
    assert_eq!(exported.lines().count(), 1, "{exported}");
    let log = database.succeed(&["audit", "--json"]).await;
    let actions: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let actions: Vec<&str> =
        actions.iter().map(|entry| entry["action"].as_str().expect("a string")).collect();
    assert_eq!(actions, ["customer.export", "customer.erase", "customer.export"]);
    assert!(!log.contains("Ann"), "{log}");
}
