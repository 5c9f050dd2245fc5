//! `orders dead-letters`: list failed orders and redrive them.

use serde_json::{Value, json};

use super::api::{Api, requested_by};
use super::orders::{DEAD_LETTERS, each_page};
use super::redrive_wait::RedriveWait;
use crate::cli::{DeadLettersCommand, GroupsArgs, ListArgs, RedriveArgs};
use crate::console;
use crate::error::{Error, Failures};
use crate::output::{Column, Item, Layout, Listing, print_list, text};

pub(super) async fn run(command: DeadLettersCommand) -> Result<(), Error> {
    match command {
        DeadLettersCommand::List(args) => list_orders(&args).await,
        DeadLettersCommand::Groups(args) => list_groups(&args).await,
        DeadLettersCommand::Redrive(args) if args.ids.is_empty() => redrive_matching(&args).await,
        DeadLettersCommand::Redrive(args) => redrive_ids(&args).await,
    }
}

async fn list_orders(args: &ListArgs) -> Result<(), Error> {
    let mut listing = Listing::new(args.format.format(), &DEAD_LETTERS);
    let api = Api::new(&args.api)?;
    each_page(&api, "/dead-letters", args.filter.set_filters(), args.limit, |page| listing.add(page)).await?;
    listing.finish()
}

const GROUPS: Layout = Layout {
    id: "latestOrderId",
    none: "no dead letters match",
    columns: &[
        Column::new("COUNT", |group| text(group, "count")),
        Column::new("CLASS", |group| text(group, "errorClass")),
        Column::cut("REASON", |group| text(group, "reason")),
        Column::new("CUSTOMERS", |group| text(group, "customers")),
        Column::new("FIRST", |group| text(group, "firstFailedAt")),
        Column::new("LAST", |group| text(group, "lastFailedAt")),
        Column::wide("LATEST ORDER", |group| text(group, "latestOrderId")),
    ],
};

async fn list_groups(args: &GroupsArgs) -> Result<(), Error> {
    let filters = args.filter.set_filters();
    let mut query: Vec<(&str, String)> =
        filters.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    query.push(("limit", args.limit.to_string()));
    let found = Api::new(&args.api)?.get("/dead-letters/groups", &query).await?;
    let groups: Vec<Item> =
        found["groups"].as_array().into_iter().flatten().cloned().map(Item::from).collect();
    print_list(args.format.format(), &GROUPS, &groups)?;
    let least = if found["complete"] == false { "at least " } else { "" };
    console::explain(&format!(
        "{least}{} failed orders in {} groups\n",
        text(&found, "orders"),
        groups.len()
    ));
    Ok(())
}

/// The orders of a redrive, of which only the ids are known.
const REDRIVEN: Layout = Layout {
    id: "id",
    none: "no dead letters match",
    columns: &[
        Column::new("ID", |order| text(order, "id")),
        Column::new("RESULT", |order| text(order, "result")),
    ],
};

async fn redrive_ids(args: &RedriveArgs) -> Result<(), Error> {
    if args.all || !args.filter.set_filters().is_empty() || args.rate.is_some() {
        return Err(Error::usage("--all, --rate and filters cannot be combined with order ids")
            .hint("give order ids, or filters, or --all"));
    }
    let api = Api::new(&args.api)?;
    let mut wait = RedriveWait::begin(&api, args.wait).await?;
    let format = args.format.format();
    let mut listing = Listing::new(format, &REDRIVEN);
    let mut failures = Failures::default();
    for id in &args.ids {
        let outcome = if args.dry_run {
            let order = api.get(&format!("/orders/{id}"), &[]).await;
            order.and_then(|order| match order["status"].as_str() {
                Some("failed") => Ok("would be redriven"),
                status => Err(Error::refused(format!("is {}, not failed", status.unwrap_or("unknown")))),
            })
        } else {
            let mut body = json!({"requestedBy": requested_by(&args.requester)});
            body["reason"] = args.reason.clone().into();
            api.post(&format!("/orders/{id}/redrive"), &body).await.map(|_| "redriven")
        };
        let result = match outcome {
            Ok(result) => {
                wait.add(&id.to_string());
                result.to_owned()
            }
            Err(error) => {
                failures.add(&error);
                error.to_string()
            }
        };
        if format.is_for_readers() {
            console::print(&format!("{id}  {result}\n"))?;
        } else {
            listing.add(&[json!({"id": id.to_string(), "result": result}).into()])?;
        }
    }
    if !format.is_for_readers() {
        listing.finish()?;
    }
    wait.finish(&api).await?;
    failures.result(args.ids.len(), "orders were not redriven")
}

async fn redrive_matching(args: &RedriveArgs) -> Result<(), Error> {
    let filter = args.filter.body();
    if filter.is_empty() != args.all {
        return Err(match args.all {
            true => Error::usage("--all and filters contradict each other").hint("remove one of them"),
            false => Error::usage("no dead letters are selected")
                .hint("give order ids, a filter such as --error-class http_503, or --all"),
        });
    }
    let api = Api::new(&args.api)?;
    let mut wait = RedriveWait::begin(&api, args.wait).await?;
    let mut body = json!({
        "filter": filter, "dryRun": args.dry_run, "ratePerSecond": args.rate,
        "requestedBy": requested_by(&args.requester), "reason": args.reason,
    });
    let result = if args.dry_run { "would be redriven" } else { "redriven" };
    let format = args.format.format();
    let mut listing = Listing::new(format, &REDRIVEN);
    let mut count = 0;
    let last_start = loop {
        let redriven = api.post("/dead-letters/redrive", &body).await?;
        let ids = redriven["orderIds"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
        ids.iter().for_each(|id| wait.add(id));
        if format.is_for_readers() {
            console::print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>())?;
        } else {
            let item = |id: &&str| json!({"id": id, "result": result}).into();
            listing.add(&ids.iter().map(item).collect::<Vec<_>>())?;
        }
        count += ids.len();
        body["startAt"] = redriven["nextStartAt"].clone();
        if redriven["next"].is_null() {
            break redriven["nextStartAt"].as_str().unwrap_or_default().to_owned();
        }
        body["after"] = redriven["next"].clone();
    };
    let until = if args.rate.is_some() && count > 0 {
        format!(", the last one starts before {last_start}")
    } else {
        String::new()
    };
    let summary = format!("{count} orders {result}{until}\n");
    if format.is_for_readers() {
        console::print(&summary)?;
    } else {
        listing.finish()?;
        console::explain(&summary);
    }
    if count > 0 && is_paused(&api).await {
        let rate = if args.rate.is_some() { ", and then the rate does not hold" } else { "" };
        console::explain(&format!("the queue is paused: nothing starts before its resume{rate}\n"));
    }
    wait.finish(&api).await
}

/// Returns whether the queue is paused, as far as the caller may know.
async fn is_paused(api: &Api) -> bool {
    api.get("/queue", &[]).await.is_ok_and(|queue| queue["paused"] == true)
}
