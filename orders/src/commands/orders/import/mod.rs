//! `orders create --file`: creates the orders of a file, one JSON object in each line, in batches.
//!
//! **Repeating it.** A batch has an idempotency key, the prefix and its first line, so a batch whose answer was lost is
//! sent again without creating its orders twice. The file `<file>.import` (`state`) records how many bytes are done, and
//! an interrupted import continues there, also after the keys have expired. Results are handled in the order of the file.
//! Therefore all bytes before that position are done, and the rejects file is cut to the length that belongs to it.

mod batches;
mod rejects;
mod send;
mod state;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::Instant;

use self::batches::Batch;
pub(super) use self::batches::Batches;
use self::rejects::Rejects;
use self::send::{Sender, Sent};
use self::state::State;
use crate::cli::ImportArgs;
use crate::commands::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::{Column, Format, Item, Layout, Progress, print_object, text};

/// Batches that are sent at the same time.
const IN_FLIGHT: usize = 4;
/// Maximum number of orders in a batch.
const MAX_BATCH: u32 = 1_000;

/// The result of an import.
const IMPORTED: Layout = Layout {
    id: "keyPrefix",
    none: "",
    columns: &[
        Column::new("CREATED", |result| text(result, "created")),
        Column::new("REJECTED", |result| text(result, "rejected")),
        Column::new("LINES", |result| text(result, "lines")),
        Column::new("KEY PREFIX", |result| text(result, "keyPrefix")),
        Column::new("SECONDS", |result| text(result, "seconds")),
        Column::new("REJECTS", |result| text(result, "rejects")),
    ],
};

/// Creates the orders of the file, and continues an interrupted import of it.
pub(super) async fn run(file: &Path, args: &ImportArgs, api: &Api, format: Format) -> Result<(), Error> {
    let state_file = beside(file, "import");
    let rejects_file = beside(file, "rejects.ndjson");
    // A slow rate has small batches, so that orders are created about once a second.
    let batch = args.rate.map_or(MAX_BATCH, |rate| rate.min(MAX_BATCH));
    let mut state = State::open(&state_file, file, args.key_prefix.as_deref(), batch)?;
    if state.is_done() {
        return Err(Error::refused(format!("the file {} is imported already", file.display())).hint(
            format!(
                "remove {} to import it again; this creates its orders again under another key prefix",
                state_file.display()
            ),
        ));
    }
    if state.offset > 0 {
        console::explain(&format!("continuing after line {}\n", state.lines));
    }
    let rejects = Rejects::open(&rejects_file, state.rejects_bytes)?;
    let mut progress = Progress::start();
    let before = state.created;
    import(file, args, api, &state_file, &mut state, rejects, &mut progress).await?;
    progress.finish();
    let seconds = progress.elapsed().as_secs_f64();
    let result = json!({
        "created": state.created,
        "rejected": state.rejected,
        "lines": state.lines,
        "keyPrefix": state.key_prefix,
        "seconds": (seconds * 1_000.0).round() / 1_000.0,
        "rejects": (state.rejected > 0).then(|| rejects_file.display().to_string()),
    });
    let rate = (state.created - before) as f64 / seconds.max(0.001);
    print_object(format, &IMPORTED, &Item::from(result), |_| {
        format!("{} orders are created in {seconds:.1} s, {rate:.0} per second\n", state.created)
    })?;
    match state.rejected {
        0 => Ok(()),
        rejected => {
            Err(Error::failed(format!("{rejected} of {} lines are rejected", state.lines)).hint(format!(
                "{} has each line with its errors; correct them in another file, and import that file",
                rejects_file.display()
            )))
        }
    }
}

async fn import(
    file: &Path,
    args: &ImportArgs,
    api: &Api,
    state_file: &Path,
    state: &mut State,
    mut rejects: Rejects,
    progress: &mut Progress,
) -> Result<(), Error> {
    let batches = Batches::open(file, state.offset, state.lines, state.batch)?;
    let sender = Sender { api, key_prefix: state.key_prefix.clone() };
    let pace = Pace::new(args.rate);
    // The next batch is read when one of those in flight is done.
    let paced = stream::unfold((batches, pace), |(mut batches, mut pace)| async move {
        let batch = batches.next()?;
        pace.wait(batch.as_ref().map_or(0, |batch| batch.rows.len())).await;
        Some((batch, (batches, pace)))
    });
    let sender = &sender;
    let mut sent = paced
        .map(|batch| async move {
            match batch {
                Ok(batch) => sender.send(batch).await,
                Err(error) => Err(error),
            }
        })
        .buffered(IN_FLIGHT)
        .boxed_local();
    while let Some(done) = sent.next().await {
        let Sent { batch, created, rejected } = done?;
        let Batch { end, last_line, .. } = batch;
        for reject in &rejected {
            rejects.add(reject)?;
        }
        state.offset = end;
        state.lines = last_line;
        state.created += created;
        state.rejected += rejected.len() as u64;
        state.rejects_bytes = rejects.flush()?;
        state.write(state_file)?;
        let rate = state.created as f64 / progress.elapsed().as_secs_f64().max(0.001);
        progress.show(state.offset, state.size, || {
            format!("{} created, {} rejected, {rate:.0} per second", state.created, state.rejected)
        });
    }
    // Only empty lines can follow the last batch.
    state.offset = state.size;
    state.write(state_file)
}

/// Keeps the rate of created orders.
struct Pace {
    rate: Option<u32>,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<u32>) -> Self {
        Self { rate, next: Instant::now() }
    }

    async fn wait(&mut self, orders: usize) {
        let Some(rate) = self.rate else { return };
        tokio::time::sleep_until(self.next).await;
        let time = Duration::from_secs_f64(orders as f64 / f64::from(rate.max(1)));
        self.next = self.next.max(Instant::now()) + time;
    }
}

/// Returns the path of a file beside another one: its name and an extension.
fn beside(file: &Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}
