//! `orders webhooks recover`: starts a recovery, and follows it.
//!
//! The gateways store the recovery, so this command can end and start again.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::Api;
use crate::cli::RecoverArgs;
use crate::console;
use crate::error::Error;
use crate::output::{Item, Progress};
use crate::values::now;

/// Pause between two reads of the progress.
const PAUSE: Duration = Duration::from_millis(500);

/// Starts a recovery if there is a time, and follows it if the user waits.
pub(super) async fn recover(args: &RecoverArgs) -> Result<(), Error> {
    let api = Api::new(&args.output.api)?;
    let is_for_readers = args.output.format.format().is_for_readers();
    let path = format!("/webhooks/{}", args.id);
    if let Some(since) = args.since {
        let now = now();
        let mut body = json!({"since": since.at(now).to_string(), "dryRun": args.dry_run});
        if let Some(until) = args.until {
            body["until"] = until.at(now).to_string().into();
        }
        let recovery = api.post(&format!("{path}/recover"), &body).await?;
        if is_for_readers {
            console::print(&describe(&recovery, args.dry_run))?;
        } else {
            console::print(&format!("{}\n", recovery.text()))?;
        }
        if recovery["endpoint"]["recovery"].is_null() {
            return Ok(());
        }
    }
    if args.wait { follow(&api, &path, is_for_readers).await } else { Ok(()) }
}

fn describe(recovery: &Item, dry_run: bool) -> String {
    let more = if recovery["isMore"] == true { "at least " } else { "" };
    let events = recovery["events"].as_u64().unwrap_or_default();
    let started = recovery["endpoint"]["recovery"].is_object();
    let result = match (dry_run, started) {
        (true, _) => "would be delivered again",
        (false, true) => "are delivered again",
        (false, false) => "are in the range: nothing is delivered",
    };
    let missing = match recovery["logBegins"].as_str() {
        Some(begin) => format!("the event log begins at {begin}, after the beginning of the range\n"),
        None => String::new(),
    };
    format!("{more}{events} events {result}\n{missing}")
}

/// Prints the progress until the recovery has ended.
async fn follow(api: &Api, path: &str, is_for_readers: bool) -> Result<(), Error> {
    let mut followed: Option<Value> = None;
    let mut shown = String::new();
    let mut bar = Progress::start();
    loop {
        let endpoint = api.get(path, &[]).await?;
        let recovery = &endpoint["recovery"];
        match &followed {
            None if recovery.is_null() => {
                return Err(Error::refused("no recovery of the endpoint is running")
                    .hint("it may have ended; --since starts another one"));
            }
            None => followed = Some(recovery["startedAt"].clone()),
            Some(_) if recovery.is_null() => {
                let end = "the recovery has ended\n";
                bar.finish();
                return match is_for_readers {
                    true => console::print(end),
                    false => console::print(&format!("{}\n", endpoint.text())),
                };
            }
            Some(started) if *started != recovery["startedAt"] => {
                return Err(Error::refused("another recovery of the endpoint was started")
                    .hint("repeat the command without --since to follow it"));
            }
            Some(_) => {}
        }
        if endpoint["state"] == "disabled" {
            return Err(Error::refused("the endpoint is disabled, so nothing is delivered").hint(
                "`orders webhooks enable` enables it; then repeat the command without --since to follow the recovery",
            ));
        }
        let progress = progress(&endpoint);
        if bar.is_bar() {
            let count = |name: &str| recovery[name].as_u64().unwrap_or_default();
            bar.show(count("done"), count("total"), || progress.trim_end().to_owned());
        } else if progress != shown && is_for_readers {
            console::print(&progress)?;
            shown = progress;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn progress(endpoint: &Item) -> String {
    let recovery = &endpoint["recovery"];
    let passed = format!("{} of {} events of the log passed", recovery["done"], recovery["total"]);
    if endpoint["state"] == "failing" {
        return format!(
            "{passed}; the endpoint is failing: {}\n",
            endpoint["lastError"].as_str().unwrap_or("-")
        );
    }
    format!("{passed}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_is_described() {
        let recovery = |events: u64, is_more: bool, started: bool, begins: Option<&str>| {
            let recovery = if started { json!({"done": 0, "total": 9}) } else { Value::Null };
            json!({"events": events, "isMore": is_more, "logBegins": begins, "endpoint": {"recovery": recovery}}).into()
        };
        for (shown, dry_run, expected) in [
            (recovery(3, false, true, None), false, "3 events are delivered again\n"),
            (recovery(3, true, false, None), true, "at least 3 events would be delivered again\n"),
            (recovery(0, false, false, None), false, "0 events are in the range: nothing is delivered\n"),
            (
                recovery(1, false, true, Some("T")),
                false,
                "1 events are delivered again\nthe event log begins at T, after the beginning of the range\n",
            ),
        ] {
            assert_eq!(describe(&shown, dry_run), expected);
        }
        let failing = json!({"state": "failing", "lastError": "x", "recovery": {"done": 1, "total": 2}});
        assert_eq!(
            progress(&failing.into()),
            "1 of 2 events of the log passed; the endpoint is failing: x\n"
        );
    }
}
