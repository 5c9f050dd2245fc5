//! The commands for orders: list, get, create, cancel and watch, over the REST API of a gateway.

mod cancel;
mod create;
mod describe;
mod dry_run;
mod get;
mod import;
mod layout;
mod list;
mod metadata;
mod notes;
mod pages;
mod replace;
mod watch;

pub(super) use cancel::run as cancel;
pub(super) use create::run as create;
pub(super) use get::run as get;
pub(super) use layout::DEAD_LETTERS;
pub(super) use list::run as list;
pub(super) use metadata::run as metadata;
pub(super) use notes::run as notes;
pub(super) use pages::each_page;
pub(super) use replace::run as replace;
pub(super) use watch::run as watch;
