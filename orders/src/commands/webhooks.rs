//! `orders webhooks`: manages webhook endpoints over the REST API.
//!
//! A new secret is the only output on stdout, so that a script can store it. Explanations are on stderr.

use serde_json::{Map, Value, json};

use super::api::Api;
use super::webhook_recovery::recover;
use crate::cli::{
    AttemptsArgs, CreateWebhookArgs, EndpointArgs, MessagesArgs, ResendArgs, RotateWebhookArgs,
    UpdateWebhookArgs, WebhookArgs, WebhookListArgs, WebhooksCommand,
};
use crate::console;
use crate::error::Error;
use crate::output::{
    Column, Format, Item, Layout, Listing, print_list, print_object, printable, text, words,
};

const HOUR: u64 = 60 * 60;
/// Endpoints in one request.
const PAGE_SIZE: usize = 100;
/// Maximum length of the response of an endpoint in an error, in characters.
const MAX_RESPONSE: usize = 60;

const ENDPOINTS: Layout = Layout {
    id: "id",
    none: "there are no endpoints",
    columns: &[
        Column::new("ID", |endpoint| text(endpoint, "id")),
        Column::new("STATE", |endpoint| text(endpoint, "state")),
        Column::new("LAG", |endpoint| text(endpoint, "lagEvents")),
        Column::new("WAITING", |endpoint| text(endpoint, "waitingMessages")),
        Column::new("FAILED", |endpoint| text(endpoint, "failedMessages")),
        Column::new("TYPES", |endpoint| text(endpoint, "types")),
        Column::new("URL", |endpoint| text(endpoint, "url")),
        Column::wide("DESCRIPTION", |endpoint| text(endpoint, "description")),
        Column::wide("LAST ERROR", |endpoint| text(endpoint, "lastError")),
    ],
};
const ATTEMPTS: Layout = Layout {
    id: "messageId",
    none: "there are no attempts",
    columns: &[
        Column::new("TIME", |attempt| text(attempt, "at")),
        Column::new("MESSAGE", |attempt| text(attempt, "messageId")),
        Column::new("TYPE", |attempt| text(attempt, "type")),
        Column::new("ATTEMPT", |attempt| text(attempt, "attempt")),
        Column::new("OUTCOME", |attempt| text(attempt, "outcome")),
        Column::new("STATUS", |attempt| text(attempt, "status")),
        Column::new("MS", |attempt| text(attempt, "durationMs")),
        Column::cut("ERROR", |attempt| text(attempt, "error")),
        Column::wide("RESPONSE", |attempt| text(attempt, "response")),
    ],
};
const MESSAGES: Layout = Layout {
    id: "id",
    none: "no message waits or has failed",
    columns: &[
        Column::new("ID", |message| text(message, "id")),
        Column::new("STATE", |message| text(message, "state")),
        Column::new("ATTEMPTS", |message| text(message, "attempts")),
        Column::new("NEXT ATTEMPT", |message| text(message, "nextAttemptAt")),
        Column::cut("ERROR", |message| text(message, "lastError")),
    ],
};
/// A new secret, which is what a script needs.
const SECRET: Layout = Layout {
    id: "secret",
    none: "",
    columns: &[
        Column::new("ID", |created| words(&created["endpoint"]["id"])),
        Column::new("SECRET", |created| text(created, "secret")),
    ],
};

/// Runs the command.
pub(super) async fn run(command: WebhooksCommand) -> Result<(), Error> {
    match command {
        WebhooksCommand::Create(args) => create(&args).await,
        WebhooksCommand::List(args) => list(&args).await,
        WebhooksCommand::Get(args) => {
            let endpoint = Api::new(&args.output.api)?.get(&path(&args, ""), &[]).await?;
            show(&endpoint, args.output.format.format())
        }
        WebhooksCommand::Update(args) => update(&args).await,
        WebhooksCommand::Delete(args) => {
            Api::new(&args.output.api)?.delete(&path(&args, "")).await?;
            let text = format!("the endpoint {} is removed\n", args.id);
            if args.output.format.format().is_for_readers() { console::print(&text) } else { Ok(()) }
        }
        WebhooksCommand::RotateSecret(args) => rotate(&args).await,
        WebhooksCommand::Enable(args) => post(&args, "/enable").await,
        WebhooksCommand::Disable(args) => post(&args, "/disable").await,
        WebhooksCommand::Test(args) => {
            let attempt = Api::new(&args.output.api)?.post(&path(&args, "/test"), &json!({})).await?;
            show_attempt(&attempt, args.output.format.format())
        }
        WebhooksCommand::Resend(ResendArgs { id, event, output }) => {
            let body = json!({"eventId": event});
            let attempt = Api::new(&output.api)?.post(&format!("/webhooks/{id}/resend"), &body).await?;
            show_attempt(&attempt, output.format.format())
        }
        WebhooksCommand::Attempts(args) => attempts(&args).await,
        WebhooksCommand::Messages(args) => messages(&args).await,
        WebhooksCommand::Recover(args) => recover(&args).await,
        WebhooksCommand::StopRecovery(args) => {
            let endpoint = Api::new(&args.output.api)?.delete(&path(&args, "/recover")).await?;
            show(&endpoint, args.output.format.format())
        }
    }
}

