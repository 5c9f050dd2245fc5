//! The format of the output of a command.

use clap::Args;

use crate::output::Format;

/// The format of the output.
#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// Format: table, wide (with more columns), json (the objects of the API), csv (the columns of wide) or id
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        conflicts_with = "json",
        hide_possible_values = true
    )]
    output: Format,
    /// Print one JSON object in each line, as before --output
    #[arg(long, hide = true)]
    json: bool,
}

impl FormatArgs {
    /// Returns the format.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::JsonLines } else { self.output }
    }
}
