//! The output of the commands on stdout: one form for every listing and every object.
//!
//! An item is JSON, as the API returns it. [`Listing`] prints items page by page as a table, JSON, CSV or ids, and
//! [`Layout`] has the columns. `docs/operate/command-line.md` documents the shapes. Explanations and progress go to
//! stderr (`console`), so that a script can read stdout.

mod color;
mod csv;
mod format;
mod item;
mod layout;
mod listing;
mod progress;
mod table;

pub(crate) use color::{ColorChoice, Stream, is_colored, set_color};
pub(crate) use format::Format;
pub(crate) use item::Item;
pub(crate) use layout::{Column, Layout, printable, text, words};
pub(crate) use listing::{Listing, print_list, print_object, render_table};
pub(crate) use progress::{Progress, State};
