//! `orders notes`: adds a note to an order, or prints its notes.

use serde_json::json;

use crate::cli::NotesArgs;
use crate::commands::api::{Api, requested_by};
use crate::error::Error;
use crate::output::{Column, Layout, print_list, text};

/// The columns of notes.
const NOTES: Layout = Layout {
    id: "number",
    none: "the order has no notes",
    columns: &[
        Column::new("TIME", |note| text(note, "createdAt")),
        Column::new("NUMBER", |note| text(note, "number")),
        Column::new("MILESTONE", |note| text(note, "milestone")),
        Column::new("PUBLIC", |note| if note["public"] == true { "yes" } else { "no" }.to_owned()),
        Column::new("AUTHOR", |note| text(note, "author")),
        Column::cut("TEXT", |note| text(note, "text")),
    ],
};

/// Adds the note if there is one, and prints it; otherwise prints all notes.
pub(crate) async fn run(args: NotesArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let path = format!("/orders/{}/notes", args.id);
    let notes = match &args.text {
        Some(text) => {
            let body = json!({
                "text": text, "milestone": args.milestone, "public": args.public,
                "requestedBy": requested_by(&args.requester),
            });
            vec![api.post(&path, &body).await?]
        }
        None => api.get(&path, &[]).await?.elements(),
    };
    print_list(args.format.format(), &NOTES, &notes)
}
