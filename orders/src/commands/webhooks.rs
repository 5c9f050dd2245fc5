//! `orders webhooks`: manages webhook endpoints over the REST API.
//!
//! A new secret is the only output on stdout, so that a script can store it. Explanations are on stderr.

use serde_json::{Map, Value, json};

use super::api::Api;
use super::table::table;
use super::webhook_recovery::recover;
use crate::cli::{
    AttemptsArgs, CreateWebhookArgs, EndpointArgs, MessagesArgs, ResendArgs, RotateWebhookArgs,
    UpdateWebhookArgs, WebhookArgs, WebhookListArgs, WebhooksCommand,
};
use crate::console;
use crate::error::Error;

const HOUR: u64 = 60 * 60;
/// Endpoints in one request.
const PAGE_SIZE: usize = 100;
/// Maximum length of a cell of a table, in characters.
const MAX_CELL: usize = 60;

/// Runs the command.
pub(super) async fn run(command: WebhooksCommand) -> Result<(), Error> {
    match command {
        WebhooksCommand::Create(args) => create(&args).await,
        WebhooksCommand::List(args) => list(&args).await,
        WebhooksCommand::Get(args) => {
            let endpoint = Api::new(&args.output.api)?.get(&path(&args, ""), &[]).await?;
            show(&endpoint, args.output.json)
        }
        WebhooksCommand::Update(args) => update(&args).await,
        WebhooksCommand::Delete(args) => {
            Api::new(&args.output.api)?.delete(&path(&args, "")).await?;
            let text = format!("the endpoint {} is removed\n", args.id);
            if args.output.json { Ok(()) } else { console::print(&text) }
        }
        WebhooksCommand::RotateSecret(args) => rotate(&args).await,
        WebhooksCommand::Enable(args) => post(&args, "/enable").await,
        WebhooksCommand::Disable(args) => post(&args, "/disable").await,
        WebhooksCommand::Test(args) => {
            let attempt = Api::new(&args.output.api)?.post(&path(&args, "/test"), &json!({})).await?;
            show_attempt(&attempt, args.output.json)
        }
        WebhooksCommand::Resend(ResendArgs { id, event, output }) => {
            let body = json!({"eventId": event});
            let attempt = Api::new(&output.api)?.post(&format!("/webhooks/{id}/resend"), &body).await?;
            show_attempt(&attempt, output.json)
        }
        WebhooksCommand::Attempts(args) => attempts(&args).await,
        WebhooksCommand::Messages(args) => messages(&args).await,
        WebhooksCommand::Recover(args) => recover(&args).await,
        WebhooksCommand::StopRecovery(args) => {
            let endpoint = Api::new(&args.output.api)?.delete(&path(&args, "/recover")).await?;
            show(&endpoint, args.output.json)
        }
    }
}

fn path(args: &WebhookArgs, rest: &str) -> String {
    format!("/webhooks/{}{rest}", args.id)
}

async fn post(args: &WebhookArgs, rest: &str) -> Result<(), Error> {
    let endpoint = Api::new(&args.output.api)?.post(&path(args, rest), &json!({})).await?;
    show(&endpoint, args.output.json)
}

