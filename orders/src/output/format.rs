//! The formats of the output.

use clap::ValueEnum;

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for readers.
    Table,
    /// A table with further columns and complete values.
    Wide,
    /// The objects of the API: an array for a listing, otherwise one object.
    Json,
    /// The columns of `wide` as comma-separated values, with a head.
    Csv,
    /// One id in each line.
    Id,
    /// One object in each line: `--json` of earlier versions.
    #[value(skip)]
    JsonLines,
}

impl Format {
    /// Returns whether the output is for readers and not for programs.
    pub(crate) fn is_for_readers(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}
