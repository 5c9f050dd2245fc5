//! The commands for contexts: names for gateways and the keys for them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::FormatArgs;
use crate::values::{self, ContextName, ServerUrl};

/// The commands of contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Store a context, or change one. A change of its URL removes its authorities and its key
    Set(SetContextArgs),
    /// Make a context the current one, which commands use without --context and --url
    Use(ContextArgs),
    /// List the contexts, without their keys
    List(ListContextsArgs),
    /// Remove a context with its key
    Remove(ContextArgs),
}

/// The name of a context.
#[derive(Debug, Args)]
pub(crate) struct ContextArgs {
    /// Name of the context
    #[arg(value_name = "NAME", value_parser = str::parse::<ContextName>)]
    pub(crate) name: ContextName,
}

/// The settings of `orders context set`. What has no flag is kept.
#[derive(Debug, Args)]
pub(crate) struct SetContextArgs {
    /// Name of the context: 1 to 63 lower-case letters, digits, `.`, `_` and `-`
    #[arg(value_name = "NAME", value_parser = str::parse::<ContextName>)]
    pub(crate) name: ContextName,
    /// HTTP address of the gateway; required for a new context
    #[arg(long, value_name = "URL", value_parser = values::context_url)]
    pub(crate) url: Option<ServerUrl>,
    /// File with the certificate authorities of an https gateway (PEM) [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File with the API key, which each command reads again [default: no key]
    #[arg(long, value_name = "FILE", conflicts_with = "token_stdin")]
    pub(crate) token_file: Option<PathBuf>,
    /// Read the API key from the first line of standard input, and store it with the context
    #[arg(long)]
    pub(crate) token_stdin: bool,
}

/// The settings of `orders context list`.
#[derive(Debug, Args)]
pub(crate) struct ListContextsArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}
