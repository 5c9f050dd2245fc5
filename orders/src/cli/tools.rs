//! The commands that need neither a gateway nor a database, and the demo.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::{ApiArgs, FormatArgs};
use crate::values;

/// The settings of `orders completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell: bash, zsh, fish, powershell or elvish
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub(crate) shell: Shell,
}

/// The settings of `orders man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages of all commands, such as /usr/local/share/man/man1 [default: the page of `orders` on stdout]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

/// The settings of `orders version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The settings of `orders demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of orders: 1 to 1000000
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=1_000_000), default_value = "500")]
    pub(crate) orders: u32,
    /// Orders per second, such as 20/s: 1/s to 10000/s
    #[arg(long, value_name = "RATE", value_parser = values::rate, default_value = "20/s")]
    pub(crate) rate: u32,
    /// Number that decides about the orders: the same number gives the same orders
    #[arg(long, value_name = "NUMBER", value_parser = values::number::<u64>(0..=u64::MAX), default_value = "1")]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}
