//! The contexts of the command line: names for gateways, each with its URL, its authorities and its key.
//!
//! They are in one file of the user, which `orders context` changes and the commands for operators read. `context`
//! contains the types, `format` the content of the file, `file` its place, its permissions and its replacement.
//!
//! A key belongs to the URL of its context. A command that gets another URL uses neither the key nor the authorities.

mod context;
mod file;
mod format;

use crate::error::Error;
use crate::values::ContextName;

pub(crate) use context::{Context, Contexts, Credential, MAX_TOKEN_BYTES};
pub(crate) use file::{location, read, update};

/// Returns the context with this name.
pub(crate) fn named(name: &ContextName) -> Result<Context, Error> {
    file::read(&file::location()?)?.get(name).cloned()
}

/// Returns the context with this name, or else the current one. `None` if no context is current.
pub(crate) fn select(name: Option<&ContextName>) -> Result<Option<(ContextName, Context)>, Error> {
    if let Some(name) = name {
        return Ok(Some((name.clone(), named(name)?)));
    }
    // The user of a container has no home.
    let Some(file) = file::find() else { return Ok(None) };
    let contexts = file::read(&file)?;
    let Some(current) = &contexts.current else { return Ok(None) };
    Ok(Some((current.clone(), contexts.get(current)?.clone())))
}