/// Returns the members that are given.
fn settings(args: &EndpointArgs) -> Map<String, Value> {
    let types = Some(&args.types).filter(|types| !types.is_empty());
    let currency = args.currency.as_ref().map(domain::Currency::code);
    let members = [
        ("description", args.description.as_ref().map(|text| json!(text))),
        ("types", types.map(|types| json!(types))),
        ("customer", args.customer.as_ref().map(|text| json!(text))),
        ("currency", currency.map(|code| json!(code))),
        ("ratePerSecond", args.rate.map(|rate| json!(rate))),
        ("concurrency", args.concurrency.map(|number| json!(number))),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

async fn create(args: &CreateWebhookArgs) -> Result<(), Error> {
    let mut body = settings(&args.endpoint);
    body.insert("url".to_owned(), json!(args.endpoint_url));
    if args.thin {
        body.insert("payload".to_owned(), json!("thin"));
    }
    if args.cloudevents {
        body.insert("format".to_owned(), json!("cloudevents"));
    }
    let created = Api::new(&args.output.api)?.post("/webhooks", &body.into()).await?;
    show_secret(&created, args.output.json)
}

async fn update(args: &UpdateWebhookArgs) -> Result<(), Error> {
    let mut body = settings(&args.endpoint);
    let mut set = |name: &str, value: Option<Value>| value.map(|value| body.insert(name.to_owned(), value));
    set("url", args.endpoint_url.as_ref().map(|url| json!(url)));
    set("payload", args.payload.map(|word| json!(word.as_str())));
    set("format", args.format.map(|word| json!(word.as_str())));
    set("customer", args.any_customer.then_some(Value::Null));
    set("currency", args.any_currency.then_some(Value::Null));
    set("ratePerSecond", args.no_rate.then_some(Value::Null));
    if body.is_empty() {
        return Err(
            Error::usage("no change is given").hint("`orders webhooks update --help` lists the flags")
        );
    }
    let changed = Api::new(&args.output.api)?.patch(&format!("/webhooks/{}", args.id), &body.into()).await?;
    show(&changed, args.output.json)
}

async fn rotate(args: &RotateWebhookArgs) -> Result<(), Error> {
    let body = json!({"overlapHours": args.overlap.as_secs() / HOUR});
    let path = format!("/webhooks/{}/rotate-secret", args.id);
    let rotated = Api::new(&args.output.api)?.post(&path, &body).await?;
    show_secret(&rotated, args.output.json)
}

/// Prints the secret on stdout, and its endpoint on stderr.
fn show_secret(created: &Value, json: bool) -> Result<(), Error> {
    if json {
        return console::print(&format!("{created}\n"));
    }
    let endpoint = &created["endpoint"];
    console::explain(&format!(
        "endpoint {}: {} receives {}\nStore the secret now: it is not shown again.\n",
        text(endpoint, "id"),
        text(endpoint, "url"),
        words(&endpoint["types"])
    ));
    console::print(&format!("{}\n", text(created, "secret")))
}

async fn list(args: &WebhookListArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let mut endpoints: Vec<Value> = Vec::new();
    loop {
        let mut query = vec![("limit", PAGE_SIZE.to_string())];
        query.extend(endpoints.last().map(|last| ("after", text(last, "id").to_owned())));
        let page = api.get("/webhooks", &query).await?;
        let page = page.as_array().map(Vec::as_slice).unwrap_or_default();
        endpoints.extend_from_slice(page);
        if page.len() < PAGE_SIZE {
            break;
        }
    }
    let head = ["ID", "STATE", "LAG", "WAITING", "FAILED", "TYPES", "URL"];
    let row = |endpoint: &Value| {
        [
            text(endpoint, "id").to_owned(),
            text(endpoint, "state").to_owned(),
            endpoint["lagEvents"].to_string(),
            endpoint["waitingMessages"].to_string(),
            endpoint["failedMessages"].to_string(),
            words(&endpoint["types"]),
            text(endpoint, "url").to_owned(),
        ]
    };
    show_list(&endpoints, args.json, head, row)
}

async fn attempts(args: &AttemptsArgs) -> Result<(), Error> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.failed.then(|| ("outcome", "failed".to_owned())));
    let path = format!("/webhooks/{}/attempts", args.id);
    let found = Api::new(&args.output.api)?.get(&path, &query).await?;
    let head = ["TIME", "MESSAGE", "TYPE", "ATTEMPT", "OUTCOME", "STATUS", "MS", "ERROR"];
    let row = |attempt: &Value| {
        [
            text(attempt, "at").to_owned(),
            text(attempt, "messageId").to_owned(),
            text(attempt, "type").to_owned(),
            attempt["attempt"].to_string(),
            text(attempt, "outcome").to_owned(),
            attempt["status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string()),
            attempt["durationMs"].to_string(),
            short(text(attempt, "error")),
        ]
    };
    show_list(found.as_array().map(Vec::as_slice).unwrap_or_default(), args.output.json, head, row)
}

async fn messages(args: &MessagesArgs) -> Result<(), Error> {
    let query = [("limit", args.limit.to_string())];
    let path = format!("/webhooks/{}/messages", args.id);
    let found = Api::new(&args.output.api)?.get(&path, &query).await?;
    let head = ["ID", "STATE", "ATTEMPTS", "NEXT ATTEMPT", "ERROR"];
    let row = |message: &Value| {
        [
            text(message, "id").to_owned(),
            text(message, "state").to_owned(),
            message["attempts"].to_string(),
            text(message, "nextAttemptAt").to_owned(),
            short(text(message, "lastError")),
        ]
    };
    show_list(found.as_array().map(Vec::as_slice).unwrap_or_default(), args.output.json, head, row)
}

/// Prints a table, or one line of JSON for each item.
fn show_list<const N: usize>(
    items: &[Value],
    json: bool,
    head: [&str; N],
    row: impl Fn(&Value) -> [String; N],
) -> Result<(), Error> {
    if json {
        return console::print(&items.iter().map(|item| format!("{item}\n")).collect::<String>());
    }
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(items.iter().map(row)).collect();
    console::print(&table(&rows))
}

/// Prints an attempt. An endpoint that did not accept the message is a failure of the command.
fn show_attempt(attempt: &Value, json: bool) -> Result<(), Error> {
    if json {
        console::print(&format!("{attempt}\n"))?;
    }
    let result = match (attempt["status"].as_u64(), text(attempt, "error")) {
        (Some(status), _) => format!("answered {status} after {} ms", attempt["durationMs"]),
        (None, error) => format!("was not reached: {error}"),
    };
    if attempt["succeeded"] == true {
        let line = format!("the endpoint {result}, message {}\n", text(attempt, "messageId"));
        return if json { Ok(()) } else { console::print(&line) };
    }
    let response = short(text(attempt, "response"));
    let response =
        if response == "-" || response.is_empty() { String::new() } else { format!(": {response}") };
    Err(Error::failed(format!("the endpoint {result}{response}"))
        .hint("an endpoint accepts a message with a status of 200 to 299 within 8 s"))
}

/// Prints an endpoint as lines with a name, or as JSON.
fn show(endpoint: &Value, json: bool) -> Result<(), Error> {
    if json {
        return console::print(&format!("{endpoint}\n"));
    }
    console::print(&describe(endpoint))
}

fn describe(endpoint: &Value) -> String {
    let given = |name: &str| Some(endpoint[name].as_str()?.to_owned()).filter(|text| !text.is_empty());
    let count = |name: &str| endpoint[name].as_u64().unwrap_or_default();
    let state = match given("disabledReason") {
        Some(reason) => format!("{} ({reason})", text(endpoint, "state")),
        None => text(endpoint, "state").to_owned(),
    };
    let body = format!("{}, {}", text(endpoint, "payload"), text(endpoint, "format"));
    let rate = endpoint["ratePerSecond"].as_u64();
    let rate = rate.map_or_else(String::new, |rate| format!(", {rate} per second"));
    let recovery = &endpoint["recovery"];
    let recovered = || format!("{} of {} events of the log passed", recovery["done"], recovery["total"]);
    let lag = match count("lagEvents") {
        0 => "none".to_owned(),
        events => format!("{events} events, {} s", count("lagSeconds")),
    };
    let lines = [
        ("id", given("id")),
        ("url", given("url")),
        ("description", given("description")),
        ("types", Some(words(&endpoint["types"]))),
        ("customer", given("customer")),
        ("currency", given("currency")),
        ("body", Some(body)),
        ("requests", Some(format!("{} at once{rate}", endpoint["concurrency"]))),
        ("state", Some(state)),
        ("failing since", given("failingSince")),
        ("last error", given("lastError")),
        ("next probe", given("nextProbeAt")),
        ("lag", Some(lag)),
        (
            "messages",
            Some(format!("{} waiting, {} failed", count("waitingMessages"), count("failedMessages"))),
        ),
        ("recovery", recovery.is_object().then(recovered)),
        ("created", Some(format!("{} by {}", text(endpoint, "createdAt"), text(endpoint, "createdBy")))),
    ];
    lines.into_iter().filter_map(|(name, value)| Some(format!("{name:<15}{}\n", value?))).collect()
}

/// Returns a member, or a hyphen.
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or("-")
}