fn path(args: &WebhookArgs, rest: &str) -> String {
    format!("/webhooks/{}{rest}", args.id)
}

async fn post(args: &WebhookArgs, rest: &str) -> Result<(), Error> {
    let endpoint = Api::new(&args.output.api)?.post(&path(args, rest), &json!({})).await?;
    show(&endpoint, args.output.format.format())
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
    show_secret(&created, args.output.format.format())
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
    show(&changed, args.output.format.format())
}

async fn rotate(args: &RotateWebhookArgs) -> Result<(), Error> {
    let body = json!({"overlapHours": args.overlap.as_secs() / HOUR});
    let path = format!("/webhooks/{}/rotate-secret", args.id);
    let rotated = Api::new(&args.output.api)?.post(&path, &body).await?;
    show_secret(&rotated, args.output.format.format())
}

/// Prints the secret on stdout, and its endpoint on stderr.
fn show_secret(created: &Item, format: Format) -> Result<(), Error> {
    if !format.is_for_readers() {
        return print_object(format, &SECRET, created, |_| String::new());
    }
    let endpoint = &created["endpoint"];
    console::explain(&format!(
        "endpoint {}: {} receives {}\nStore the secret now: it is not shown again.\n",
        words(&endpoint["id"]),
        words(&endpoint["url"]),
        words(&endpoint["types"])
    ));
    console::print(&format!("{}\n", text(created, "secret")))
}

async fn list(args: &WebhookListArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let mut listing = Listing::new(args.format.format(), &ENDPOINTS);
    let mut after = None;
    loop {
        let mut query = vec![("limit", PAGE_SIZE.to_string())];
        query.extend(after.take().map(|after| ("after", after)));
        let page = api.get("/webhooks", &query).await?.elements();
        listing.add(&page)?;
        if page.len() < PAGE_SIZE {
            return listing.finish();
        }
        after = page.last().map(|last| text(last, "id"));
    }
}

async fn attempts(args: &AttemptsArgs) -> Result<(), Error> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.failed.then(|| ("outcome", "failed".to_owned())));
    let path = format!("/webhooks/{}/attempts", args.id);
    let found = Api::new(&args.output.api)?.get(&path, &query).await?;
    print_list(args.output.format.format(), &ATTEMPTS, &found.elements())
}

async fn messages(args: &MessagesArgs) -> Result<(), Error> {
    let query = [("limit", args.limit.to_string())];
    let path = format!("/webhooks/{}/messages", args.id);
    let found = Api::new(&args.output.api)?.get(&path, &query).await?;
    print_list(args.output.format.format(), &MESSAGES, &found.elements())
}

/// Prints an attempt. An endpoint that did not accept the message is a failure of the command.
fn show_attempt(attempt: &Item, format: Format) -> Result<(), Error> {
    if !format.is_for_readers() {
        print_object(format, &ATTEMPTS, attempt, |_| String::new())?;
    }
    let result = match (attempt["status"].as_u64(), text(attempt, "error")) {
        (Some(status), _) => format!("answered {status} after {} ms", attempt["durationMs"]),
        (None, error) => format!("was not reached: {error}"),
    };
    if attempt["succeeded"] == true {
        let line = format!("the endpoint {result}, message {}\n", text(attempt, "messageId"));
        return if format.is_for_readers() { console::print(&line) } else { Ok(()) };
    }
    let response: String = printable(&text(attempt, "response")).chars().take(MAX_RESPONSE).collect();
    let response = if response.is_empty() { response } else { format!(": {response}") };
    Err(Error::failed(format!("the endpoint {result}{response}"))
        .hint("an endpoint accepts a message with a status of 200 to 299 within 8 s"))
}

/// Prints an endpoint as lines with a name, or in another format.
fn show(endpoint: &Item, format: Format) -> Result<(), Error> {
    print_object(format, &ENDPOINTS, endpoint, describe)
}

fn describe(endpoint: &Item) -> String {
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
        let shown = describe(&endpoint.into());
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
}