fn words(list: &Value) -> String {
    let words = list.as_array().map(Vec::as_slice).unwrap_or_default();
    words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// Returns the beginning of a string in one line, without characters that change the terminal.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CELL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_described_without_what_is_absent() {
        let endpoint = json!({
            "id": "I", "url": "U", "description": "", "types": ["order.*"], "customer": null, "currency": "EUR",
            "payload": "full", "format": "standard", "concurrency": 8, "ratePerSecond": 5, "state": "disabled",
            "disabledReason": "gone", "lagEvents": 2, "lagSeconds": 30, "waitingMessages": 1, "failedMessages": 0,
            "recovery": {"done": 1, "total": 9}, "createdAt": "T", "createdBy": "key:x",
        });
        let shown = describe(&endpoint);
        for line in [
            "currency       EUR\n",
            "body           full, standard\n",
            "requests       8 at once, 5 per second\n",
            "state          disabled (gone)\n",
            "lag            2 events, 30 s\n",
            "messages       1 waiting, 0 failed\n",
            "recovery       1 of 9 events of the log passed\n",
            "created        T by key:x\n",
        ] {
            assert!(shown.contains(line), "{line}{shown}");
        }
        assert!(!shown.contains("customer") && !shown.contains("description"), "{shown}");
    }

    #[test]
    fn responses_of_endpoints_do_not_control_the_terminal() {
        assert_eq!(short("a\u{1b}[2Jb\n"), "a [2Jb ");
        assert_eq!(short(&"é".repeat(100)).chars().count(), MAX_CELL);
    }
}
